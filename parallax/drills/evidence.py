"""The evidence after a drill: notes of producers and workers, and the state of Redis."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.broker.store.results import Record, Results
from parallax.core.digests import digest_of
from parallax.core.model import NAME
from parallax.drills.contention import Window
from parallax.drills.exchanges import Exchange
from parallax.drills.gateways import Trouble
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
    exchanges: Sequence[Exchange] = ()  # requests of clients of gateways
    fronts: Mapping[str, str] = field(default_factory=dict)  # jobs of gateways, and their wishes
    troubles: Sequence[Trouble] = ()  # what befell gateways
    lag_s: float = 0.0  # how long the clients themselves stood still, at most
    bodies_left: frozenset[str] = frozenset()  # jobs of gateways whose bodies are there
    answers_left: frozenset[str] = frozenset()  # the same with their answers

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
            exchanges=self._unspoiled(spoiled),
            fronts=_without(self.fronts, spoiled),
            bodies_left=self.bodies_left - spoiled,
            answers_left=self.answers_left - spoiled,
        )

    def _unspoiled(self, spoiled: set[str]) -> list[Exchange]:
        """Return the exchanges about other jobs."""
        wishes = {wish for job, wish in self.fronts.items() if job in spoiled}
        return [one for one in self.exchanges if one.wish not in wishes and one.job not in spoiled]


def _without(some: Mapping[str, V], spoiled: set[str]) -> dict[str, V]:
    return {name: value for name, value in some.items() if name not in spoiled}


def write_exchanges(path: Path, evidence: Evidence) -> None:
    """Write down what came of every request to a gateway, and its jobs: for whoever looks why."""
    jobs: dict[str, list[str]] = {}
    for job, wish in evidence.fronts.items():
        jobs.setdefault(wish, []).append(job)
    lines = [{**asdict(one), "jobs": jobs.get(one.wish, [])} for one in evidence.exchanges]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


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


def jobs_through_gateways(link: Link, keys: Keys, wishes: set[str]) -> dict[str, str]:
    """Return the jobs whose session is one of these wishes, and which of them it is."""
    prefix, cursor, names = f"{keys.prefix}job:", b"0", set[str]()
    while True:
        cursor, page = link.call("SCAN", cursor, "MATCH", f"{prefix}*", "COUNT", 1000)
        names |= {key.decode("ascii", "replace").removeprefix(prefix) for key in page}
        if cursor == b"0":
            break
    records = records_of(link, keys, {name for name in names if NAME.fullmatch(name)})
    sessions = {name: record.session for name, record in records.items() if record is not None}
    return {name: session for name, session in sessions.items() if session in wishes}


def left_of(link: Link, make: Callable[[str], str], names: Iterable[str]) -> frozenset[str]:
    """Return those jobs of which there is the key that `make` makes of their names."""
    ordered, found = sorted(names), set[str]()
    for start in range(0, len(ordered), _PAGE):
        page = ordered[start : start + _PAGE]
        there = link.calls([("EXISTS", make(name)) for name in page])
        found |= {name for name, count in zip(page, there, strict=True) if count}
    return frozenset(found)


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
