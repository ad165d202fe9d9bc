"""Fair queuing in token cost: tenants share in proportion to their weights."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from parallax.core.model import JobView
from parallax.policies.registry import FAIRNESS

#: Under this key the virtual time itself is remembered.
_SYSTEM = ""


@FAIRNESS.register("fair_queuing")
@dataclass(slots=True)
class FairQueuing:
    """Start-time fair queuing: serve the backlogged tenant whose start tag is smallest.

    Every tenant has a tag, in cost units per unit of weight: how much it was charged. Serving a
    job adds `estimate / weight`; when the true cost is known the difference is added too, so long
    answers are paid for by whoever asked for them. Virtual time is what the tenant served last had
    paid for: its tag without what is only estimated, of jobs in flight. A tenant that was idle
    starts at virtual time: idling earns no credit ("lift"), and a debt is kept.

    Estimates have no part in virtual time because they may be wrong by a factor, above all in a
    young system. They are taken back from whoever was charged, but a newcomer that was lifted by
    them would wait until the others have really consumed that much.

    Two tenants that stay backlogged differ in service per weight by no more than a few of their
    largest jobs, however long they run (Goyal, Vin & Cheng, SIGCOMM'96; with token cost this is
    VTC, Sheng et al., OSDI'24).

    Cost: O(log tenants) per decision. A tenant is forgotten once it is idle and virtual time has
    passed its tag: from then on it is exactly like one never seen, so memory follows the tenants
    that are active or in debt.
    """

    _tags: dict[str, float] = field(default_factory=dict, init=False, repr=False)
    _weights: dict[str, float] = field(default_factory=dict, init=False, repr=False)
    _backlogged: dict[str, float] = field(default_factory=dict, init=False, repr=False)
    _flying: dict[str, float] = field(default_factory=dict, init=False, repr=False)
    _heap: list[tuple[float, str]] = field(default_factory=list, init=False, repr=False)
    _idle: list[tuple[float, str]] = field(default_factory=list, init=False, repr=False)
    _virtual: float = field(default=0.0, init=False, repr=False)

    def joined(self, job: JobView) -> None:
        """See `interfaces.FairnessPolicy`."""
        tenant = job.tenant
        if tenant not in self._backlogged:
            self._tags[tenant] = max(self._virtual, self._tags.get(tenant, 0.0))
            self._enter(tenant)

    def left(self, tenant: str) -> None:
        """See `interfaces.FairnessPolicy`."""
        if self._backlogged.pop(tenant, None) is not None:
            heapq.heappush(self._idle, (self._tags[tenant], tenant))
            if not self._backlogged:
                self._busy_period_ended()

    def pick(self) -> str | None:
        """See `interfaces.FairnessPolicy`."""
        while self._heap:
            tag, tenant = self._heap[0]
            if self._backlogged.get(tenant) == tag:
                return tenant
            heapq.heappop(self._heap)  # its tag changed since, or it left
        return None

    def charge(self, tenant: str, cost: float) -> None:
        """See `interfaces.FairnessPolicy`."""
        self._virtual = max(self._virtual, self._paid(tenant))
        share = cost / self._weights.get(tenant, 1.0)
        self._flying[tenant] = self._flying.get(tenant, 0.0) + share
        self._add(tenant, share)
        self._forget_passed()

    def settle(
        self, tenant: str, estimate: float, consumed: float, weight: float | None = None
    ) -> None:
        """See `interfaces.FairnessPolicy`."""
        weight = weight or self._weights.get(tenant, 1.0)
        self._landed(tenant, estimate / weight)
        self._add(tenant, (consumed - estimate) / weight)
        if not self._backlogged:
            self._virtual = max(self._virtual, self._paid(tenant))
            self._forget_passed()

    def weigh(self, tenant: str, weight: float) -> None:
        """See `interfaces.FairnessPolicy`."""
        if not weight > 0:
            raise ValueError(f"a weight is greater than 0, not {weight}")
        self._weights[tenant] = weight

    def accounts(self, tenants: Iterable[str]) -> dict[str, float]:
        """See `interfaces.FairnessPolicy`."""
        kept = {tenant: self._tags.get(tenant, self._virtual) for tenant in tenants}
        return {**kept, _SYSTEM: self._virtual}

    def restore(self, accounts: Mapping[str, float]) -> None:
        """See `interfaces.FairnessPolicy`."""
        self._virtual = accounts.get(_SYSTEM, self._virtual)
        for tenant, tag in accounts.items():
            if tenant != _SYSTEM and tag > self._virtual:
                self._tags[tenant] = tag
                heapq.heappush(self._idle, (tag, tenant))

    def _paid(self, tenant: str) -> float:
        return self._tags.get(tenant, 0.0) - self._flying.get(tenant, 0.0)

    def _landed(self, tenant: str, share: float) -> None:
        """Part of what was estimated is known now; what is left of rounding is nothing."""
        left = self._flying.pop(tenant, 0.0) - share
        if left > 1e-6 * share:
            self._flying[tenant] = left

    def _add(self, tenant: str, share: float) -> None:
        tag = self._tags.get(tenant, self._virtual) + share
        self._tags[tenant] = tag
        if tenant in self._backlogged:
            self._enter(tenant)
        else:
            heapq.heappush(self._idle, (tag, tenant))

    def _enter(self, tenant: str) -> None:
        """Put a backlogged tenant at its place; a former place is skipped when it is met."""
        tag = self._tags[tenant]
        self._backlogged[tenant] = tag
        heapq.heappush(self._heap, (tag, tenant))
        if len(self._heap) > 2 * len(self._backlogged) + 64:
            self._heap = [(tag, name) for name, tag in self._backlogged.items()]
            heapq.heapify(self._heap)

    def _forget_passed(self) -> None:
        """Forget idle tenants whose tag virtual time has passed: exact, and O(1) amortised."""
        while self._idle and self._idle[0][0] <= self._virtual:
            _, tenant = heapq.heappop(self._idle)
            if tenant not in self._backlogged and self._tags.get(tenant, 0.0) <= self._virtual:
                self._tags.pop(tenant, None)
        if len(self._idle) > 2 * len(self._tags) + 64:
            self._idle = [(t, n) for n, t in self._tags.items() if n not in self._backlogged]
            heapq.heapify(self._idle)

    def _busy_period_ended(self) -> None:
        """Nobody waits: the next to come all start level, except for debts still being settled.

        Virtual time moves to the most that was paid, so a tenant that was served alone is not
        punished for it, and those that come later get no credit for having been away.
        """
        self._virtual = max([self._virtual, *map(self._paid, self._tags)])
        self._forget_passed()
