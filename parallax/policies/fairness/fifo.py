"""FIFO over all tenants: no fairness. The control against which fair queuing is measured."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from parallax.core.model import JobView
from parallax.policies.registry import FAIRNESS


@FAIRNESS.register("fifo")
@dataclass(slots=True)
class Fifo:
    """Serve the tenant of the job that arrived first. Whoever sends most gets most.

    Cost: O(log n) per job. Use it with one tenant, or as a control.
    """

    _arrivals: list[tuple[float, int, str]] = field(default_factory=list, init=False, repr=False)
    _waiting: dict[str, int] = field(default_factory=dict, init=False, repr=False)
    _serial: int = field(default=0, init=False, repr=False)

    def joined(self, job: JobView) -> None:
        """See `interfaces.FairnessPolicy`."""
        self._serial += 1
        self._waiting[job.tenant] = self._waiting.get(job.tenant, 0) + 1
        heapq.heappush(self._arrivals, (job.arrival, self._serial, job.tenant))

    def left(self, tenant: str) -> None:
        """See `interfaces.FairnessPolicy`."""
        if self._waiting.pop(tenant, 0):
            self._arrivals = [place for place in self._arrivals if place[2] != tenant]
            heapq.heapify(self._arrivals)

    def pick(self) -> str | None:
        """See `interfaces.FairnessPolicy`."""
        return self._arrivals[0][2] if self._arrivals else None

    def charge(self, tenant: str, cost: float) -> None:
        """See `interfaces.FairnessPolicy`: one place of this tenant is used up."""
        if self._arrivals and self._arrivals[0][2] == tenant:
            heapq.heappop(self._arrivals)
            self._waiting[tenant] -= 1
            if not self._waiting[tenant]:
                del self._waiting[tenant]

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
