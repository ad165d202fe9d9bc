"""HPA: the rules of Kubernetes' horizontal pod autoscaler, on offered load."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil

from parallax.core.errors import InvalidInput
from parallax.core.model import LoadView, check_int, check_number
from parallax.policies.registry import SCALING
from parallax.policies.scaling.stabilised import Stabilised


@SCALING.register("hpa")
@dataclass(slots=True)
class Hpa:
    """Ask for `ceil(offered load / target)` workers, as a deployment with an autoscaler would.

    The metric is the offered load over what one worker serves, per worker: what is refused counts,
    and it can exceed 1, unlike utilisation. With `metric` "busy" it is the share of the time that
    workers work, as the cluster's rule on the processor has it. Within `tolerance` of the target
    nothing changes; down goes only to the highest wish of the last `stable_s`; up at most to twice
    as many, or 4 more.

    Source: Kubernetes, pkg/controller/podautoscaler (tolerance 0.1, window 300 s). Cost: O(1)
    amortised. Use it to see what the cluster's own autoscaler will do.
    """

    target: float = 0.7  # load per worker
    tolerance: float = 0.1
    stable_s: float = 300.0
    fewest: int = 1
    most: int = 1_000
    metric: str = "offered"  # or "busy"
    _steady: Stabilised = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_number("hpa.target", self.target, 0.01, 10.0)
        check_number("hpa.tolerance", self.tolerance, 0.0, 1.0)
        check_number("hpa.stable_s", self.stable_s, 0.0, 86_400.0)
        check_int("hpa.fewest", self.fewest, 0, 100_000)
        check_int("hpa.most", self.most, 1, 100_000)
        if self.metric not in ("offered", "busy"):
            raise InvalidInput("hpa.metric", self.metric, "offered or busy")
        self._steady = Stabilised(self.stable_s, self.fewest, self.most)

    def desired(self, load: LoadView, now: float) -> int:
        """See `interfaces.ScalingPolicy`."""
        if load.cost_per_worker_s <= 0 or load.workers == 0:
            return self._steady.limited(max(load.workers, self.fewest), load.workers, now)
        if self.metric == "busy":
            offered = load.busy * load.ready
        else:
            offered = load.offered_cost_per_s / load.cost_per_worker_s
        ratio = offered / load.workers / self.target
        wanted = load.workers
        if abs(ratio - 1.0) > self.tolerance:
            wanted = ceil(offered / self.target)
        return self._steady.limited(wanted, load.workers, now)
