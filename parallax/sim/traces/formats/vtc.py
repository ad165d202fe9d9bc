"""The arena trace of the VTC artifact (OSDI'24), and others that say which client asked.

Columns: arrival_s, client, prompt_tokens, output_tokens; others are not read. A client is a tenant.
Loads drawn from ServeGen's clients are written down like this too.
Source: github.com/Ying1123/VTC-artifact.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from parallax.core.model import Job
from parallax.sim.timed import Timed
from parallax.sim.traces.registry import FORMATS
from parallax.sim.traces.rows import LONGEST, Clock, csv_rows, named

COLUMNS = ("arrival_s", "client", "prompt_tokens", "output_tokens")


@FORMATS.register("vtc", COLUMNS)
def read(path: Path, prefix: str = "vtc", most: int = LONGEST) -> Iterator[Timed]:
    """Yield the jobs of a file; raises InvalidInput naming file, line and column."""
    time, client, prompt, output = COLUMNS
    clock = Clock()
    for n, row in enumerate(csv_rows(path, COLUMNS)):
        job = Job(
            f"{prefix}-{n}", named(f"client-{row.text(client)}"), row.tokens(prompt), most,
            output_tokens=row.tokens(output, most),
        )  # fmt: skip
        yield clock.since(row, time, row.number(time)), job
