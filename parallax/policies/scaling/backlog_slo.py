"""Backlog against an objective: as many workers as keep the predicted wait within it."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil

from parallax.core.model import LoadView, check_int, check_number
from parallax.policies.registry import SCALING
from parallax.policies.scaling.stabilised import Stabilised


@SCALING.register("backlog_slo")
@dataclass(slots=True)
class BacklogSlo:
    """Ask for what keeps up with the load, and for what works the predicted backlog off in time.

    The fleet keeps up with the load of the last minute at `target` of its capacity, a
    margin for chance. Once what waits is more than the fleet serves within `share` of the objective
    `slo_s`, the load of the last seconds counts if it is higher, and more workers work the backlog
    off, each of them `startup_s` after it was asked for: the predicted one, since until then the
    queue grows by what comes in beyond what the fleet is able to serve. Within `tolerance` nothing
    changes; down goes only to the highest wish of the last `stable_s`.

    Source: queue-proportional scaling, as KEDA's queue triggers do it with a length, on seconds
    instead (Little 1961); the two windows as in Knative. Cost: O(1) amortised. Use it where an
    objective is promised, and for batching engines, whose use of the processor says nothing.
    """

    slo_s: float = 2.0
    share: float = 0.5
    target: float = 0.8
    startup_s: float = 30.0
    tolerance: float = 0.1
    stable_s: float = 300.0
    fewest: int = 1
    most: int = 1_000
    _steady: Stabilised = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_number("backlog_slo.slo_s", self.slo_s, 0.001, 86_400.0)
        check_number("backlog_slo.share", self.share, 0.01, 1.0)
        check_number("backlog_slo.target", self.target, 0.01, 1.0)
        check_number("backlog_slo.startup_s", self.startup_s, 0.0, 86_400.0)
        check_number("backlog_slo.tolerance", self.tolerance, 0.0, 1.0)
        check_number("backlog_slo.stable_s", self.stable_s, 0.0, 86_400.0)
        check_int("backlog_slo.fewest", self.fewest, 0, 100_000)
        check_int("backlog_slo.most", self.most, 1, 100_000)
        self._steady = Stabilised(self.stable_s, self.fewest, self.most)

    def desired(self, load: LoadView, now: float) -> int:
        """See `interfaces.ScalingPolicy`."""
        each = load.cost_per_worker_s
        if each <= 0:
            return self._steady.limited(max(load.workers, self.fewest), load.workers, now)
        in_time = self.share * self.slo_s
        able = each * load.ready
        late = load.queued_cost > able * in_time
        offered = load.offered_cost_per_s
        if late:
            offered = max(offered, load.burst_cost_per_s)
        growth = max(0.0, offered - each * load.workers) * self.startup_s
        keep_up = offered / (each * self.target)
        work_off = (load.queued_cost + growth) / (each * max(in_time, self.startup_s))
        wanted = ceil(max(keep_up, offered / each + work_off if late else 0.0) - 1e-9)
        if load.workers and not late and abs(wanted / load.workers - 1.0) <= self.tolerance:
            wanted = load.workers
        return self._steady.limited(wanted, load.workers, now)
