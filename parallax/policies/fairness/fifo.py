"""FIFO over all tenants: no fairness. The control against which fair queuing is measured."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from math import inf

from parallax.core.model import JobView
from parallax.policies.registry import FAIRNESS

#: When, the how manieth, and whose.
_Arrival = tuple[float, int, str]


@FAIRNESS.register("fifo")
@dataclass(slots=True)
class Fifo:
    """Serve the tenant of the job that arrived first. The tenant that sends most gets most.

    Cost: O(log n) per job. Use it with one tenant, or as a control.
    """

    #: By model: when the jobs of a lane arrived, and the tenants that wait there.
    _arrivals: dict[str, list[_Arrival]] = field(default_factory=dict, init=False, repr=False)
    _waiting: dict[str, dict[str, None]] = field(default_factory=dict, init=False, repr=False)
    _serial: int = field(default=0, init=False, repr=False)
    _picked: tuple[str, _Arrival] | None = field(default=None, init=False, repr=False)

    def joined(self, job: JobView) -> None:
        """See `interfaces.FairnessPolicy`."""
        self._serial += 1
        self._waiting.setdefault(job.model, {})[job.tenant] = None
        lane = self._arrivals.setdefault(job.model, [])
        heapq.heappush(lane, (job.arrival, self._serial, job.tenant))

    def left_lane(self, tenant: str, model: str) -> None:
        """See `interfaces.FairnessPolicy`."""
        waiting = self._waiting[model]
        del waiting[tenant]
        if not waiting:
            del self._waiting[model], self._arrivals[model]
            return
        lane = [place for place in self._arrivals[model] if place[2] != tenant]
        heapq.heapify(lane)
        self._arrivals[model] = lane

    def left(self, tenant: str) -> None:
        """See `interfaces.FairnessPolicy`."""
        for model in [model for model, waiting in self._waiting.items() if tenant in waiting]:
            self.left_lane(tenant, model)

    def pick(self, models: Collection[str] | None = None) -> str | None:
        """See `interfaces.FairnessPolicy`."""
        lanes = self._waiting if models is None else [m for m in models if m in self._waiting]
        firsts = [(self._first(model), model) for model in lanes]
        if not firsts:
            self._picked = None
            return None
        arrival, model = min(firsts)
        self._picked = (model, arrival)
        return arrival[2]

    def _first(self, model: str) -> _Arrival:
        """Return the first arrival of a lane.

        Ordering may take another job of a tenant than the one that it was picked for: who has jobs
        in a lane and no arrival is the last.
        """
        lane = self._arrivals[model]
        return lane[0] if lane else (inf, 0, next(iter(self._waiting[model])))

    def charge(self, tenant: str, cost: float) -> None:
        """See `interfaces.FairnessPolicy`: the place that this tenant was picked for is used up."""
        picked, self._picked = self._picked, None
        if picked is None or picked[1][2] != tenant:
            return  # a hedge takes nobody's place
        lane = self._arrivals.get(picked[0])
        if lane and lane[0] == picked[1]:
            heapq.heappop(lane)

    def settle(
        self, tenant: str, estimate: float, consumed: float, weight: float | None = None
    ) -> None:
        """See `interfaces.FairnessPolicy`: nobody is owed anything."""

    def weigh(self, tenant: str, weight: float) -> None:
        """See `interfaces.FairnessPolicy`: weights do not matter."""

    def accounts(self, tenants: Iterable[str]) -> dict[str, float]:
        """See `interfaces.FairnessPolicy`: there is nothing to remember."""
        return {}

    def restore(self, accounts: Mapping[str, float]) -> None:
        """See `interfaces.FairnessPolicy`."""
