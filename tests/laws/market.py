"""Two tenants that never run dry, one of whom does whatever might get it more than its share.

The virtual world, with engines that count for themselves what every step computes and for whom: a
meter that believes nothing of what is reported when an attempt is stopped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Any, ClassVar

import pytest

from parallax.core.lifecycle import Outcome
from parallax.core.model import Job, Usage
from parallax.core.settings import Policies, PolicyChoice
from parallax.engine.batch import BatchEngine
from parallax.engine.request import Change
from parallax.engine.sequence import Row, Seq
from parallax.scheduling.actions import Cancel
from parallax.scheduling.events import AttemptEnded, Event, JobWithdrawn, TenantConfigured
from parallax.scheduling.scheduler import build_scheduler
from parallax.sim.control import Faults
from parallax.sim.outcome import JobOutcome
from parallax.sim.spec import FaultSpec, FleetSpec, RunSpec, WorkloadSpec
from parallax.sim.timed import Timed
from parallax.sim.workers import Attempt, SimWorker
from parallax.sim.world import World

LIVE = 8  # jobs of each tenant at any time
PROMPT, OUTPUT = 1_500, 40
COST = PROMPT + 2 * OUTPUT
FLEET = FleetSpec(workers=2, max_seqs=2, token_budget=512, exact=True)
#: No admission limit stands in the way of those who ask for much.
OPEN = Policies(admission=PolicyChoice("unlimited"))


class Metered(BatchEngine):
    """Counts the cost of what every step computes, by the tenant for whom."""

    computed: ClassVar[Counter[str]] = Counter()

    def _take(self, row: Row, changes: list[Change]) -> None:
        for seq, tokens in row.chunks:
            self._count(seq, tokens + 2 * (seq.computed + tokens >= seq.target))
        for seq in self._running.values():
            if seq.start >= 0:
                self._count(seq, 2 * row.steps)
        super()._take(row, changes)

    def _count(self, seq: Seq, cost: int) -> None:
        self.computed[seq.request.id.partition("-")[0]] += cost


@dataclass
class Trick:
    """What the cheat does: how its jobs are made, and when it stops one that runs."""

    job: Callable[[Job, Random], Job] = lambda job, _: job
    stops: Callable[[Market, SimWorker, Attempt, Seq], bool] = lambda *_: False
    fails: bool = False  # it lets them fail instead, and they are tried again
    withdraws: float = 0.0  # the chance, each look, that it takes a job back that waits
    hands: bool = False  # it takes back what waits between two workers


class Market(World):
    """See the module's docstring."""

    forgiving = False  # the control: what did not finish is not charged

    def __init__(self, spec: RunSpec, trick: Trick, jobs: int) -> None:
        super().__init__(spec, build_scheduler(spec.policies, spec.seed), self._next_job)
        self.trick, self.left, self.random = trick, jobs, Random(spec.seed)
        self.seen: list[tuple[int, int]] = []
        self.stops = 0
        self.made: Counter[str] = Counter()

    def run(self, weights: dict[str, float]) -> None:
        """Serve both until enough jobs have been asked for."""
        self._events += [TenantConfigured(name, weight) for name, weight in weights.items()]
        self.at(10.0, self._look)
        self.play([(0.0, self._job(name)) for _ in range(LIVE) for name in ("honest", "cheat")])

    def _job(self, tenant: str) -> Job:
        self.made[tenant] += 1
        job = Job(f"{tenant}-{self.made[tenant]}", tenant, PROMPT, OUTPUT, output_tokens=OUTPUT)
        return self.trick.job(job, self.random) if tenant == "cheat" else job

    def _next_job(self, outcome: JobOutcome) -> Iterator[Timed]:
        self.left -= 1
        if self.left > 0:
            yield self.now_ms / 1000 + 1e-6, self._job(outcome.id.partition("-")[0])

    # -- what the cheat does ----------------------------------------------------------------------

    def _look(self, _: None) -> None:
        if self.left > 0:
            self.seen.append((Metered.computed["honest"], Metered.computed["cheat"]))
            self.at(self.now_ms + 10.0, self._look)
        for worker in list(self.workers.values()):
            if worker.alive:
                self.catch_up(worker)
                self._look_at(worker)
        self._take_back()

    def _look_at(self, worker: SimWorker) -> None:
        for attempt in list(worker.attempts.values()):
            seq = worker.engine._running.get(attempt.job.id)
            mine = attempt.job.id.startswith("cheat")
            if mine and seq is not None and self.trick.stops(self, worker, attempt, seq):
                self.stops += 1
                (self._fail if self.trick.fails else self.withdraw)(worker, attempt)

    def _take_back(self) -> None:
        if self.trick.hands:
            for name in list(self.scheduler._handovers.waiting):
                if name.startswith("cheat") and self.random.random() < 0.5:
                    self.stops += 1
                    self._gone(name)
        if self.trick.withdraws:
            for name in list(self.scheduler._line.queues.tenant_of):
                if name.startswith("cheat") and self.random.random() < self.trick.withdraws:
                    self._gone(name)

    def withdraw(self, worker: SimWorker, attempt: Attempt) -> None:
        """The client takes a job back that runs, all attempts of it."""
        name = attempt.job.id
        for other in list(self.workers.values()):
            held = other.attempts.get(name)
            if held is not None:
                self.carrier.cancel(Cancel(name, other.id, held.number))
        if name in self.jobs:
            self.end(self.books.outcomes[name], Outcome.CANCELLED)

    def _gone(self, name: str) -> None:
        self._events.append(JobWithdrawn(name))
        self.end(self.books.outcomes[name], Outcome.CANCELLED)

    def _fail(self, worker: SimWorker, attempt: Attempt) -> None:
        self.carrier.cancel(Cancel(attempt.job.id, worker.id, attempt.number))
        self._again(attempt)

    def hear(self, event: Event) -> None:
        """Let the scheduler hear of it; the control charges nothing for what did not finish."""
        if self.forgiving and isinstance(event, AttemptEnded) and event.outcome is None:
            event = replace(event, usage=Usage(0, 0))
        super().hear(event)


@dataclass
class Shares:
    """What was computed for each, as it grew: (honest, cheat), at equal intervals."""

    seen: list[tuple[int, int]]
    stops: int
    weights: dict[str, float]

    def worst(self, jobs: int = 250) -> float:
        """The largest error of the cheat's share, over all windows in which so many jobs fit.

        0.05: per weight it had 5 % more, or less, than the other. The first windows, in which
        nobody knows yet what is usual, count too.
        """
        worst, start = 0.0, 0
        for honest, cheat in self.seen:
            h0, c0 = self.seen[start]
            while honest + cheat - h0 - c0 >= jobs * COST:
                worst = max(worst, abs(self._lead(honest - h0, cheat - c0)))
                start += 1
                h0, c0 = self.seen[start]
        assert start > 0, "no window is as long as that"
        return worst

    def ahead(self, jobs: int = 250) -> float:
        """The cheat's largest lead since the beginning, at any time after so many jobs."""
        late = [(h, c) for h, c in self.seen if h + c >= jobs * COST]
        return max(self._lead(h, c) for h, c in late)

    def _lead(self, honest: int, cheat: int) -> float:
        return cheat / self.weights["cheat"] / max(1.0, honest / self.weights["honest"]) - 1.0


def served(
    trick: Trick,
    monkeypatch: pytest.MonkeyPatch,
    *,
    jobs: int = 900,
    weight: float = 1.0,
    more: dict[str, float] | None = None,
    forgiving: bool = False,
    policies: Policies = OPEN,
    faults: tuple[FaultSpec, ...] = (),
    **fleet: Any,
) -> Shares:
    """Let a cheat that is due `weight` shares, and an honest tenant, ask for so many jobs.

    `more` are weights of other names that the cheat uses.
    """
    monkeypatch.setattr("parallax.sim.workers.BatchEngine", Metered)
    monkeypatch.setattr(Metered, "computed", Counter())
    monkeypatch.setattr(Market, "forgiving", forgiving)
    spec = RunSpec(WorkloadSpec("x"), replace(FLEET, **fleet), policies, seed=3)
    market = Market(spec, trick, jobs)
    Faults(market, faults)
    weights = {"honest": 1.0, "cheat": weight}
    market.run(weights | (more or {}))
    return Shares(market.seen, market.stops, weights)
