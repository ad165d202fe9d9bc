"""Square-root staffing: as many as the load needs, and a margin that grows with its root."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil, sqrt

from parallax.core.model import LoadView, check_int, check_number
from parallax.policies.registry import SCALING
from parallax.policies.scaling.stabilised import Stabilised


@SCALING.register("sqrt_staffing")
@dataclass(slots=True)
class SqrtStaffing:
    """Ask for `R + beta * sqrt(R) + backlog / drain` workers; R is the offered load in workers.

    With such a margin the probability of waiting depends on `beta` alone, whatever the size of the
    fleet: 0.5 gives a half, 1 a quarter, 1.5 a tenth, 2 a thirtieth. A fixed utilisation wastes
    much of a large fleet and ruins a small one. The last part works a backlog off in `drain_s`. If
    the load of the last seconds is `panic` times that of the minute, it counts instead, and nothing
    is scaled down for a minute.

    Source: Erlang 1924, Halfin & Whitt 1981; the panic window as in Knative. Cost: O(1) amortised.
    Use it for fleets whose start-up is short against how long load lasts; keep `stable_s` at five
    start-ups or more.
    """

    beta: float = 1.5
    drain_s: float = 60.0
    tolerance: float = 0.1
    stable_s: float = 300.0
    panic: float = 2.0
    fewest: int = 2
    most: int = 1_000
    _steady: Stabilised = field(init=False, repr=False)
    _panics_until: float = field(default=-1.0, init=False, repr=False)

    def __post_init__(self) -> None:
        check_number("sqrt_staffing.beta", self.beta, 0.0, 100.0)
        check_number("sqrt_staffing.drain_s", self.drain_s, 0.1, 86_400.0)
        check_number("sqrt_staffing.tolerance", self.tolerance, 0.0, 1.0)
        check_number("sqrt_staffing.stable_s", self.stable_s, 0.0, 86_400.0)
        check_number("sqrt_staffing.panic", self.panic, 1.0, 1e6)
        check_int("sqrt_staffing.fewest", self.fewest, 0, 100_000)
        check_int("sqrt_staffing.most", self.most, 1, 100_000)
        self._steady = Stabilised(self.stable_s, self.fewest, self.most)

    def desired(self, load: LoadView, now: float) -> int:
        """See `interfaces.ScalingPolicy`."""
        if load.cost_per_worker_s <= 0:
            return self._steady.limited(max(load.workers, self.fewest), load.workers, now)
        offered = load.offered_cost_per_s
        if offered > 0 and load.burst_cost_per_s / offered >= self.panic:
            self._panics_until = now + 60.0
        if now < self._panics_until:
            offered = max(offered, load.burst_cost_per_s)
        erlangs = offered / load.cost_per_worker_s
        drain = load.backlog_cost / (load.cost_per_worker_s * self.drain_s)
        wanted = ceil(erlangs + self.beta * sqrt(erlangs) + drain)
        if load.workers and abs(wanted / load.workers - 1.0) <= self.tolerance:
            wanted = load.workers
        if now < self._panics_until:
            wanted = max(wanted, load.workers)
        return self._steady.limited(wanted, load.workers, now)
