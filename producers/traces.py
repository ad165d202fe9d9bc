"""Recorded loads. The reader of Azure's LLM inference traces (2023, and 2024's timestamps).

Columns: TIMESTAMP, ContextTokens, GeneratedTokens. The trace has no tenants and no sessions: jobs
are dealt to as many tenants as asked for, in turn. `max_tokens` is one constant for all, so that
no policy can read the true length of an answer from it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from parallax.core.errors import InvalidInput
from parallax.core.model import MAX_TOKENS, Job

COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
LONGEST = 4_096  # tokens an answer may have, as its producer would say


def azure(
    path: Path, limit: int | None = None, tenants: Sequence[str] = ("azure",), prefix: str = "azure"
) -> Iterator[tuple[float, Job]]:
    """Yield (seconds from the first row, job). Raises InvalidInput naming file, line and column."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            yield from _jobs(path, csv.reader(file), limit, tenants, prefix)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput("trace", str(path), f"a readable CSV file ({error})") from None


def _jobs(
    path: Path, rows: Iterator[list[str]], limit: int | None, tenants: Sequence[str], prefix: str
) -> Iterator[tuple[float, Job]]:
    head = next(rows, [])
    if tuple(name.strip() for name in head) != COLUMNS:
        raise InvalidInput(f"{path}, line 1", ",".join(head), f"columns {','.join(COLUMNS)}")
    start: datetime | None = None
    for n, row in enumerate(rows):
        if limit is not None and n >= limit:
            return
        where = f"{path}, line {n + 2}"
        if len(row) != len(COLUMNS):
            raise InvalidInput(where, ",".join(row), f"{len(COLUMNS)} columns")
        at = _time(where, row[0])
        start = start or at
        if (at.tzinfo is None) != (start.tzinfo is None):
            allowed = "all times with a zone, or none"
            raise InvalidInput(f"{where}, column {COLUMNS[0]}", row[0], allowed)
        prompt = _tokens(where, COLUMNS[1], row[1])
        output = _tokens(where, COLUMNS[2], row[2])
        job = Job(
            f"{prefix}-{n}",
            tenants[n % len(tenants)],
            prompt,
            max(LONGEST, output),
            output_tokens=output,
        )
        yield max(0.0, (at - start).total_seconds()), job


def _time(where: str, text: str) -> datetime:
    """Read a timestamp. Seven digits of a second are one more than datetime knows."""
    head, dot, tail = text.strip().partition(".")
    digits = tail[:6] if dot else ""
    zone = tail.lstrip("0123456789") if dot else ""
    try:
        return datetime.fromisoformat(f"{head}.{digits.ljust(6, '0')}{zone}" if dot else head)
    except ValueError:
        allowed = "a time such as 2023-11-16 18:17:03.9799600"
        raise InvalidInput(f"{where}, column {COLUMNS[0]}", text, allowed) from None


def _tokens(where: str, column: str, text: str) -> int:
    digits = text.strip()
    if not digits.isdecimal() or len(digits) > 12 or int(digits) > MAX_TOKENS:
        raise InvalidInput(f"{where}, column {column}", text, f"a whole number to {MAX_TOKENS}")
    return int(digits)
