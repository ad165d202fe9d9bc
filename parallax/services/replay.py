"""Doing recorded decisions again, offline: are they the same, and why were they taken?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import inf

from parallax.broker.store.recording import Batch, Beginning, Line, encoded_actions
from parallax.core.errors import InvalidInput
from parallax.core.lifecycle import Outcome
from parallax.core.model import ClusterView, Job, JobView, Slo, WorkerView
from parallax.policies.interfaces import Explaining, PlacementObserver, RoutingPolicy
from parallax.scheduling.actions import Dispatch
from parallax.scheduling.events import AttemptEnded, JobArrived
from parallax.scheduling.scheduler import Scheduler, build_scheduler
from parallax.scheduling.watching import Watcher


@dataclass(frozen=True, slots=True)
class Redone:
    """A batch that was decided again."""

    batch: Batch
    actions: bytes

    @property
    def same(self) -> bool:
        """Whether the same was decided, to the last byte."""
        return self.actions == self.batch.actions


def redo(lines: Iterable[Line], watcher: Watcher | None = None) -> Iterator[Redone]:
    """Decide every batch of a recording again; raises InvalidInput where one is missing."""
    scheduler: Scheduler | None = None
    leader, number = "", 0
    for line in lines:
        if isinstance(line, Beginning):
            scheduler, leader, number = _begun(line), line.leader, 0
            if watcher is not None:
                scheduler.watch(watcher)
            continue
        number += 1
        if scheduler is None or (line.leader, line.number) != (leader, number):
            shown = f"{line.leader} {line.number}"
            raise InvalidInput("batch", shown, f"number {number} of {leader}: batches are missing")
        yield Redone(line, encoded_actions(scheduler.handle(line.events, line.now)))


def _begun(line: Beginning) -> Scheduler:
    slo = Slo(line.slo_ttft_s or inf, line.slo_tpot_s or inf)
    scheduler = build_scheduler(line.policies, line.seed, slo)
    scheduler.memory.recall(line.memory)
    scheduler.restore(dict(line.accounts))
    return scheduler


@dataclass(frozen=True, slots=True)
class Placement:
    """One placement of a job: who there was, what spoke for whom, and who it became.

    `together` is how many jobs the policy placed in the same breath: what the earlier ones of them
    took is not yet in these views. `scores` are the policy's own, the least is best; empty if it
    keeps none. `cached` is how much of the prompt was thought to be there.
    """

    policy: str
    why: str
    workers: Sequence[WorkerView]
    scores: dict[str, float]
    cached: dict[str, int]
    together: int
    chosen: str | None


@dataclass(slots=True)
class Explanation:
    """A watcher that remembers how one job was placed."""

    job_id: str
    placements: list[Placement] = field(default_factory=list)
    _asked: tuple[RoutingPolicy, JobView, float, ClusterView, int, int] | None = None
    _scores: dict[str, float] = field(default_factory=dict)
    _cached: dict[str, int] = field(default_factory=dict)

    def asked(
        self,
        policy: RoutingPolicy,
        jobs: Sequence[JobView],
        estimates: Sequence[float],
        cluster: ClusterView,
    ) -> None:
        """See `Watcher`."""
        self._asked = None
        for place, job in enumerate(jobs):
            if job.id == self.job_id:
                self._asked = (policy, job, estimates[place], cluster, place, len(jobs))
                self._scores = _scores(policy, job, estimates[place], cluster)
                self._cached = _cached(policy, job, cluster)

    def told(self, routes: Sequence[str | None]) -> None:
        """See `Watcher`."""
        if self._asked is None:
            return
        policy, _, _, cluster, place, together = self._asked
        why = (type(policy).__doc__ or "").strip().partition("\n")[0]
        self.placements.append(
            Placement(
                type(policy).__name__, why, cluster.workers, self._scores, self._cached, together,
                routes[place],
            )
        )  # fmt: skip


def _scores(
    policy: RoutingPolicy, job: JobView, estimate: float, cluster: ClusterView
) -> dict[str, float]:
    return policy.scores(job, estimate, cluster) if isinstance(policy, Explaining) else {}


def _cached(policy: RoutingPolicy, job: JobView, cluster: ClusterView) -> dict[str, int]:
    if not isinstance(policy, PlacementObserver):
        return {}
    return {worker.id: policy.cached_tokens(job, worker.id) for worker in cluster.workers}


def dispatched(lines: Iterable[Line]) -> int:
    """Return how many attempts a recording sends."""
    return sum(line.actions.count(f'["{Dispatch.__name__}"'.encode())
               for line in lines if isinstance(line, Batch))  # fmt: skip


def jobs_of(lines: Iterable[Line]) -> list[tuple[float, Job]]:
    """Return the jobs of a recording with the seconds at which they came: for "what if?".

    Those that did not complete in it are left out: nobody knows how long their answers are.
    """
    arrived: dict[str, JobView] = {}
    lengths: dict[str, int] = {}
    for line in lines:
        for event in line.events if isinstance(line, Batch) else ():
            if isinstance(event, JobArrived):
                arrived.setdefault(event.job.id, event.job)
            elif (
                isinstance(event, AttemptEnded)
                and event.usage
                and (event.outcome is Outcome.COMPLETED)
            ):
                lengths[event.job_id] = event.usage.output_tokens
    known = sorted((job for job in arrived.values() if job.id in lengths), key=lambda j: j.arrival)
    first = known[0].arrival if known else 0.0
    return [(job.arrival - first, _job(job, lengths[job.id])) for job in known]


def _job(job: JobView, length: int) -> Job:
    deadline = None if job.deadline == inf else max(0.001, job.deadline - job.arrival)
    return Job(
        job.id, job.tenant, job.prompt_tokens, job.max_tokens, job.session,
        max(1, min(length, job.max_tokens)), deadline, job.priority, prefix=job.prefix,
        prefix_block=job.prefix_block, model=job.model,
    )  # fmt: skip
