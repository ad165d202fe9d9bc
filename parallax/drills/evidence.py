"""The evidence after a drill: notes of producers and workers, and the state of Redis."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.broker.store.results import Record, Results
from parallax.core.digests import digest_of
from parallax.drills.contention import Window
from parallax.drills.hearing import Heard
from parallax.drills.watching import Memory

_PAGE = 500

V = TypeVar("V")


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
    floor_s: float = 20.0  # how long such a silence may be
    excused: int = 0  # jobs and marks of jobs that were damaged or made up by hand
    misplaced: Sequence[str] = ()  # faults of bodies
    unexplained: Mapping[str, str] = field(default_factory=dict)  # keys that no rule explains
    windows: Sequence[Window] = ()  # while two tenants were backlogged
    untold: bool = False  # events were deleted by hand: what they told was not charged exactly
    memory: Mapping[str, Memory] = field(default_factory=dict)
    bodies: Mapping[str, str] = field(default_factory=dict)  # digests of submitted bodies
    answers: Mapping[str, str] = field(default_factory=dict)  # digests of answers told at the end
    kept: Mapping[str, str] = field(default_factory=dict)  # digests of answers read afterwards
    streams: frozenset[str] = frozenset()  # jobs whose answers come in pieces
    pieces: Mapping[str, Heard] = field(default_factory=dict)

    def without(self, spoiled: set[str]) -> Evidence:
        """Return the same without these jobs, which were damaged by hand."""
        if not spoiled:
            return self
        return replace(
            self,
            accepted=self.accepted - spoiled,
            refused=self.refused - spoiled,
            unknown=self.unknown | spoiled,
            told={name: count for name, count in self.told.items() if name not in spoiled},
            records={n: record for n, record in self.records.items() if n not in spoiled},
            lines=[line for line in self.lines if line.get("job") not in spoiled],
            excused=self.excused + len(spoiled),
            bodies=_without(self.bodies, spoiled),
            answers=_without(self.answers, spoiled),
            kept=_without(self.kept, spoiled),
            streams=self.streams - spoiled,
            pieces=_without(self.pieces, spoiled),
        )


def _without(some: Mapping[str, V], spoiled: set[str]) -> dict[str, V]:
    return {name: value for name, value in some.items() if name not in spoiled}


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


def kept_of(link: Link, keys: Keys, names: Iterable[str]) -> dict[str, str]:
    """Return the digests of the answers of these jobs; '' where none is kept."""
    ordered = sorted(names)
    answers = Results(link, keys).answers(ordered)
    return {name: digest_of(answer or b"") for name, answer in zip(ordered, answers, strict=True)}


def counts_of(link: Link, keys: Keys) -> dict[str, int]:
    """Return the totals of the cell, without junk."""
    flat = iter(link.call("HGETALL", keys.counts))
    pairs = zip(flat, flat, strict=True)
    return {name.decode("ascii", "replace"): int(v) for name, v in pairs if v.isdigit()}


def open_names(link: Link, keys: Keys) -> list[str]:
    """Return the jobs that are open; names that were made up (junk) are no jobs."""
    names = [name.decode("ascii", "replace") for name in link.call("ZRANGE", keys.open, 0, -1)]
    return [name for name in names if not name.startswith("junk")]


def open_of(link: Link, keys: Keys) -> int:
    """Return how many jobs are open."""
    return len(open_names(link, keys))
