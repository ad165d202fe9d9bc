"""A client over several cells: each tenant's jobs go to its home, and answers come from all.

A job's id does not tell its tenant, so a question about a job goes to every cell, one round trip
each. If a job is in two cells (its tenant moved, and the id was used again) the one accepted last
counts. A cell that does not answer takes nothing from the others: their receipts, news and records
are told, and it is left alone for a while, so that waiting for it takes at most a fifth of the
caller's time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import ceil
from operator import methodcaller
from random import Random
from typing import TypeVar

from parallax.broker.store.confirming import Replicated
from parallax.broker.store.intake import Receipt
from parallax.broker.store.limits import Limits
from parallax.broker.store.results import Notice, Record
from parallax.core.cells import CellAddress, home
from parallax.core.clock import Clock
from parallax.core.errors import InvalidInput, ParallaxError, Unreachable
from parallax.core.model import Job, check_name
from parallax.core.words import Cancelled
from parallax.producers.client.client import Client
from parallax.producers.client.completion import Completion, Waiting
from parallax.producers.client.interface import WAIT_S
from parallax.producers.client.mailbox import Mailbox
from parallax.producers.client.stream import Stream
from parallax.services.clock import SystemClock

R = TypeVar("R")
T = TypeVar("T")

#: Longest wait for one cell while others may have news (milliseconds).
SLICE_MS = 20

#: A silent cell is left alone for so many times as long as it took to find that out, and for so
#: many seconds at least and at most.
REST, LEAST_REST_S, MOST_REST_S = 4, 0.5, 20.0

#: How often a cell is asked to take jobs before it counts as silent: once more than once, for a
#: connection may have broken long ago; not more, for a server that hangs takes seconds each time.
TIMES = 2


class Cells:
    """Like `Client`, over several cells, and as safe to share between threads."""

    def __init__(
        self,
        clients: Mapping[str, Client],
        weights: Mapping[str, float] | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not clients:
            raise InvalidInput("cells", list(clients), "at least one cell")
        self._clients = dict(clients)
        self._weights = dict(weights or dict.fromkeys(clients, 1.0))
        self._clock: Clock = clock or SystemClock()
        self._random = Random()
        self._turn = 0
        self._mailbox = Mailbox(self.news)
        self._rests: dict[str, float] = {}  # cells that were silent, and until when to let them be

    @classmethod
    def to(
        cls, places: Sequence[CellAddress], limits: Limits | None = None,
        clock: Clock | None = None, *, shared_prefixes: bool = False,
        replicated: Replicated | None = None,
    ) -> Cells:  # fmt: skip
        """Return a client of the cells at these places."""
        weights = {place.name: place.weight for place in places}
        clients = {
            place.name: Client(
                place.url,
                place.name,
                limits,
                clock,
                shared_prefixes=shared_prefixes,
                replicated=replicated,
            )
            for place in places
        }
        return cls(clients, weights, clock)

    def home(self, tenant: str) -> str:
        """Return the cell of a tenant."""
        return home(tenant, self._weights)

    def submit(
        self, jobs: Sequence[Job], *, own_streams: bool = False,
        bodies: Mapping[str, bytes] | None = None,
    ) -> list[Receipt]:  # fmt: skip
        """Offer jobs, each to its tenant's home; return a receipt for each, in their order.

        Unlike `Client` it raises nothing when a cell cannot be asked, for the others' receipts must
        not be lost: those of its jobs say so (`Receipt.failed`). The word `unknown`, whose `error`
        is an Unreachable, is a job that may or may not be accepted, and may be submitted again.
        """
        homes = {tenant: self.home(tenant) for tenant in {job.tenant for job in jobs}}
        groups: dict[str, list[int]] = {}
        for place, job in enumerate(jobs):
            groups.setdefault(homes[job.tenant], []).append(place)
        receipts: dict[int, Receipt] = {}
        for cell in sorted(groups, key=lambda name: name in self._rests):  # the silent ones last
            own = [jobs[place] for place in groups[cell]]
            try:
                answers = self._offer(cell, own, own_streams, bodies)
            except ParallaxError as error:
                answers = [Receipt.failed(job.id, error) for job in own]
            receipts.update(zip(groups[cell], answers, strict=True))
        return [receipts[place] for place in range(len(jobs))]

    def _offer(
        self, cell: str, jobs: Sequence[Job], own_streams: bool,
        bodies: Mapping[str, bytes] | None,
    ) -> list[Receipt]:  # fmt: skip
        own = {job.id: bodies[job.id] for job in jobs if job.id in bodies} if bodies else None
        times = 1 if cell in self._rests else TIMES
        return self._ask(
            cell, lambda c: c.submit(jobs, own_streams=own_streams, bodies=own, times=times)
        )

    def news(self, block_ms: int) -> list[Completion]:
        """Wait up to `block_ms` for ends of jobs; raises Unreachable if no cell answers."""

        def told(cell: str, ms: int) -> list[Completion]:
            return self._ask(cell, lambda c: c.news(ms), ms)

        return self._first(block_ms, told)

    def wait(self, job_ids: Iterable[str], timeout_s: float) -> Iterator[Completion]:
        """Yield each job as it ends; stop when all have, or after `timeout_s` without a new one."""
        waiting = Waiting(
            self._mailbox.take, lambda ids: self._newest(ids)[0], self.answers, self._clock,
            self._random,
        )  # fmt: skip
        return waiting.each(job_ids, timeout_s)

    def follow(self, job_id: str, cursor: str, block_ms: int) -> tuple[str, list[Notice]]:
        """Return what a job with a stream of its own told after `cursor`, and the new cursor.

        The cursor names the cell, once one is found that knows the job.
        """
        check_name("job id", job_id)
        cell, _, entry = cursor.partition("/")
        if cursor and cell not in self._clients:
            raise InvalidInput("cursor", cursor, "one that was returned for these cells")
        if not cell:
            known, _ = self._known(job_id)
            cell = max(known, key=lambda name: known[name].accepted, default="")

        def told(cell: str, ms: int) -> list[tuple[str, list[Notice]]]:
            at, notices = self._ask(cell, lambda c: c.follow(job_id, entry, ms), ms)
            return [(f"{cell}/{at}", notices)] if notices else []

        found = told(cell, block_ms) if cell else self._first(block_ms, told)
        return found[0] if found else (cursor, [])

    def records(self, job_ids: Sequence[str]) -> list[Record | None]:
        """Return the records of jobs; None where no cell has one (any more).

        Raises Unreachable when one was found nowhere and a cell did not answer: it may be there.
        """
        found, silent = self._newest(job_ids)
        if silent and None in found:
            raise silent[0]
        return found

    def stream(self, job: Job, body: bytes = b"", *, timeout_s: float = WAIT_S) -> Stream:
        """Submit a job to its tenant's home; return its answer as it is made."""
        return Stream(
            self, replace(job, stream=True), body, timeout_s, self._clock, self._random
        )  # fmt: skip

    def answers(self, job_ids: Sequence[str]) -> list[bytes | None]:
        """Return the answers of jobs that were to keep them; None where there is none (any more).

        Raises Unreachable when one was found nowhere and a cell did not answer: it may be there.
        """
        copies, silent = self._copies(job_ids)
        homes: dict[str, list[int]] = {}
        for place in range(len(job_ids)):
            known = {cell: found[place] for cell, found in copies.items()}
            ages = {cell: record.accepted for cell, record in known.items() if record is not None}
            if ages:
                homes.setdefault(max(ages, key=lambda cell: ages[cell]), []).append(place)
        answers: list[bytes | None] = [None] * len(job_ids)
        for cell, places in homes.items():
            own = [job_ids[place] for place in places]
            found_here = self._ask(cell, methodcaller("answers", own))
            for place, answer in zip(places, found_here, strict=True):
                answers[place] = answer
        if silent and sum(map(len, homes.values())) < len(job_ids):
            raise silent[0]
        return answers

    def cancel(self, job_id: str) -> Cancelled:
        """Cancel a job; return ok, late (it had ended before) or unknown.

        If its tenant has moved and used the id again, both jobs are cancelled. Raises Unreachable
        when it was found nowhere and a cell did not answer.
        """
        known, silent = self._known(job_id)
        if not known:
            if silent:
                raise silent[0]
            return Cancelled.UNKNOWN
        tenant = max(known.values(), key=lambda record: record.accepted).tenant
        words = {
            self._ask(cell, lambda c: c.cancel(job_id))
            for cell, record in known.items()
            if record.tenant == tenant  # ids are a tenant's own: another's job is another job
        }
        return next(word for word in Cancelled if word in words)

    def counts(self) -> dict[str, int]:
        """Return the totals of all cells together. Raises Unreachable if one does not answer."""
        totals: dict[str, int] = {}
        for cell in self._clients:
            for word, count in self._ask(cell, lambda c: c.counts()).items():
                totals[word] = totals.get(word, 0) + count
        return totals

    def set_weights(self, weights: Mapping[str, float]) -> None:
        """Say how many shares tenants are due, each in its home.

        Raises Unreachable if a home does not answer, after the others were told; safe to repeat.
        """
        homes: dict[str, dict[str, float]] = {}
        for tenant, weight in weights.items():
            check_name("tenant", tenant)
            homes.setdefault(self.home(tenant), {})[tenant] = weight
        silent: list[Unreachable] = []
        for cell, own in homes.items():
            try:
                self._ask(cell, methodcaller("set_weights", own))
            except Unreachable as error:
                silent.append(error)
        if silent:
            raise silent[0]

    def ping(self) -> None:
        """Return when each cell was asked and one has answered; else raise Unreachable."""
        silent: list[Unreachable] = []
        for cell in self._clients:
            try:
                self._ask(cell, lambda c: c.ping())
            except Unreachable as error:
                silent.append(error)
        if len(silent) == len(self._clients):
            raise silent[0]

    def close(self) -> None:
        """Drop the inboxes and all connections."""
        for client in self._clients.values():
            client.close()

    # -- asking ---------------------------------------------------------------------------------

    def _ask(self, cell: str, question: Callable[[Client], R], block_ms: int = 0) -> R:
        """Ask one cell; raises Unreachable at once while it is left alone."""
        start = self._clock.monotonic()
        if start < self._rests.get(cell, start):
            raise Unreachable(f"cell {cell}: Redis did not answer a moment ago")
        try:
            answer = question(self._clients[cell])
        except Unreachable as error:
            now = self._clock.monotonic()
            lost = now - start - block_ms / 1000  # the intended wait was no loss
            self._rests[cell] = now + min(MOST_REST_S, max(LEAST_REST_S, REST * lost))
            raise Unreachable(f"cell {cell}: {error}") from error
        self._rests.pop(cell, None)
        return answer

    def _first(self, block_ms: int, ask: Callable[[str, int], list[T]]) -> list[T]:
        """Ask every cell at once for its messages, then each in turn for a slice of the wait."""
        deadline = self._clock.monotonic() + block_ms / 1000
        found: list[T] = []
        silent: list[Unreachable] = []
        for cell in self._clients:
            try:
                found += ask(cell, 0)
            except Unreachable as error:
                silent.append(error)
        if len(silent) == len(self._clients):
            raise silent[0]
        while not found and (left_s := deadline - self._clock.monotonic()) > 0:
            awake = [cell for cell in self._clients if cell not in self._rests]
            if not awake:
                break
            self._turn += 1
            try:
                found = ask(awake[self._turn % len(awake)], min(SLICE_MS, ceil(left_s * 1000)))
            except Unreachable:
                continue
        return found

    def _copies(
        self, job_ids: Sequence[str]
    ) -> tuple[dict[str, list[Record | None]], list[Unreachable]]:
        """Return what each cell knows of jobs, and why others said nothing."""
        for job_id in job_ids:
            check_name("job id", job_id)
        copies: dict[str, list[Record | None]] = {}
        silent: list[Unreachable] = []
        for cell in self._clients:
            try:
                copies[cell] = self._ask(cell, lambda c: c.records(job_ids))
            except Unreachable as error:
                silent.append(error)
        return copies, silent

    def _known(self, job_id: str) -> tuple[dict[str, Record], list[Unreachable]]:
        """Return a job's record in each cell that has one."""
        copies, silent = self._copies([job_id])
        return {cell: found for cell, (found,) in copies.items() if found is not None}, silent

    def _newest(self, job_ids: Sequence[str]) -> tuple[list[Record | None], list[Unreachable]]:
        copies, silent = self._copies(job_ids)
        newest: list[Record | None] = []
        for found in zip(*copies.values(), strict=True):
            records = [record for record in found if record is not None]
            newest.append(max(records, key=lambda r: r.accepted, default=None))
        return newest or [None] * len(job_ids), silent
