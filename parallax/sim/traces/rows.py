"""The common base of trace readers: rows of a CSV or JSONL file, typed values, one clock.

Whatever is wrong is told with the file, the line and the column.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, TextIO

from parallax.core.errors import InvalidInput
from parallax.core.model import MAX_HASH, MAX_PREFIX, MAX_TOKENS
from parallax.core.suggest import among
from parallax.sim.traces.files import FAULTS, text_of

#: Tokens an answer may have, as its producer would say: one number for all jobs, so that no policy
#: can read the true length of an answer from it. `catalog.read` raises it for longer answers.
LONGEST = 4_096
#: Seconds a row may be earlier than the one above it: logs of several machines are merged roughly.
SLACK_S = 60.0


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a trace: its values by column, and where it stands."""

    path: Path
    line: int
    values: dict[str, Any]

    def fault(self, column: str, value: object, allowed: str) -> InvalidInput:
        """Return the error that names the place."""
        return InvalidInput(f"{self.path}, line {self.line}, column {column}", value, allowed)

    def given(self, column: str) -> bool:
        """Whether there is a value at all."""
        return self.values.get(column) not in (None, "")

    def number(self, column: str) -> float:
        """Return a finite number >= 0."""
        value = self.values.get(column)
        if value is None:
            raise self.fault(column, value, "it must be given")
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            raise self.fault(column, value, "a number >= 0") from None
        if not isfinite(number) or number < 0 or isinstance(value, bool):
            raise self.fault(column, value, "a number >= 0")
        return number

    def tokens(self, column: str, most: int = MAX_TOKENS) -> int:
        """Return a number of tokens."""
        number = self.number(column)
        if number > most or number != int(number):
            raise self.fault(column, self.values.get(column), f"a whole number from 0 to {most}")
        return int(number)

    def whole(self, column: str) -> int:
        """Return a whole number of either sign."""
        value = self.values.get(column)
        if isinstance(value, bool) or not re.fullmatch(r"\s*[-+]?[0-9]{1,18}\s*", str(value)):
            raise self.fault(column, value, "a whole number")
        return int(value)  # type: ignore[arg-type]

    def text(self, column: str, default: str | None = None) -> str:
        """Return a text, or a number as text."""
        value = self.values.get(column)
        if value in (None, ""):
            if default is None:
                raise self.fault(column, value, "it must be given")
            return default
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise self.fault(column, value, "a text")
        return str(value)

    def hashes(self, column: str, most: int) -> tuple[int, ...]:
        """Return the first `most` names of blocks from a list of them."""
        value = self.values.get(column)
        if value is None:
            return ()
        allowed = f"a list of whole numbers from 0 to {MAX_HASH}"
        if not isinstance(value, list):
            raise self.fault(column, value, allowed)
        for name in value:
            if type(name) is not int or not 0 <= name <= MAX_HASH:
                raise self.fault(column, name, allowed)
        return tuple(value[: min(most, MAX_PREFIX)])


@dataclass(slots=True)
class Clock:
    """Turns times of rows into seconds since the first row, which never run backwards."""

    slack_s: float = SLACK_S  # what a row may be earlier than the one above it
    start: float | None = None
    last: float = 0.0

    def since(self, row: Row, column: str, at_s: float) -> float:
        """Return a row's time; one a little earlier than the row above comes together with it."""
        if self.start is None:
            self.start = at_s
        since = at_s - self.start
        if since < self.last - self.slack_s:
            early = f"{self.last - since:g} s before one above it"
            allowed = f"rows in order of time: this one is {early}; sort the file"
            raise row.fault(column, row.values.get(column), allowed)
        self.last = max(self.last, since)
        return self.last


def csv_rows(
    path: Path, required: Sequence[str], known: Collection[str] | None = None
) -> Iterator[Row]:
    """Yield the rows of a CSV file whose header has the required columns.

    Empty rows, and comments above the header, are passed over. Cells are parted by commas,
    semicolons or tabs, whichever the header uses. With `known`, any other named column is refused.
    """
    try:
        with text_of(path, newline="") as file:
            line, head_line = _first(file)
            reader = csv.reader(file, delimiter=_delimiter(head_line), skipinitialspace=True)
            head = columns_of(head_line)
            _check_head(path, line, head, required, known)
            for cells in reader:
                at = line + reader.line_num
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) != len(head):
                    raise InvalidInput(
                        f"{path}, line {at}", ",".join(cells)[:60], f"{len(head)} columns"
                    )
                yield Row(path, at, dict(zip(head, cells, strict=True)))
    except (*FAULTS, csv.Error) as error:
        raise unreadable(path, error, "CSV") from None


def _check_head(
    path: Path, line: int, head: list[str], required: Sequence[str], known: Collection[str] | None
) -> None:
    where = f"{path}, line {line}"
    if not set(required) <= set(head):
        raise InvalidInput(where, ",".join(head), f"columns {','.join(required)}")
    named_ones = [name for name in head if name]
    for name in named_ones:
        if named_ones.count(name) > 1:
            raise InvalidInput(f"{where}, column {name}", name, "each column once")
        if known is not None and name not in known:
            raise InvalidInput(f"{where}, column {name}", name, among(name, known))


def json_rows(path: Path, known: Collection[str] | None = None) -> Iterator[Row]:
    """Yield the objects of a JSONL file. With `known`, any other field is refused."""
    try:
        with text_of(path) as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                row = Row(path, number, _object(path, number, line))
                for name in row.values if known is not None else ():
                    if name not in (known or ()):
                        raise row.fault(name, row.values[name], among(name, known or ()))
                yield row
    except FAULTS as error:
        raise unreadable(path, error, "JSONL") from None


def unreadable(path: Path, error: Exception, kind: str) -> InvalidInput:
    """Return the error for a file that is not there, or not what it should be."""
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return InvalidInput(str(path), why, f"a readable {kind} file in UTF-8 or UTF-16, perhaps gzip")


def first_line(path: Path) -> tuple[int, str]:
    """Return the first line that is neither empty nor a comment, and its number; ('' at the end).

    At most a MiB of it.
    """
    try:
        with text_of(path) as file:
            return _first(file)
    except FAULTS as error:
        raise unreadable(path, error, "CSV or JSONL") from None


def _first(file: TextIO) -> tuple[int, str]:
    number = 0
    while line := file.readline(1 << 20):
        number += 1
        if line.strip() and not line.startswith("#"):
            return number, line
    return 1, ""


def columns_of(head: str) -> list[str]:
    """Return the names in a header.

    >>> columns_of('"a"; b ;c')
    ['a', 'b', 'c']
    """
    cells = next(csv.reader([head], delimiter=_delimiter(head), skipinitialspace=True), [])
    return [name.strip() for name in cells]


def _delimiter(head: str) -> str:
    return max(",;\t", key=head.count)  # the first of them, if there is none


def named(text: str) -> str:
    """Return a text as a name that may stand in a key or a label."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", text).strip("-._")[:64] or "unnamed"


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        where = f"{path}, line {number}"
        raise InvalidInput(where, line.strip()[:60], f"one JSON object ({error})") from None
    if isinstance(value, list):
        allowed = "one JSON object a line, not a list of them (`jq -c '.[]'` parts it)"
        raise InvalidInput(f"{path}, line {number}", value, allowed)
    if not isinstance(value, dict):
        raise InvalidInput(f"{path}, line {number}", value, "one JSON object a line")
    return value
