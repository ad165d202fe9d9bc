"""Mooncake's traces (FAST'25) as JSON lines.

Fields: timestamp (ms), input_length, output_length, hash_ids; of AIPerf's files session_id, too.
A turn that AIPerf would send some `delay` after the answer to the one before has no time of its
own: it is refused, since a trace says when its jobs come.

A hash id names a block of 512 tokens together with all that comes before it. The last one may stand
for a block that is not whole: it is left out, since it cannot be shared. Other tools (Dynamo,
AIPerf) write the same format. The timestamps of the published conversation trace are multiples of
three seconds: spread them with a jitter of 3 s, or say that requests came in volleys.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from parallax.core.model import Job
from parallax.sim.timed import Timed
from parallax.sim.traces.registry import FORMATS
from parallax.sim.traces.rows import LONGEST, Clock, json_rows, named

COLUMNS = ("timestamp", "input_length", "output_length")
BLOCK = 512


@FORMATS.register("mooncake", COLUMNS)
def read(path: Path, prefix: str = "mooncake", most: int = LONGEST) -> Iterator[Timed]:
    """Yield the jobs of a file; raises InvalidInput naming file, line and column."""
    clock = Clock()
    for n, row in enumerate(json_rows(path)):
        if row.given("delay") and not row.given("timestamp"):
            allowed = "a `timestamp` on every line, in place of a delay after an answer"
            raise row.fault("delay", row.values["delay"], allowed)
        prompt, session = row.tokens("input_length"), row.text("session_id", "")
        job = Job(
            f"{prefix}-{n}", "mooncake", prompt, most, named(session) if session else "",
            output_tokens=row.tokens("output_length", most),
            prefix=row.hashes("hash_ids", prompt // BLOCK), prefix_block=BLOCK,
        )  # fmt: skip
        yield clock.since(row, "timestamp", row.number("timestamp") / 1000), job
