"""Azure's LLM inference traces of 2023, and of 2024 with a time zone in their timestamps.

Columns: TIMESTAMP, ContextTokens, GeneratedTokens. There are neither tenants nor sessions.
Source: github.com/Azure/AzurePublicDataset (Splitwise, ISCA'24; DynamoLLM, HPCA'25).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from parallax.core.model import Job
from parallax.sim.timed import Timed
from parallax.sim.traces.rows import LONGEST, Row, csv_rows

COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")


def read(path: Path, prefix: str = "azure") -> Iterator[Timed]:
    """Yield the jobs of a file; raises InvalidInput naming file, line and column."""
    start: datetime | None = None
    for n, row in enumerate(csv_rows(path)):
        at = _time(row)
        start = start or at
        if (at.tzinfo is None) != (start.tzinfo is None):
            raise row.fault(COLUMNS[0], row.values[COLUMNS[0]], "all times with a zone, or none")
        prompt, output = row.tokens(COLUMNS[1]), row.tokens(COLUMNS[2])
        job = Job(f"{prefix}-{n}", "azure", prompt, max(LONGEST, output), output_tokens=output)
        yield max(0.0, (at - start).total_seconds()), job


def _time(row: Row) -> datetime:
    text = row.text(COLUMNS[0])
    whole, dot, rest = text.partition(".")
    digits = len(rest) - len(rest.lstrip("0123456789"))
    shortened = f"{whole}.{rest[: min(digits, 6)]}{rest[digits:]}" if dot else whole
    try:
        return datetime.fromisoformat(shortened)
    except ValueError:
        raise row.fault(COLUMNS[0], text, "YYYY-MM-DD HH:MM:SS[.ffffff][+HH:MM]") from None
