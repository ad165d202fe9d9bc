"""The project's own format, CSV or JSON lines, for loads that no other format fits.

Columns: arrival_s, prompt_tokens, output_tokens; and if wanted tenant, session, max_tokens,
deadline_s, priority. JSON lines may have prefix (hashes of whole blocks) and prefix_block too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from parallax.core.errors import InvalidInput
from parallax.core.model import Job
from parallax.sim.timed import Timed
from parallax.sim.traces.rows import LONGEST, Row, csv_rows, json_rows


def read(path: Path, prefix: str = "job") -> Iterator[Timed]:
    """Yield the jobs of a file; raises InvalidInput naming file, line and column."""
    last = 0.0
    rows = json_rows(path) if path.suffix == ".jsonl" else csv_rows(path)
    for n, row in enumerate(rows):
        at_s = row.number("arrival_s")
        if at_s < last:
            raise row.fault("arrival_s", at_s, f"not before the line above it ({last})")
        last = at_s
        yield at_s, _job(f"{prefix}-{n}", row)


def _job(name: str, row: Row) -> Job:
    output = row.tokens("output_tokens")
    deadline = row.number("deadline_s", 0.0)
    try:
        return Job(
            name,
            row.text("tenant", "default"),
            row.tokens("prompt_tokens"),
            max(row.tokens("max_tokens", LONGEST), output, 1),
            row.text("session", ""),
            output_tokens=output,
            deadline_s=deadline or None,
            priority=int(row.number("priority", 0.0)),
            prefix=tuple(row.numbers("prefix")),
            prefix_block=row.tokens("prefix_block", 16),
        )
    except InvalidInput as error:
        where = f"{row.path}, line {row.line}, "
        if error.field.startswith(where):
            raise
        raise InvalidInput(f"{where}column {error.field}", error.value, error.allowed) from None


def lines(jobs: Iterable[Timed]) -> Iterator[str]:
    """Yield a line of JSON for each job; what is at its default is left out."""
    for at_s, job in jobs:
        fields: dict[str, object] = {
            "arrival_s": round(at_s, 6),
            "tenant": job.tenant,
            "prompt_tokens": job.prompt_tokens,
            "output_tokens": job.output_tokens or 0,
            "max_tokens": job.max_tokens,
        }
        if job.session:
            fields["session"] = job.session
        if job.deadline_s is not None:
            fields["deadline_s"] = job.deadline_s
        if job.priority:
            fields["priority"] = job.priority
        if job.prefix:
            fields |= {"prefix": list(job.prefix), "prefix_block": job.prefix_block}
        yield json.dumps(fields)
