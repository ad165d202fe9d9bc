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
from parallax.sim.traces.registry import FORMATS
from parallax.sim.traces.rows import LONGEST, Clock, Row, csv_rows

COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")


@FORMATS.register("azure", COLUMNS)
def read(path: Path, prefix: str = "azure", most: int = LONGEST) -> Iterator[Timed]:
    """Yield the jobs of a file; raises InvalidInput naming file, line and column."""
    time, prompt, output = COLUMNS
    start: datetime | None = None
    clock = Clock()
    for n, row in enumerate(csv_rows(path, COLUMNS)):
        at = _time(row)
        start = start or at
        if (at.tzinfo is None) != (start.tzinfo is None):
            raise row.fault(time, row.values[time], "all times with a zone, or none")
        job = Job(
            f"{prefix}-{n}", "azure", row.tokens(prompt), most,
            output_tokens=row.tokens(output, most),
        )  # fmt: skip
        yield clock.since(row, time, (at - start).total_seconds()), job


def _time(row: Row) -> datetime:
    """Read a timestamp. Seven digits of a second are one more than datetime knows."""
    text = row.values[COLUMNS[0]]
    whole, dot, rest = text.strip().partition(".")
    zone = rest.lstrip("0123456789")
    digits = rest[: len(rest) - len(zone)][:6].ljust(6, "0")
    try:
        return datetime.fromisoformat(f"{whole}.{digits}{zone}" if dot else whole)
    except ValueError:
        raise row.fault(COLUMNS[0], text, "YYYY-MM-DD HH:MM:SS[.ffffff][+HH:MM]") from None
