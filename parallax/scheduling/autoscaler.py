"""The autoscaler: the load in, workers to start and to drain out.

It never waits, talks to nobody and never asks the time, as the scheduler. The simulator feeds it
from a virtual world, the service from Redis. A scaling policy says how many workers are wanted;
what holds for all of them is here:

1. *Bounds.* Never fewer than `fewest` nor more than `most`, whatever the policy says. Without any
   worker and with work that waits, one is wanted at least.
2. *One direction at a time.* After a change the other direction rests for `cooldown_s`.
3. *Who starts counts.* Workers that were asked for and do not serve yet are not asked for again.
4. *Drained, never killed.* A worker that is to go gets no new work and ends what it has. It is the
   one with the coldest cache: the fewest prompt tokens found in it of late, then the least of its
   memory in use, then the least work. One worker always stays, unless none is wanted.
5. *Every decision says why*, in a word of `REASONS` and in a sentence.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import inf

from parallax.core.errors import InvalidInput
from parallax.core.model import WorkerView, check_int, check_number
from parallax.core.settings import PolicyChoice
from parallax.policies.interfaces import ScalingPolicy
from parallax.policies.registry import SCALING
from parallax.scheduling.load import Load


class Direction(StrEnum):
    """Where the number of workers goes."""

    UP = "up"
    DOWN = "down"
    NONE = "none"


class Why(StrEnum):
    """The rule that decided."""

    LOAD = "load"  # the policy wants so many
    BOUNDS = "bounds"  # the policy wants others, but so many are allowed
    WAKE = "wake"  # there is work and no worker
    COOLDOWN = "cooldown"  # the direction changed a short while ago
    UNKNOWN = "unknown"  # what a worker is able to serve is not known yet


@dataclass(frozen=True, slots=True)
class Start:
    """Start so many workers."""

    count: int


@dataclass(frozen=True, slots=True)
class Drain:
    """Give this worker no new work, and let it go when it has ended what it has."""

    worker: str


Scaling = Start | Drain


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many workers there may be, and how long a change rests before one the other way."""

    fewest: int = 1
    most: int = 1_000
    cooldown_s: float = 0.0

    def __post_init__(self) -> None:
        check_int("min", self.fewest, 0, 100_000)
        check_int("max", self.most, 1, 100_000)
        check_number("cooldown", self.cooldown_s, 0.0, 86_400.0)
        if self.fewest > self.most:
            raise InvalidInput("min", self.fewest, f"no more than the most, {self.most}")


@dataclass(frozen=True, slots=True)
class Decision:
    """The last decision and its reason, for the log, the metrics and viewers."""

    at: float
    policy: str
    wanted: int
    serving: int
    starting: int
    draining: int
    direction: Direction
    reason: Why
    load_workers: float  # the offered load, in workers
    backlog_s: float  # what waits, in seconds of all that serve; inf if nobody does

    @property
    def text(self) -> str:
        """The decision in one sentence."""
        there = f"{self.serving} serve"
        there += f", {self.starting} start" if self.starting else ""
        there += f", {self.draining} drain" if self.draining else ""
        known = f"{_WORDS[self.reason].format(policy=self.policy)}"
        if self.reason is not Why.UNKNOWN:
            waits = "" if self.backlog_s == inf else f", {self.backlog_s:.1f} s of work waits"
            known += f"; the load is that of {self.load_workers:.1f} workers{waits}"
        step = {Direction.UP: "up to", Direction.DOWN: "down to", Direction.NONE: "stay at"}
        return f"{step[self.direction]} {self.wanted} workers ({there}): {known}"


_WORDS = {
    Why.LOAD: "{policy} wants so many",
    Why.BOUNDS: "{policy} wants others, and so many are allowed",
    Why.WAKE: "work waits and there is nobody",
    Why.COOLDOWN: "{policy} wants others, and a change the other way was a short while ago",
    Why.UNKNOWN: "what a worker is able to serve is not known yet",
}


class Autoscaler:
    """Decides; see the module's docstring. `decision` says what it did last, and why."""

    def __init__(self, policy: ScalingPolicy, name: str, bounds: Bounds) -> None:
        self._policy, self._name, self._bounds = policy, name, bounds
        self.decision: Decision | None = None
        self._went, self._since = Direction.NONE, -inf

    def handle(self, load: Load, now: float) -> list[Scaling]:
        """Return whom to start and to drain; called at regular intervals. O(n log n)."""
        serving = load.serving
        total = len(serving) + load.starting
        wanted, reason = self._wanted(load, total, now)
        actions: list[Scaling] = []
        direction = Direction.NONE
        if wanted > total:
            direction = Direction.UP
            actions.append(Start(wanted - total))
        elif wanted < total:
            spare = len(serving) - (1 if wanted else 0)
            own = [worker for worker in serving if worker.id not in load.kept]
            leaving = sorted(own, key=coldness)[: max(0, min(total - wanted, spare))]
            actions += [Drain(worker.id) for worker in leaving]
            direction = Direction.DOWN if actions else Direction.NONE
        if direction is not Direction.NONE:
            self._went, self._since = direction, now
        each = load.cost_per_worker_s
        able = each * len(serving)
        self.decision = Decision(
            now, self._name, wanted, len(serving), load.starting,
            len(load.workers) - len(serving), direction, reason,
            load.offered_cost_per_s / each if each else 0.0,
            load.queued_cost / able if able else (inf if load.queued_cost else 0.0),
        )  # fmt: skip
        return actions

    def _wanted(self, load: Load, total: int, now: float) -> tuple[int, Why]:
        bounds = self._bounds
        view = load.view()
        wish = self._policy.desired(view, now)
        wanted = max(bounds.fewest, min(bounds.most, wish))
        reason = Why.LOAD if wanted == wish else Why.BOUNDS
        if load.cost_per_worker_s <= 0 and wanted == total:
            reason = Why.UNKNOWN
        if wanted == 0 and load.backlog_cost > 0:
            wanted, reason = max(1, total), Why.WAKE
        if bounds.fewest <= total <= bounds.most and self._rests(wanted, total, now):
            return total, Why.COOLDOWN
        return wanted, reason

    def _rests(self, wanted: int, total: int, now: float) -> bool:
        """Whether the last change went the other way, a short while ago."""
        other = Direction.DOWN if wanted > total else Direction.UP
        recent = now - self._since < self._bounds.cooldown_s
        return wanted != total and total > 0 and self._went is other and recent


def coldness(worker: WorkerView) -> tuple[float, float, float, int, str]:
    """Return by what workers are drained, those first that lose least."""
    warmth = round(worker.warmth, 3)
    return warmth, round(worker.kv_used, 2), worker.pending_cost, worker.in_flight, worker.id


def build_autoscaler(choice: PolicyChoice, bounds: Bounds | None = None) -> Autoscaler:
    """Return a new autoscaler with the policy that the settings name.

    Bounds hold for the policy, too, if it has some and was not given its own; without any, those of
    the policy are in force.
    """
    known = SCALING.parameters(choice.name)
    given = dict(choice.parameters)
    if bounds is not None:
        for name, value in (("fewest", bounds.fewest), ("most", bounds.most)):
            if name in known:
                given.setdefault(name, value)
    policy = SCALING.build(choice.name, given)
    if bounds is None:
        bounds = Bounds(int(getattr(policy, "fewest", 1)), int(getattr(policy, "most", 1_000)))
    return Autoscaler(policy, choice.name, bounds)
