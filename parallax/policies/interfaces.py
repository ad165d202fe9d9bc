"""Every decision Parallax takes, as one protocol each: the whole surface of extension.

    submit -> [admission] -> tenant queues -> [fairness: which tenant] -> [ordering: which job]
           -> [gate: is there a slot?] -> [routing: which worker] -> worker stream
           -> [batching in the engine] -> [rescuers: hedging, stealing]
    slow loops: [scaling], [rollout]

Rules that hold for all of them, and that `tests/conformance` checks for every registered policy:
1. A policy is a dataclass; its fields are its parameters. It is built by `registry.build`.
2. It never waits, reads a clock, does I/O or rolls its own dice: `now` is an argument and a
   `Random` comes through `seed`, once, before the first decision.
3. It never changes its arguments and never sees a true output length.
4. Whatever it keeps per tenant or per worker it can forget; its memory is bounded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from random import Random
from typing import Any, ClassVar, Protocol, runtime_checkable

from parallax.core.model import (
    BatchView,
    ClusterView,
    JobView,
    LoadView,
    QueueView,
    Rejection,
    Usage,
    WorkerView,
)


@runtime_checkable
class Seeded(Protocol):
    """A policy that draws random numbers; it is given its own stream of them."""

    def seed(self, random: Random) -> None:
        """Use this source from now on."""


class AdmissionPolicy(Protocol):
    """May this job join its tenant's queue?"""

    def admit(
        self, job: JobView, estimate: float, queue: QueueView, now: float
    ) -> Rejection | None:
        """Return None to let the job in, or the reason to refuse it. `estimate` is its cost."""


@runtime_checkable
class AdmissionObserver(Protocol):
    """An admission policy that also looks at what happens behind the door."""

    def dispatching(self, job: JobView, waited_s: float, now: float) -> Rejection | None:
        """A job that waited so long is about to be dispatched; return a reason to shed it."""

    def settled(self, tenant: str, difference: float) -> None:
        """A job of this tenant cost that much more (or less) than the estimate."""


class FairnessPolicy(Protocol):
    """Which tenant is served next? Accounts are in cost units per unit of weight.

    A tenant's queue has a lane for each model that its jobs ask for, and one account for all.
    """

    def joined(self, job: JobView) -> None:
        """A job joined the queue of its tenant, in the lane of its model."""

    def left_lane(self, tenant: str, model: str) -> None:
        """The lane of this model became empty; others of the tenant are not."""

    def left(self, tenant: str) -> None:
        """The queue of this tenant became empty."""

    def pick(self, models: Collection[str] | None = None) -> str | None:
        """Return the tenant to serve next among those with queued jobs; None if there is none.

        With `models` only those count that have a job in one of these lanes: the workers of the
        others are full. A job that is passed over stays where it is.
        """

    def charge(self, tenant: str, cost: float) -> None:
        """A job of this tenant, estimated at `cost`, was dispatched."""

    def settle(
        self, tenant: str, estimate: float, consumed: float, weight: float | None = None
    ) -> None:
        """Settle an ended attempt: add the difference between its consumption and its `estimate`.

        `weight` is what the tenant had when it was charged, None what it has now: an estimate is
        taken back at the share at which it was charged, though the weight was changed meanwhile.
        """

    def weigh(self, tenant: str, weight: float) -> None:
        """From now on this tenant is due `weight` shares (> 0)."""

    def accounts(self, tenants: Iterable[str]) -> dict[str, float]:
        """Return what must be remembered of these tenants, and of the system under the key ''.

        An account at or below that of the system says nothing: it may be forgotten.
        """

    def restore(self, accounts: Mapping[str, float]) -> None:
        """Go on where `accounts` stopped (a new leader).

        Without the key '' these are more accounts of the same time, of tenants that have not acted
        since.
        """


class OrderingPolicy(Protocol):
    """Which job of the tenant comes next?"""

    def key(self, job: JobView, estimate: float, service_s: float) -> float:
        """Return the job's place: the smallest key is served first. It may not depend on time.

        `estimate` is the predicted cost, `service_s` the predicted seconds of service on an idle
        worker (0 until the pace of the fleet is known).
        """

    def hopeless(self, job: JobView, service_s: float, now: float) -> bool:
        """Whether to drop the job instead of serving it: it cannot meet its deadline any more."""


class DispatchGate(Protocol):
    """How many more jobs may be sent to a worker now? (Late binding: what is sent is final.)"""

    def free(self, worker: WorkerView) -> int:
        """Return how many jobs may be sent to this worker now; 0 keeps them in the queue."""


class RoutingPolicy(Protocol):
    """Which worker?"""

    def route(
        self, jobs: Sequence[JobView], estimates: Sequence[float], cluster: ClusterView
    ) -> list[str | None]:
        """Return a worker id for each job of the batch, or None to leave it queued.

        A worker may be named at most `free` times. Jobs come in the order in which fairness and
        ordering chose them.
        """


@runtime_checkable
class PlacementObserver(Protocol):
    """A routing policy that keeps an account of the prefixes cached by each worker."""

    def ended(self, job: JobView, worker: str, usage: Usage) -> None:
        """An attempt ended on this worker; its prompt and answer were in the worker's cache."""

    def lost(self, worker: str) -> None:
        """The worker is gone, and so is whatever it had cached."""

    def cached_tokens(self, job: JobView, worker: str) -> int:
        """Return how many of the job's prompt tokens this worker is thought to hold."""


@runtime_checkable
class PhaseSplitting(Protocol):
    """A routing policy that may send a new job to a worker of role "prefill".

    Such a job comes back with `prefilled_by` set, to be placed once more. Other policies are never
    shown workers that only prefill.
    """

    splits_phases: ClassVar[bool]


class OutputPredictor(Protocol):
    """How long will the answer be?"""

    def predict(self, job: JobView) -> float:
        """Return the expected number of output tokens, between 1 and `max_tokens`."""

    def learn(self, job: JobView, output_tokens: int) -> None:
        """A job of this shape produced that many tokens."""


class BatchingPolicy(Protocol):
    """When does a worker start what waits before its engine?"""

    def take(self, view: BatchView) -> int:
        """Return how many waiting jobs may join the batch at this step (0 holds them)."""

    def wake_s(self, view: BatchView) -> float | None:
        """Return in how many seconds to ask again although nothing changed; None for never."""


class HedgingPolicy(Protocol):
    """When is a second attempt worth its cost?"""

    def arm(self, job: JobView, predicted_s: float) -> float | None:
        """A first attempt was dispatched: return after how many seconds to ask `allow`, or None."""

    def allow(self, saturation: float) -> bool:
        """Whether a second attempt may start now; True spends budget.

        `saturation` is the share of the fleet's slots in use (1 = all of them).
        """

    def cancels_at_start(self) -> bool:
        """Whether the slower attempt is cancelled at the other's first token, not at its end."""

    def observe(self, predicted_s: float, measured_s: float) -> None:
        """An attempt predicted at `predicted_s` took `measured_s` (a lower bound if cancelled)."""


class StealingPolicy(Protocol):
    """From whom does an idle worker take, and how much?"""

    def choose(
        self, thief: WorkerView, siblings: Sequence[WorkerView], now: float
    ) -> tuple[str, int] | None:
        """Return the victim's id and how many undelivered jobs to take; None to take nothing.

        A sibling's undelivered jobs are `in_flight - slots`, where that is positive.
        """

    def worth(self, wait_s: float, cached_there: int, cached_here: int) -> bool:
        """Whether to take this job: its wait at the victim against the cache hits it gives up."""


class RolloutPolicy(Protocol):
    """Which of two versions serves this job, and is the new one good?"""

    def arm(self, job: JobView) -> str:
        """Return "canary" or "stable", the same for every job of a session."""

    def observe(self, arm: str, missed_slo: bool) -> None:
        """A logical job of this arm ended."""

    def verdict(self) -> str:
        """Return "undecided", "promote" or "rollback"."""


class ScalingPolicy(Protocol):
    """How many workers are needed?"""

    def desired(self, load: LoadView, now: float) -> int:
        """Return the number of workers wanted now; called at regular intervals."""


@runtime_checkable
class Explaining(Protocol):
    """A routing policy that can say how it compares workers."""

    def scores(self, job: JobView, estimate: float, cluster: ClusterView) -> dict[str, float]:
        """Return a score for each worker with a free slot; the least is chosen. Changes nothing."""


@runtime_checkable
class Remembering(Protocol):
    """A policy that learns and can go on where a former leader stopped."""

    def remember(self) -> dict[str, Any]:
        """Return the learnt estimates, as numbers, text, lists and dicts, of bounded size."""

    def recall(self, memory: Mapping[str, Any]) -> None:
        """Go on from what `remember` returned.

        May raise KeyError, TypeError or ValueError for junk.
        """
