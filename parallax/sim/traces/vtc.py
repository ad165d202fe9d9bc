"""The arena trace of the VTC artifact (OSDI'24): who asked when, how much, and how long the answer.

Columns: arrival_s, client, prompt_tokens, output_tokens; others are not read. A client is a tenant.
Source: github.com/Ying1123/VTC-artifact.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from parallax.core.model import Job
from parallax.sim.timed import Timed
from parallax.sim.traces.burstgpt import named
from parallax.sim.traces.rows import LONGEST, csv_rows


def read(path: Path, prefix: str = "vtc") -> Iterator[Timed]:
    """Yield the jobs of a file; raises InvalidInput naming file, line and column."""
    start: float | None = None
    for n, row in enumerate(csv_rows(path)):
        at_s = row.number("arrival_s")
        start = at_s if start is None else start
        prompt, output = row.tokens("prompt_tokens"), row.tokens("output_tokens")
        tenant = named(f"client-{row.text('client')}")
        job = Job(f"{prefix}-{n}", tenant, prompt, max(LONGEST, output), output_tokens=output)
        yield max(0.0, at_s - start), job
