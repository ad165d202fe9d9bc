"""Routing by one policy, or by two side by side while a canary runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from parallax.core.model import ClusterView, JobView, Slo, Usage, WorkerView
from parallax.policies.interfaces import (
    PhaseSplitting,
    PlacementObserver,
    RolloutPolicy,
    RoutingPolicy,
)
from parallax.scheduling.queues import Queued
from parallax.scheduling.watching import Watcher

STABLE, CANARY = "stable", "canary"


@dataclass(slots=True)
class Versions:
    """The routing policy in charge, and the candidate if there is one.

    `ended` is what ended the rollout: "promote", "rollback", or "" while it runs.
    """

    stable: RoutingPolicy
    candidate: RoutingPolicy | None = None
    rollout: RolloutPolicy | None = None
    slo: Slo = field(default_factory=Slo)
    ended: str = ""
    watcher: Watcher | None = None
    split: bool = field(init=False)  # jobs are dealt to two arms
    splits_phases: bool = field(init=False)  # new jobs may be sent to workers that only prefill
    _observers: dict[str, PlacementObserver] = field(init=False)

    def __post_init__(self) -> None:
        # Asking whether an object has a protocol's methods is slow: it is asked once.
        arms = {STABLE: self.stable}
        if self.candidate is not None:
            arms[CANARY] = self.candidate
        self.split = self.rollout is not None and self.candidate is not None
        self.splits_phases = all(isinstance(policy, PhaseSplitting) for policy in arms.values())
        self._observers = {a: p for a, p in arms.items() if isinstance(p, PlacementObserver)}

    def arm(self, job: JobView) -> str:
        """Return which version serves this job; "" when there is only one."""
        if self.rollout is None or not self.split:
            return ""
        if self.ended:
            return CANARY if self.ended == "promote" else STABLE
        return self.rollout.arm(job)

    def policy(self, arm: str) -> RoutingPolicy:
        """Return the policy of that arm."""
        return self.candidate if arm == CANARY and self.candidate is not None else self.stable

    def by_arm(self, chosen: Sequence[Queued]) -> Iterable[tuple[str, Sequence[Queued]]]:
        """Deal jobs to the arms that serve them."""
        if not self.split:
            return (("", chosen),) if chosen else ()
        dealt: dict[str, list[Queued]] = {}
        for queued in chosen:
            dealt.setdefault(self.arm(queued.job), []).append(queued)
        return dealt.items()

    def place(
        self, arm: str, some: Sequence[Queued], workers: tuple[WorkerView, ...], now: float
    ) -> list[str | None]:
        """Let the policy of that arm place a batch of jobs."""
        policy, cluster = self.policy(arm), ClusterView(workers, now)
        jobs, estimates = [q.job for q in some], [q.estimate for q in some]
        if self.watcher is None:
            return policy.route(jobs, estimates, cluster)
        self.watcher.asked(policy, jobs, estimates, cluster)
        routes = policy.route(jobs, estimates, cluster)
        self.watcher.told(routes)
        return routes

    def judge(self, arm: str, job: JobView, usage: Usage | None, waited_s: float) -> None:
        """A logical job of this arm ended; without `usage` it failed."""
        if not arm or self.rollout is None or self.ended:
            return
        met = usage is not None and self.slo.met(
            waited_s + (usage.prefill_s or 0.0),
            _per_token_s(usage),
        )
        self.rollout.observe(arm, not met)
        verdict = self.rollout.verdict()
        if verdict != "undecided":
            self.ended = verdict

    def attempt_ended(self, job: JobView, worker: str, usage: Usage) -> None:
        """Tell the policies that keep an account of cached prefixes."""
        for observer in self._observers.values():
            observer.ended(job, worker, usage)

    def worker_lost(self, worker: str) -> None:
        """Tell the policies that keep an account of cached prefixes."""
        for observer in self._observers.values():
            observer.lost(worker)

    def cached_tokens(self, job: JobView, worker: str, arm: str) -> int:
        """Return how much of its prompt the job is thought to find there; 0 if nobody knows."""
        observer = self._observers.get(arm or STABLE)
        return observer.cached_tokens(job, worker) if observer is not None else 0


def _per_token_s(usage: Usage) -> float:
    if usage.output_tokens <= 1 or usage.prefill_s is None:
        return 0.0
    return (usage.service_s - usage.prefill_s) / (usage.output_tokens - 1)
