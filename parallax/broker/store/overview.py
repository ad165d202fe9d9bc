"""The one reader of a cell's state, for commands, dashboard, gateways and alerts.

`Overview.read` takes two round trips (and one more for each further two thousand workers), whatever
the size of the cell, and looks at no more than `MOST_TENANTS` streams of arrivals. What only a
leader knows it takes from the figures that the leader tells once a second (`store.figures`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from parallax.broker.link.connection import Link, Reply
from parallax.broker.link.scripts import Argument
from parallax.broker.store.codec import Registration, decode_registration
from parallax.broker.store.drained import decode_marks, mark_of
from parallax.broker.store.figures import (
    Event,
    Figures,
    InForce,
    TenantFigures,
    WorkerFigures,
    decode_counts,
    decode_figures,
    rates,
)
from parallax.broker.store.keys import Keys
from parallax.broker.store.membership import Member
from parallax.broker.store.misfits import name_of, names_of
from parallax.broker.store.policies import PolicyDocument, decode_policies
from parallax.broker.store.tenancy import Tenancy
from parallax.core.errors import InvalidInput
from parallax.core.model import NAME
from parallax.core.pages import pages
from parallax.core.sketch import Sketch

#: Most tenants whose waiting jobs are counted by one look.
MOST_TENANTS = 1_000

#: Most commands in one write: their replies wait in memory on both sides.
_PIPELINE = 8_000

#: Figures that are older than this are not published any more by a leader (seconds).
STALE_S = 5.0

#: A worker is called slow if it is so many times slower than the others of its pool.
SLOW = 2.0

#: What PTTL says of a key that is not there, and of one that stays for ever.
_GONE, _FOR_EVER = -2, -1

WorkerWord = Literal["alive", "unready", "draining", "dead"]


@dataclass(frozen=True, slots=True)
class Leader:
    """The leader, its start (None: not told yet), and how often the lease was taken."""

    name: str
    epoch: int
    since: float | None = None


@dataclass(frozen=True, slots=True)
class WorkerState:
    """A worker: its registration, its report, and the leader's view of it."""

    member: Member
    incarnation: str
    stream_jobs: int
    figures: WorkerFigures | None = None

    @property
    def name(self) -> str:
        """Its id."""
        return self.member.worker

    @property
    def state(self) -> WorkerWord:
        """How it is; one that is not ready is sent nothing, as one that drains."""
        member = self.member
        if not member.alive:
            return "dead"
        if member.report.get("unready"):
            return "unready"
        if member.draining:
            return "draining"
        return "alive"

    @property
    def is_slow(self) -> bool:
        """Whether the leader finds it much slower than the others of its pool."""
        return self.figures is not None and self.figures.slowness > SLOW


@dataclass(frozen=True, slots=True)
class TenantState:
    """A tenant: its weight (1 unless set), its jobs, and its service.

    `figures` are None where it is not among the busiest that the leader tells of.
    """

    name: str
    weight: float
    waiting_jobs: int
    figures: TenantFigures | None = None
    share: float | None = None  # of the cost served in the last minute
    due: float | None = None  # by weight, among those who were served or wait


@dataclass(frozen=True, slots=True)
class CellState:
    """The state of a cell at `at`, by the server's clock.

    `waiting_jobs` counts those of the tenants in `tenants`; it is exact unless there are more.
    """

    cell: str
    at: float
    leader: Leader | None
    open_jobs: int
    waiting_jobs: int
    waiting_is_exact: bool
    tenants_active: int
    tenants_weighted: int
    dead_letters: int
    totals: Mapping[str, int]
    streams: Mapping[str, int]
    workers: Sequence[WorkerState]
    tenants: Sequence[TenantState]
    policies: PolicyDocument
    figures: Figures | None = None
    rates: Mapping[str, float] = field(default_factory=dict)  # over the last minute
    moment: Mapping[str, float] = field(default_factory=dict)  # over the last seconds
    sketches: Mapping[str, Sketch] = field(default_factory=dict)

    @property
    def figures_age_s(self) -> float | None:
        """How old the leader's figures are; None if there are none."""
        return None if self.figures is None else max(0.0, self.at - self.figures.at)

    @property
    def stale(self) -> bool:
        """Whether nobody tells what a leader knows."""
        age = self.figures_age_s
        return age is None or age > STALE_S

    @property
    def window_s(self) -> float:
        """How long the minute is that the leader's counts are of."""
        return 0.0 if self.figures is None else max(0.0, self.figures.at - self.figures.since)

    @property
    def alive(self) -> list[WorkerState]:
        """The workers that live."""
        return [worker for worker in self.workers if worker.member.alive]

    @property
    def in_force(self) -> Sequence[InForce]:
        """The policies that the leader uses."""
        return () if self.figures is None else self.figures.policies

    @property
    def events(self) -> Sequence[Event]:
        """The last notable events, the oldest first."""
        return () if self.figures is None else self.figures.events

    def per_s(self, word: str) -> float:
        """Return how often a second the leader counted this in the last minute."""
        counted = 0 if self.figures is None else self.figures.tally.get(word, 0)
        return counted / self.window_s if self.window_s > 0 else 0.0


class Overview:
    """See the module's docstring."""

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys

    def read(self) -> CellState:
        """Look once."""
        keys = self._keys
        found = self._link.calls(
            [
                ("TIME",), ("GET", keys.leader), ("ZCARD", keys.open), ("SCARD", keys.active),
                ("SSCAN", keys.active, 0, "COUNT", MOST_TENANTS), ("XLEN", keys.dead),
                ("XLEN", keys.events), ("XLEN", keys.bell), ("HGETALL", keys.counts),
                ("HGETALL", keys.workers), ("HLEN", keys.tenants),
                ("HGET", keys.policy, "document"), ("GET", keys.figures), ("HGETALL", keys.drained),
            ]
        )  # fmt: skip
        time, token, opened, active, (_, some), dead, events, bell, counts = found[:9]
        registered, weighted, document, told, marked = found[9:]
        figures = decode_figures(told)
        names = sorted(names_of(some)[0])[:MOST_TENANTS]
        tenants = list(dict.fromkeys([*names, *_busy(figures)]))
        known = _registered(registered)
        depths, weights, reports = self._second(tenants, list(known))
        workers = _workers(known, reports, figures, decode_marks(marked))
        waiting = sum(depths.values())
        streams = {
            "arrivals": waiting, "work": sum(worker.stream_jobs for worker in workers),
            "events": int(events), "bell": int(bell), "dead": int(dead),
        }  # fmt: skip
        return CellState(
            keys.cell, int(time[0]) + int(time[1]) / 1e6, _leader(token, figures), int(opened),
            waiting, int(active) <= len(names), int(active), max(0, int(weighted) - 1),
            int(dead), decode_counts(counts), streams, workers,
            _tenants(tenants, depths, weights, figures), decode_policies(document), figures,
            rates(figures.minute, figures.latest) if figures else {},
            rates(figures.moment, figures.latest) if figures else {},
            {name: Sketch(pairs) for name, pairs in figures.latencies.items()} if figures else {},
        )  # fmt: skip

    def tenants(self) -> list[TenantState]:
        """Return every tenant that has a weight or jobs, by name. O(tenants)."""
        keys = self._keys
        weights = Tenancy(self._link, keys).weights()
        members, told = self._link.calls([("SMEMBERS", keys.active), ("GET", keys.figures)])
        active, figures = names_of(members)[0], decode_figures(told)
        depths = dict.fromkeys(sorted(weights.keys() | set(active) | set(_busy(figures))), 0)
        for page in pages(active, _PIPELINE):
            lengths = self._link.calls([("XLEN", keys.arrivals(name)) for name in page])
            depths.update(zip(page, map(int, lengths), strict=True))
        whole = {name: weights.get(name, 1.0) for name in depths}
        return _tenants(list(depths), depths, whole, figures)

    def oldest_open(self, count: int) -> list[str]:
        """Return the open jobs that nobody touched for longest."""
        return names_of(self._link.call("ZRANGE", self._keys.open, 0, count - 1))[0]

    def _second(
        self, tenants: Sequence[str], workers: Sequence[str]
    ) -> tuple[dict[str, int], dict[str, float], list[list[Reply]]]:
        """Return the tenants' waiting jobs and weights, and each worker's report."""
        keys = self._keys
        commands: list[Sequence[Argument]] = [("XLEN", keys.arrivals(name)) for name in tenants]
        if tenants:
            commands.append(("HMGET", keys.tenants, *tenants))
        for worker in workers:
            commands += [
                ("PTTL", keys.heartbeat(worker)), ("GET", keys.heartbeat(worker)),
                ("HGETALL", keys.status(worker)), ("XLEN", keys.work(worker)),
            ]  # fmt: skip
        found = [reply for page in pages(commands, _PIPELINE) for reply in self._link.calls(page)]
        count = len(tenants)
        depths = dict(zip(tenants, map(int, found[:count]), strict=True))
        texts = found[count] if tenants else ()
        weights = {name: _weight(text) for name, text in zip(tenants, texts, strict=True)}
        rest = found[count + bool(tenants) :]
        return depths, weights, [rest[n : n + 4] for n in range(0, len(rest), 4)]


def _leader(token: Reply, figures: Figures | None) -> Leader | None:
    if token is None:
        return None
    name, _, epoch = token.decode("utf-8", "replace").partition("|")
    number = int(epoch) if epoch.isdecimal() and len(epoch) < 16 else 0
    return Leader(name, number, figures.term_since if figures else None)


def _busy(figures: Figures | None) -> list[str]:
    return [one.name for one in figures.tenants if NAME.fullmatch(one.name)] if figures else []


def _weight(text: bytes | None) -> float:
    try:
        weight = float(text or b"1")
    except ValueError:
        return 1.0
    return weight if 0 < weight <= 1e6 else 1.0


def _registered(flat: Reply) -> dict[str, Registration]:
    pairs = iter(flat)
    found: dict[str, Registration] = {}
    for name, data in sorted(zip(pairs, pairs, strict=True)):
        worker = name_of(name)
        if worker:
            try:
                found[worker] = decode_registration(data)
            except InvalidInput:
                continue
    return found


def _workers(
    known: Mapping[str, Registration],
    reports: Sequence[list[Reply]],
    figures: Figures | None,
    marks: Mapping[bytes, bytes],
) -> list[WorkerState]:
    told = {one.name: one for one in figures.workers} if figures else {}
    found = []
    for (name, registration), (ttl, life, report, length) in zip(
        known.items(), reports, strict=True
    ):
        pairs = iter(report)
        fields = {
            key.decode("utf-8", "replace"): value.decode("utf-8", "replace")
            for key, value in zip(pairs, pairs, strict=True)
        }
        mark = mark_of(marks, name, registration)
        member = Member(name, int(ttl) != _GONE, registration, fields, int(ttl), mark)
        incarnation = (life or b"").decode("utf-8", "replace")[:64]
        found.append(WorkerState(member, incarnation, int(length), told.get(name)))
    return found


def _tenants(
    names: Sequence[str],
    depths: Mapping[str, int],
    weights: Mapping[str, float],
    figures: Figures | None,
) -> list[TenantState]:
    told = {one.name: one for one in figures.tenants} if figures else {}
    total = sum(one.cost for one in told.values())
    due = {n for n in names if depths[n] or (n in told and (told[n].cost or told[n].running))}
    weight = sum(weights[name] for name in due)
    found = []
    for name in names:
        one = told.get(name)
        share = one.cost / total if one is not None and total > 0 else None
        part = weights[name] / weight if name in due else None
        found.append(TenantState(name, weights[name], depths[name], one, share, part))
    return found
