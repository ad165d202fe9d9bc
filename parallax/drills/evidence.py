"""What is known after a drill: what producers and workers noted, and what Redis says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from parallax.broker.connection import Link
from parallax.broker.keys import Keys
from parallax.broker.results import Record, Results

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything the promises are checked from. Plain data: the check itself looks at nothing else.

    `lines` are what workers noted (`parallax.consumers.history`), in the order of each worker;
    `left` maps keys that should not be there, or not for ever, to what is wrong with them.
    """

    accepted: set[str]
    refused: set[str]
    unknown: set[str]
    told: dict[str, int]
    records: dict[str, Record | None]
    lines: list[dict[str, Any]]
    counts: dict[str, int]
    open_jobs: int
    left: dict[str, str] = field(default_factory=dict)
    survivors: int = 0  # processes that outlived the drill
    destroyed: bool = False  # entries were deleted by hand
    longest_silence_s: float = 0.0  # of a tenant that had jobs


def lines_of(folder: Path) -> list[dict[str, Any]]:
    """Return what all workers noted; a line that a kill cut off is left out."""
    found = []
    for path in sorted(folder.glob("*.jsonl")):
        for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                found.append(json.loads(text))
            except ValueError:
                continue
    return found


def records_of(link: Link, keys: Keys, names: set[str]) -> dict[str, Record | None]:
    """Return the records of these jobs."""
    results, ordered = Results(link, keys), sorted(names)
    found: dict[str, Record | None] = {}
    for start in range(0, len(ordered), _PAGE):
        page = ordered[start : start + _PAGE]
        found |= dict(zip(page, results.records(page), strict=True))
    return found


def left_over(link: Link, keys: Keys) -> dict[str, str]:
    """Return what lies in Redis that should be gone, or should go one day and will not."""
    found: dict[str, str] = {}
    members = {name.decode() for name in link.call("HKEYS", keys.workers)}
    for key in _scan(link, f"plx:{{{keys.cell}}}:*"):
        kind, _, name = key.rpartition("}:")[2].partition(":")
        if kind in {"in", "work"}:
            length = link.call("XLEN", key)
            if length:
                found[key] = f"{length} entries"
            elif kind == "work" and name not in members:
                found[key] = "the stream of a worker that is gone"
        elif kind == "body":
            found[key] = "a body that nobody needs"
        elif kind in {"job", "out", "hb", "stat", "ctl"} and link.call("PTTL", key) == -1:
            found[key] = "it would stay for ever"
    return found


def _scan(link: Link, pattern: str) -> Iterator[str]:
    cursor = "0"
    while True:
        after, page = link.call("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
        yield from (key.decode("utf-8", "replace") for key in page)
        cursor = after.decode()
        if cursor == "0":
            return
