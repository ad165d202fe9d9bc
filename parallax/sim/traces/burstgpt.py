"""BurstGPT: CSV with Timestamp (s), Model, Request tokens, Response tokens, maybe Session ID.

The model is taken for the tenant: the trace has no users. Rows with an empty answer are failures of
the service and are left out. Source: github.com/HPMLL/BurstGPT (KDD'25).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from parallax.core.model import Job
from parallax.sim.timed import Timed
from parallax.sim.traces.rows import LONGEST, csv_rows


def read(path: Path, prefix: str = "burstgpt") -> Iterator[Timed]:
    """Yield the jobs of a file; raises InvalidInput naming file, line and column."""
    start: float | None = None
    for n, row in enumerate(csv_rows(path)):
        at_s = row.number("Timestamp")
        start = at_s if start is None else start
        prompt, output = row.tokens("Request tokens"), row.tokens("Response tokens")
        if output == 0:
            continue
        session = row.text("Session ID", "")
        job = Job(
            f"{prefix}-{n}",
            named(row.text("Model", "burstgpt")),
            prompt,
            max(LONGEST, output),
            named(session) if session else "",
            output_tokens=output,
        )
        yield max(0.0, at_s - start), job


def named(text: str) -> str:
    """Return a text as a name that may stand in a key or a label."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", text).strip("-._")[:64] or "unnamed"
