"""Fair queuing in token cost: tenants share in proportion to their weights."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from parallax.core.model import JobView
from parallax.policies.registry import FAIRNESS

#: Under this key the virtual time itself is remembered.
_SYSTEM = ""

#: A tenant that was passed over, since the workers that serve its models were full, is owed no more
#: than so many cost units per unit of weight by those who were served meanwhile.
MOST_CREDIT = 20_000.0


@FAIRNESS.register("fair_queuing")
@dataclass(slots=True)
class FairQueuing:
    """Start-time fair queuing: serve the backlogged tenant whose start tag is smallest.

    Every tenant has a tag, in cost units per unit of weight: how much it was charged. Serving a
    job adds `estimate / weight`; when the true cost is known the difference is added too, so long
    answers are paid for by the tenants that asked for them. Virtual time is what the tenant served
    last had paid for: its tag without the estimates of its jobs in flight. A tenant that was idle
    starts at virtual time: idling earns no credit ("lift"), and a debt is kept.

    Estimates have no part in virtual time because they may be wrong by a factor, above all in a
    young system. They are taken back from whoever was charged, but a newcomer that was lifted by
    them would wait until the others have really consumed that much.

    Two tenants that stay backlogged differ in service per weight by no more than a few of their
    largest jobs, however long they run (Goyal, Vin & Cheng, SIGCOMM'96; with token cost this is
    VTC, Sheng et al., OSDI'24).

    Where workers serve different models a tenant has one tag for all its lanes. Who asks for a
    model whose workers are full is passed over, and may fall behind others that ask for another
    one: what it is owed for that is bounded, or it would shut them out for as long as it was slow.

    Cost: O(log tenants) per decision and lane: of the tenant that is charged, and of those that are
    open. A tenant is forgotten once it is idle and virtual time has
    passed its tag: from then on it is exactly like one never seen, so memory follows the tenants
    that are active or in debt.
    """

    _tags: dict[str, float] = field(default_factory=dict, init=False, repr=False)
    _weights: dict[str, float] = field(default_factory=dict, init=False, repr=False)
    _backlogged: dict[str, float] = field(default_factory=dict, init=False, repr=False)
    _lanes: dict[str, dict[str, None]] = field(default_factory=dict, init=False, repr=False)
    _waiting: dict[str, dict[str, None]] = field(default_factory=dict, init=False, repr=False)
    _flying: dict[str, float] = field(default_factory=dict, init=False, repr=False)
    _heaps: dict[str, list[tuple[float, str]]] = field(default_factory=dict, init=False, repr=False)
    _idle: list[tuple[float, str]] = field(default_factory=list, init=False, repr=False)
    #: Tenants have waited in several lanes since nobody waited.
    _apart: bool = field(default=False, init=False, repr=False)
    _virtual: float = field(default=0.0, init=False, repr=False)

    def joined(self, job: JobView) -> None:
        """See `interfaces.FairnessPolicy`."""
        tenant, model = job.tenant, job.model
        lanes = self._lanes.get(tenant)
        if lanes is None:
            self._backlogged[tenant] = self._tags[tenant] = self._start(tenant)
            lanes = self._lanes[tenant] = {}
        if model not in lanes:
            lanes[model] = None
            self._waiting.setdefault(model, {})[tenant] = None
            self._place(tenant, model)

    def _start(self, tenant: str) -> float:
        """Return the tag of a tenant that comes: it has no credit, and keeps its debts."""
        return max(self._virtual, self._tags.get(tenant, 0.0))

    def left_lane(self, tenant: str, model: str) -> None:
        """See `interfaces.FairnessPolicy`."""
        del self._lanes[tenant][model]
        self._quit(tenant, model)

    def left(self, tenant: str) -> None:
        """See `interfaces.FairnessPolicy`."""
        if self._backlogged.pop(tenant, None) is not None:
            for model in self._lanes.pop(tenant):
                self._quit(tenant, model)
            heapq.heappush(self._idle, (self._tags[tenant], tenant))
            if not self._backlogged:
                self._busy_period_ended()

    def pick(self, models: Collection[str] | None = None) -> str | None:
        """See `interfaces.FairnessPolicy`."""
        if models is None and len(self._heaps) == 1:
            (model,) = self._heaps
            first = self._first(model)
            return first[1] if first else None
        open_ones = self._heaps if models is None else [m for m in models if m in self._heaps]
        firsts = [first for first in map(self._first, open_ones) if first]
        return min(firsts)[1] if firsts else None

    def _first(self, model: str) -> tuple[float, str] | None:
        """Return who of a lane is next, and its tag."""
        heap, waiting = self._heaps[model], self._waiting[model]
        while heap:
            tag, tenant = heap[0]
            if self._backlogged.get(tenant) == tag and tenant in waiting:
                return heap[0]
            heapq.heappop(heap)  # its tag changed since, or it left
        return None

    def charge(self, tenant: str, cost: float) -> None:
        """See `interfaces.FairnessPolicy`."""
        self._virtual = max(self._virtual, self._paid(tenant))
        if self._apart and self._tags.get(tenant, 0.0) < self._virtual - MOST_CREDIT:
            self._tags[tenant] = self._virtual - MOST_CREDIT
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
        """Replace a part of the estimate by its measured value; rounding leaves nothing."""
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
        """Put a backlogged tenant at its places; a former place is skipped when it is met."""
        self._backlogged[tenant] = self._tags[tenant]
        for model in self._lanes[tenant]:
            self._place(tenant, model)

    def _place(self, tenant: str, model: str) -> None:
        heap = self._heaps.get(model)
        if heap is None:
            heap = self._heaps[model] = []
            self._apart = self._apart or len(self._heaps) > 1
        heapq.heappush(heap, (self._backlogged[tenant], tenant))
        waiting = self._waiting[model]
        if len(heap) > 2 * len(waiting) + 64:
            heap = self._heaps[model] = [(self._backlogged[name], name) for name in waiting]
            heapq.heapify(heap)

    def _quit(self, tenant: str, model: str) -> None:
        """Nothing of this tenant waits in this lane; one where nobody waits is forgotten."""
        waiting = self._waiting[model]
        del waiting[tenant]
        if not waiting:
            del self._waiting[model], self._heaps[model]

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
        self._apart = False
        self._virtual = max([self._virtual, *map(self._paid, self._tags)])
        self._forget_passed()
