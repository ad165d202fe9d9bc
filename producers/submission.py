"""Jobs as people write them: JSON lines, checked field by field."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from typing import Any

from parallax.core.errors import InvalidInput
from parallax.core.model import Job

FIELDS = tuple(f.name for f in dataclasses.fields(Job))
MAX_LINE = 1 << 20
_REQUIRED = ("tenant", "prompt_tokens", "max_tokens")


def jobs_from_lines(lines: Iterable[str], defaults: dict[str, Any], prefix: str) -> Iterator[Job]:
    """Yield a job for each line of JSON; an id is made up where none is given.

    Raises InvalidInput naming line, field, value and what is allowed.
    """
    number = 0
    try:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _job(number, line, {"id": f"{prefix}-{number}", **defaults})
    except UnicodeDecodeError as error:
        raise InvalidInput(f"after line {number}", error.object[:20], "UTF-8 text") from None


def _job(number: int, line: str, defaults: dict[str, Any]) -> Job:
    where = f"line {number}"
    if len(line) > MAX_LINE:
        raise InvalidInput(where, f"{len(line)} characters", f"at most {MAX_LINE}")
    try:
        fields = json.loads(line, parse_constant=_no_constant, object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(where, line.strip()[:60], f"one JSON object ({error})") from None
    if not isinstance(fields, dict):
        raise InvalidInput(where, fields, "one JSON object")
    for name in fields:
        if name not in FIELDS:
            raise InvalidInput(
                f"{where}, field {name}", fields[name], f"known: {', '.join(FIELDS)}"
            )
    merged = {**defaults, **fields}
    for name in _REQUIRED:
        if name not in merged:
            raise InvalidInput(f"{where}, field {name}", None, "it must be given")
    if isinstance(merged.get("prefix"), list):
        merged["prefix"] = tuple(merged["prefix"])
    try:
        return Job(**merged)
    except InvalidInput as error:
        raise InvalidInput(f"{where}, field {error.field}", error.value, error.allowed) from None


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise ValueError("a field is given twice")
    return dict(pairs)
