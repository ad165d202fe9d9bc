"""Liveness: registrations, heartbeats and reports of workers, and the leader's lease."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite

from parallax.broker.link.call import Call
from parallax.broker.link.connection import Link, Reply
from parallax.broker.link.scripts import Argument, script
from parallax.broker.store.answers import Answer, Lexicon
from parallax.broker.store.codec import Registration, decode_registration, encode
from parallax.broker.store.dispatch import Lease
from parallax.broker.store.drained import decode_marks, mark_of
from parallax.broker.store.keys import Keys
from parallax.broker.store.limits import Limits
from parallax.broker.store.misfits import expel, name_of
from parallax.core.errors import Conflict, Fenced, InvalidInput
from parallax.core.model import MAX_TOKENS, is_model
from parallax.core.pages import pages
from parallax.core.words import Beaten, Buried, Clamped, Done, Led

#: Most entries of a worker's stream that are looked at in one go.
MOST_HELD = 5_000

#: Most commands in one write: their replies wait in memory on both sides.
_PIPELINE = 2_000
#: Most heartbeats in one run of `clamp`.
_CLAMPED = 500
#: What PTTL says of a key that is not there.
_GONE = -2
#: The fields of the order to drain, in a worker's stream of orders.
DRAIN = ("drain", "now")

#: Most models that a worker may name.
MOST_MODELS = 1_000

_BEATEN, _BURIED, _LED = Lexicon(Beaten), Lexicon(Buried), Lexicon(Led)
_CLAMPED_WORDS, _DONE = Lexicon(Clamped), Lexicon(Done)


@dataclass(frozen=True, slots=True)
class Member:
    """A registered worker: its liveness, its registration, and its last report."""

    worker: str
    alive: bool
    registration: Registration
    report: Mapping[str, str]
    ttl_ms: int = 0  # of its heartbeat; -1 if that would stay for ever
    mark: str | None = None  # as what it is drained, if somebody said so

    def number(self, name: str) -> float:
        """Return a number from its report; 0 if it is missing or not a finite number."""
        try:
            number = float(self.report.get(name, 0))
        except ValueError:
            return 0.0
        return number if isfinite(number) else 0.0

    @property
    def draining(self) -> bool:
        """Whether it is sent nothing new: it says so itself, or an operator did."""
        return self.mark is not None or self.number("draining") > 0

    @property
    def heartbeat_age_s(self) -> float | None:
        """How long ago it renewed its heartbeat; None if it does not say how long one lasts."""
        lasts_ms = self.number("heartbeat_ms")
        if lasts_ms <= 0 or self.ttl_ms < 0:
            return None
        return max(0.0, lasts_ms - self.ttl_ms) / 1000


def models_of(registration: Registration) -> tuple[str, ...]:
    """Return the models that a worker serves; one that names none serves its engine's.

    A server that has not been looked at yet serves no model that anybody could ask for: ''.
    """
    about = registration.about
    named = [one.strip() for one in str(about.get("models", "")).split(",")[:MOST_MODELS]]
    usable = tuple(one for one in named if is_model(one))
    if usable or "backend" in about:
        return usable or ("",)
    return (registration.engine,)


def dram_of(registration: Registration) -> int:
    """Return how many tokens of KV cache a worker says it keeps in a second tier; 0 if none."""
    told = registration.about.get("dram_tokens", 0)
    return told if isinstance(told, int) and 0 <= told <= MAX_TOKENS else 0


class Membership:
    """Registrations and heartbeats."""

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys

    def beat(self, worker: str, incarnation: str, ttl_ms: int, registration: Registration) -> bool:
        """Register or renew; return True when the heartbeat was new (again).

        Raises Conflict when another process lives under this name.
        """
        beat = heartbeat_call(self._keys, worker, incarnation, ttl_ms, encode(registration))
        word = self._link.do(beat)
        if word is Beaten.TAKEN:
            raise Conflict(f"worker {worker} is already running elsewhere")
        return word is Beaten.NEW

    def amend(self, worker: str, registration: Registration) -> None:
        """Register a live worker anew because its engine has changed."""
        self._link.call("HSET", self._keys.workers, worker, encode(registration))

    def report(self, worker: str, ttl_ms: int, fields: Mapping[str, Argument]) -> None:
        """Publish what the worker reports beside its heartbeat."""
        flat: list[Argument] = [item for pair in fields.items() for item in pair]
        key = self._keys.status(worker)
        self._link.calls([("HSET", key, *flat), ("PEXPIRE", key, ttl_ms)])

    def members(self) -> list[Member]:
        """Return all registered workers, in the order of their ids.

        Two round trips, and one more for each further thousand.
        """
        keys = self._keys
        registered, marked = self._link.calls(
            [("HGETALL", keys.workers), ("HGETALL", keys.drained)]
        )
        flat, marks = iter(registered), decode_marks(marked)
        known = sorted((name_of(name), data) for name, data in zip(flat, flat, strict=True))
        known = [(worker, data) for worker, data in known if worker]
        commands: list[Sequence[Argument]] = []
        for worker, _ in known:
            commands.append(("PTTL", keys.heartbeat(worker)))
            commands.append(("HGETALL", keys.status(worker)))
        answers: Iterator[Reply] = iter(self._in_pages(commands))
        members = []
        for (worker, data), ttl, report in zip(known, answers, answers, strict=True):
            registration = _registration(data)
            if registration is not None:
                mark = mark_of(marks, worker, registration)
                said = _report(report)
                members.append(Member(worker, ttl != _GONE, registration, said, ttl, mark))
        return members

    def _in_pages(self, commands: Sequence[Sequence[Argument]]) -> list[Reply]:
        replies: list[Reply] = []
        for page in pages(commands, _PIPELINE):
            replies += self._link.calls(page)
        return replies

    def set_aside(self) -> int:
        """Take out what can be no worker: bad names, and registrations that cannot be read.

        A worker that lives registers again with its next heartbeat. Returns how many.
        """
        flat = iter(self._link.call("HGETALL", self._keys.workers))
        pairs = zip(flat, flat, strict=True)
        junk = [name for name, data in pairs if not name_of(name) or _registration(data) is None]
        return expel(self._link, self._keys, self._keys.workers, junk)

    def suspects(self) -> dict[str, int]:
        """Return how often in a row workers were found missing, as far as it was noted."""
        flat = iter(self._link.call("HGETALL", self._keys.suspects))
        return {
            name.decode("ascii", "replace"): int(count)
            for name, count in zip(flat, flat, strict=True)
            if count.isdigit() and len(count) < 10
        }

    def suspect(self, looks: Mapping[str, int], gone: Iterable[str]) -> None:
        """Note how often workers were found missing; who came back, or was given up, is `gone`."""
        key, commands = self._keys.suspects, list[Sequence[Argument]]()
        if looks:
            commands.append(("HSET", key, *(item for pair in looks.items() for item in pair)))
        names = sorted(gone)
        if names:
            commands.append(("HDEL", key, *names))
        self._link.calls(commands)

    def stream(self, worker: str) -> str:
        """Return the key of a worker's stream."""
        return self._keys.work(worker)

    def held(self, worker: str) -> list[tuple[str, Sequence[bytes]]]:
        """Return what lies in a worker's stream: (entry id, fields)."""
        return self.held_by([worker])[worker]

    def held_by(
        self, workers: Sequence[str], count: int = MOST_HELD
    ) -> dict[str, list[tuple[str, Sequence[bytes]]]]:
        """Return the first entries of each worker's stream: (entry id, fields). One round trip."""
        if not workers:
            return {}
        reads = [("XRANGE", self._keys.work(w), "-", "+", "COUNT", count) for w in workers]
        return {
            worker: [(entry.decode(), fields or ()) for entry, fields in entries]
            for worker, entries in zip(workers, self._link.calls(reads), strict=True)
        }

    def bury(self, worker: str, lease: Lease | None = None) -> Buried:
        """Forget a worker that holds nothing any more; the leader shows its lease."""
        return self.bury_all([worker], lease)[0]

    def bury_all(self, workers: Sequence[str], lease: Lease | None = None) -> list[Buried]:
        """The same for several workers; return a word for each. One round trip."""
        return self._link.do_each([bury_call(self._keys, worker, lease) for worker in workers])


class Leadership:
    """The lease. Every write of a leader shows its token, so a deposed one changes nothing."""

    def __init__(self, link: Link, keys: Keys, candidate: str, ttl_ms: int) -> None:
        self._link = link
        self._keys = keys
        # Two processes may have the same name, in two containers for example, and each of them
        # would find that it leads already.
        self._candidate = f"{secrets.token_hex(4)}-{candidate}"
        self._ttl_ms = ttl_ms

    def acquire(self) -> Lease | None:
        """Try to become (or stay) the leader; None when somebody else is."""
        word, token = self._link.do(lead_call(self._keys, self._candidate, self._ttl_ms))
        return Lease(token) if word is Led.ACQUIRED else None

    def renew(self, lease: Lease) -> None:
        """Stay the leader; raises Fenced when somebody else took over."""
        self._link.do(renew_call(self._keys.leader, lease, self._ttl_ms))

    def resign(self, lease: Lease) -> None:
        """Let a standby take over at once."""
        with suppress(Fenced):  # it has
            self._link.do(resign_call(self._keys.leader, lease))

    def clamp(self, workers: Sequence[str], ttl_ms: int) -> None:
        """Cut back heartbeats whose TTL a step of the server's clock made too long."""
        parts = pages(workers, _CLAMPED)
        self._link.do_each([clamp_call(self._keys, part, ttl_ms) for part in parts])


def order_drain(link: Link, keys: Keys, worker: str) -> None:
    """Ask a worker to take no more work, end what runs, give back the rest, and leave."""
    stream = keys.control(worker)
    link.calls(
        [
            ("XADD", stream, "MAXLEN", "~", Limits().control_entries, "*", *DRAIN),
            ("PEXPIRE", stream, Limits().record_ttl_ms),
        ]
    )


def heartbeat_call(
    keys: Keys, worker: str, incarnation: str, ttl_ms: int, registration: bytes
) -> Call[Beaten]:
    """Build what registers a worker or renews its heartbeat."""
    names = [keys.heartbeat(worker), keys.workers]
    args: list[Argument] = [worker, incarnation, ttl_ms, registration]
    return Call(script("heartbeat"), names, args, _BEATEN.first)


def bury_call(keys: Keys, worker: str, lease: Lease | None) -> Call[Buried]:
    """Build what forgets a worker; without a lease it is the worker itself that leaves."""
    names = [
        keys.leader if lease else keys.heartbeat(worker),  # a worker may not touch `leader`
        keys.heartbeat(worker), keys.work(worker), keys.control(worker), keys.status(worker),
        keys.workers,
    ]  # fmt: skip
    return Call(script("bury"), names, [lease.token if lease else "", worker], _buried)


def _buried(reply: Sequence[bytes]) -> Buried:
    return _BURIED[reply[0]]


def lead_call(keys: Keys, candidate: str, ttl_ms: int) -> Call[Answer[Led]]:
    """Build the call that takes or keeps the lease; its answer has the leader's token."""
    names = [keys.leader, keys.epoch]
    return Call(script("lead"), names, [candidate, ttl_ms], lambda reply: _LED.answers(reply)[0])


def renew_call(seat: str, lease: Lease, ttl_ms: int) -> Call[Done]:
    """Build what renews the lease under this key; raises Fenced when somebody else has it."""
    return Call(script("renew"), [seat], [lease.token, ttl_ms], _DONE.first)


def resign_call(seat: str, lease: Lease) -> Call[Done]:
    """Build what gives the lease under this key up; raises Fenced when somebody else has it."""
    return Call(script("resign"), [seat], [lease.token], _DONE.first)


def clamp_call(keys: Keys, workers: Sequence[str], ttl_ms: int) -> Call[list[Clamped]]:
    """Build what cuts back the heartbeats of these workers."""
    names = [keys.heartbeat(worker) for worker in workers]
    return Call(script("clamp"), names, [ttl_ms], _CLAMPED_WORDS.words)


def _registration(data: bytes) -> Registration | None:
    """Decode a registration; junk written by hand is no worker."""
    try:
        return decode_registration(data)
    except InvalidInput:
        return None


def _report(flat: Sequence[bytes]) -> dict[str, str]:
    pairs = iter(flat)
    return {
        name.decode("utf-8", "replace"): value.decode("utf-8", "replace")
        for name, value in zip(pairs, pairs, strict=True)
    }
