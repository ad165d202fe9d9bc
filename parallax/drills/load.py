"""The load of a drill: jobs of several tenants, some with deadlines, some twice, some cancelled."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from random import Random

from parallax.core.clock import Clock
from parallax.core.errors import ParallaxError
from parallax.core.model import Job
from parallax.producers.client import Client

TENANTS = ("t0", "t1", "t2")
BATCH = 20


@dataclass(slots=True)
class Load:
    """Submits at a steady rate, whatever goes wrong, and notes what it was told of each job."""

    client: Client
    clock: Clock
    random: Random
    rate: float  # jobs per second
    seed: int
    accepted: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)  # the store did not say
    told: Counter[str] = field(default_factory=Counter)  # ends heard of, by job
    tenants: dict[str, str] = field(default_factory=dict)
    _made: int = 0
    _due: float = 0.0

    def run(self, over: threading.Event) -> None:
        """Submit what is due and listen to what has ended, until it is over."""
        while not over.is_set():
            self.step()

    def step(self) -> None:
        """Submit what is due; listen. Never raises for what the store does."""
        now = self.clock.monotonic()
        if now >= self._due:
            self._due = max(self._due + BATCH / self.rate, now - 1.0)
            self._submit()
            self._cancel()
        self.listen()

    def _submit(self) -> None:
        jobs = [self._job() for _ in range(BATCH)]
        if self.random.random() < 0.1:
            jobs.append(jobs[0])  # the same job once more
        self.tenants |= {job.id: job.tenant for job in jobs}
        try:
            receipts = self.client.submit(jobs)
        except ParallaxError:
            self.unknown |= {job.id for job in jobs}
            return
        for receipt in receipts:
            (self.accepted if receipt.accepted else self.refused).add(receipt.job_id)

    def _job(self) -> Job:
        self._made += 1
        random = self.random
        prompt = random.choice((20, 100, 100, 600))
        return Job(
            f"d{self.seed}-{self._made}", random.choice(TENANTS), prompt, 60,
            f"s{random.randrange(20)}" if random.random() < 0.3 else "",
            random.randint(1, 60), random.choice((None, None, None, 0.3, 20.0)),
        )  # fmt: skip

    def _cancel(self) -> None:
        if not self.accepted or self.random.random() > 0.3:
            return
        name = f"d{self.seed}-{max(1, self._made - self.random.randrange(100))}"
        try:
            self.client.cancel(name)
        except ParallaxError:
            return

    def listen(self) -> None:
        """Hear which jobs have ended."""
        try:
            self.told.update(completion.job_id for completion in self.client.news(20))
        except ParallaxError:
            self.clock.wait(0.02)
