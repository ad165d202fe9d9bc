"""BurstGPT: CSV with Timestamp (s), Model, Request tokens, Response tokens, maybe Session ID.

The model is taken for the tenant: the trace has no users. Rows with an empty answer are failures of
the service and are left out. Source: github.com/HPMLL/BurstGPT (KDD'25).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from parallax.core.model import Job
from parallax.sim.timed import Timed
from parallax.sim.traces.registry import FORMATS
from parallax.sim.traces.rows import LONGEST, Clock, csv_rows, named

COLUMNS = ("Timestamp", "Request tokens", "Response tokens")


@FORMATS.register("burstgpt", COLUMNS)
def read(path: Path, prefix: str = "burstgpt", most: int = LONGEST) -> Iterator[Timed]:
    """Yield the jobs of a file; raises InvalidInput naming file, line and column."""
    time, prompt, output = COLUMNS
    clock = Clock()
    for n, row in enumerate(csv_rows(path, COLUMNS)):
        at_s = clock.since(row, time, row.number(time))
        asked, answered = row.tokens(prompt), row.tokens(output, most)
        if answered == 0:
            continue
        session = row.text("Session ID", "")
        job = Job(
            f"{prefix}-{n}",
            named(row.text("Model", "burstgpt")),
            asked,
            most,
            named(session) if session else "",
            output_tokens=answered,
        )
        yield at_s, job
