"""The load of a drill: jobs as its shape wants them, some twice, some cancelled at any stage."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import exp, log
from random import Random

from parallax.broker.store.intake import Unasked
from parallax.core.clock import Clock
from parallax.core.errors import ParallaxError
from parallax.core.model import Job
from parallax.drills.bodies import Bodies
from parallax.drills.hearing import Hearing
from parallax.drills.shape import Shape
from parallax.producers.client.client import Client

BATCH = 20
#: Jobs in one submission of the burst at the start: one job of each tenant.
BURST = 500
#: No more is offered while so many jobs are open, beyond one of each tenant: a machine that is too
#: slow for the rate is not asked to drain in a minute what it could not do in another.
MOST_OPEN = 2_000
_BLOCK = 1  # tokens of a block: prefixes are long in the store, and not for the engine
_FAMILIES = 8
#: The receipt's answer when it is unknown whether its job was accepted.
_UNKNOWN = frozenset({Unasked.UNKNOWN, Unasked.FAULT})


@dataclass(slots=True)
class Load:
    """Submits at a steady rate, whatever goes wrong, and notes the answers for each job."""

    client: Client
    clock: Clock
    random: Random
    rate: float  # jobs per second
    seed: int
    shape: Shape = field(default_factory=Shape)
    accepted: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)  # the store did not say
    heard: Hearing = field(default_factory=Hearing)
    streams: set[str] = field(default_factory=set)  # jobs whose answers come in pieces
    kept: set[str] = field(default_factory=set)  # jobs whose answers are kept
    tenants: dict[str, str] = field(default_factory=dict)
    weights: int = 0  # changes made
    bodies: Bodies = field(default_factory=Bodies)
    _made: int = 0
    _due: float = 0.0
    _weigh_at: float = 0.0
    _recent: deque[str] = field(default_factory=lambda: deque(maxlen=400))
    _families: list[tuple[int, ...]] = field(default_factory=list)

    def run(self, over: threading.Event) -> None:
        """Submit due jobs and listen for ends, until the drill is over."""
        self._burst(over)
        while not over.is_set():
            self.step()

    def step(self) -> None:
        """Submit due jobs; listen. Never raises for faults of the store."""
        now = self.clock.monotonic()
        if now >= self._due and self._bearable():
            batch = max(1, min(BATCH, round(self.rate)))
            self._due = max(self._due + batch / self.rate, now - 1.0)
            self._submit([self._job(self._tenant()) for _ in range(batch)])
            self._cancel(batch)
        if self.shape.weights and now >= self._weigh_at:
            self._weigh_at = now + 60.0 / self.shape.weights
            self._weigh()
        self.listen()

    def _bearable(self) -> bool:
        return len(self.accepted) - len(self.told) < MOST_OPEN + self.shape.tenants

    def submit(self, jobs: Sequence[Job]) -> None:
        """Offer jobs and note the answer for each."""
        self.tenants |= {job.id: job.tenant for job in jobs}
        bodies = {job.id: body for job in jobs if (body := self.bodies.of(job.id))}
        try:
            receipts = self.client.submit(jobs, bodies=bodies)
        except ParallaxError:
            self.unknown |= {job.id for job in jobs}
            return
        for receipt in receipts:
            said = self.unknown if receipt.word in _UNKNOWN else self.refused
            (self.accepted if receipt.accepted else said).add(receipt.job_id)

    def listen(self) -> None:
        """Hear the ends of jobs and their answers."""
        try:
            self.heard.hear(self.client.notices(20), self.tenants)
        except ParallaxError:
            self.clock.wait(0.02)

    @property
    def told(self) -> Counter[str]:
        """Ends that were heard of, by job."""
        return self.heard.told

    def recent(self) -> list[str]:
        """Return the ids of the jobs that were submitted last."""
        return list(self._recent)

    def _burst(self, over: threading.Event) -> None:
        """Let all tenants become active at once, if they are many."""
        if self.shape.tenants <= BATCH:
            return
        for start in range(0, self.shape.tenants, BURST):
            if over.is_set():
                return
            names = range(start, min(start + BURST, self.shape.tenants))
            self._submit([self._job(f"t{n}") for n in names], again=False)

    def _submit(self, jobs: list[Job], *, again: bool = True) -> None:
        if again and self.random.random() < 0.1:
            jobs.append(jobs[0])  # the same job once more
        for job in jobs:
            self._recent.append(job.id)
        self.submit(jobs)

    def _tenant(self) -> str:
        """Half of the jobs are of the first three tenants, half of anybody."""
        few = self.random.random() < 0.5
        return (
            f"t{self.random.randrange(min(3, self.shape.tenants) if few else self.shape.tenants)}"
        )

    def _job(self, tenant: str) -> Job:
        self._made += 1
        random = self.random
        prompt = random.choice((20, 100, 100, 600))
        prefix = self._prefix()
        name = f"d{self.seed}-{self._made}"
        body = self.bodies.make(name, random, self.shape.body_bytes, self.shape.chats)
        stream, keep = body and random.random() < 0.5, body and random.random() < 0.2
        self.streams |= {name} if stream else set()
        self.kept |= {name} if keep else set()
        return Job(
            name, tenant, max(prompt, len(prefix) * _BLOCK), 60,
            f"s{random.randrange(20)}" if random.random() < 0.3 else "",
            random.randint(1, 60), self._deadline(), prefix=prefix, prefix_block=_BLOCK,
            stream=stream, keep=keep,
        )  # fmt: skip

    def _deadline(self) -> float | None:
        """Near ones may pass while the job waits or runs; far ones are hours or days away."""
        draw, shape = self.random.random(), self.shape
        if draw < shape.near:
            return self.random.choice((0.05, 0.3, 2.0, 20.0))
        if draw < shape.near + shape.far:
            return self.random.choice((3600.0, 7 * 86_400.0))
        return None

    def _prefix(self) -> tuple[int, ...]:
        """Of any length, with one of a few beginnings."""
        if not self.shape.prefix or self.random.random() > 0.3:
            return ()
        while len(self._families) < _FAMILIES:
            source = Random(f"{self.seed}/prefix/{len(self._families)}")
            self._families.append(tuple(source.getrandbits(62) for _ in range(self.shape.prefix)))
        length = round(exp(self.random.uniform(0.0, log(self.shape.prefix))))
        return self.random.choice(self._families)[:length]

    def _cancel(self, submitted: int) -> None:
        """Cancel at every stage: just submitted, assigned or running, ended, or never heard of."""
        count = sum(self.random.random() < self.shape.cancels for _ in range(submitted))
        for _ in range(count if self._recent else 0):
            stage = self.random.random()
            if stage < 0.4:
                name = self._recent[-self.random.randint(1, min(20, len(self._recent)))]
            elif stage < 0.95:
                name = self.random.choice(self._recent)
            else:
                name = f"d{self.seed}-never-{self.random.randrange(100)}"
            self.cancel(name)

    def cancel(self, name: str) -> None:
        """Cancel a job; whether it worked is what its record says."""
        try:
            self.client.cancel(name)
        except ParallaxError:
            return

    def _weigh(self) -> None:
        weight = round(exp(self.random.uniform(log(0.02), log(50.0))), 4)
        try:
            self.client.set_weights({self._tenant(): weight})
        except ParallaxError:
            return
        self.weights += 1
