"""Mooncake's traces (FAST'25) as JSON lines.

Fields: timestamp (ms), input_length, output_length, hash_ids.

A hash id names a block of 512 tokens together with all that comes before it. The last one may stand
for a block that is not whole: it is left out, since it cannot be shared. Other tools (Dynamo,
AIPerf) write the same format.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from parallax.core.model import MAX_PREFIX, Job
from parallax.sim.timed import Timed
from parallax.sim.traces.rows import LONGEST, json_rows

BLOCK = 512


def read(path: Path, prefix: str = "mooncake") -> Iterator[Timed]:
    """Yield the jobs of a file; raises InvalidInput naming file, line and column."""
    start: float | None = None
    for n, row in enumerate(json_rows(path)):
        at_s = row.number("timestamp") / 1000
        start = at_s if start is None else start
        prompt, output = row.tokens("input_length"), row.tokens("output_length")
        names = row.numbers("hash_ids")[: min(prompt // BLOCK, MAX_PREFIX)]
        if any(name < 0 for name in names):
            raise row.fault("hash_ids", min(names), "whole numbers >= 0")
        job = Job(
            f"{prefix}-{n}", "mooncake", prompt, max(LONGEST, output), output_tokens=output,
            prefix=tuple(names), prefix_block=BLOCK,
        )  # fmt: skip
        yield max(0.0, at_s - start), job
