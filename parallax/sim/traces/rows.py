"""What all readers share: rows of a CSV or JSONL file, and values out of them.

Whatever is wrong is told with the file, the line and the column.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from parallax.core.errors import InvalidInput
from parallax.core.model import MAX_TOKENS

#: Tokens an answer may have, as its producer would say: one number for all jobs, so that no policy
#: can read the true length of an answer from it.
LONGEST = 4_096


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a trace: its values by column, and where it stands."""

    path: Path
    line: int
    values: dict[str, Any]

    def fault(self, column: str, value: object, allowed: str) -> InvalidInput:
        """Return the error that names the place."""
        return InvalidInput(f"{self.path}, line {self.line}, column {column}", value, allowed)

    def number(self, column: str, default: float | None = None) -> float:
        """Return a finite number >= 0."""
        value = self.values.get(column)
        if value in (None, "") and default is not None:
            return default
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise self.fault(column, value, "a number >= 0") from None
        if not isfinite(number) or number < 0 or isinstance(value, bool):
            raise self.fault(column, value, "a number >= 0")
        return number

    def tokens(self, column: str, default: int | None = None) -> int:
        """Return a number of tokens."""
        number = self.number(column, default)
        if number > MAX_TOKENS or number != int(number):
            allowed = f"a whole number from 0 to {MAX_TOKENS}"
            raise self.fault(column, self.values.get(column), allowed)
        return int(number)

    def text(self, column: str, default: str | None = None) -> str:
        """Return some text."""
        value = self.values.get(column)
        if value in (None, ""):
            if default is None:
                raise self.fault(column, value, "it must be given")
            return default
        return str(value)

    def numbers(self, column: str) -> list[int]:
        """Return a list of whole numbers."""
        value = self.values.get(column, [])
        if not isinstance(value, list) or any(type(part) is not int for part in value):
            raise self.fault(column, value, "a list of whole numbers")
        return value


def csv_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a CSV file with a header."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            head = [name.strip() for name in next(reader, [])]
            for cells in reader:
                if not cells:
                    continue
                if len(cells) != len(head):
                    where = f"{path}, line {reader.line_num}"
                    raise InvalidInput(where, ",".join(cells)[:60], f"{len(head)} columns")
                yield Row(path, reader.line_num, dict(zip(head, cells, strict=True)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput("trace", str(path), f"a readable CSV file ({error})") from None


def json_rows(path: Path) -> Iterator[Row]:
    """Yield the objects of a JSONL file."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield Row(path, number, _object(path, number, line))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput("trace", str(path), f"a readable JSONL file ({error})") from None


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        where = f"{path}, line {number}"
        raise InvalidInput(where, line.strip()[:60], f"one JSON object ({error})") from None
    if not isinstance(value, dict):
        raise InvalidInput(f"{path}, line {number}", value, "one JSON object")
    return value
