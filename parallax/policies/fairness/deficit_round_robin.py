"""Deficit round robin in token cost: every tenant's turn is worth the same, in constant time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import ceil, floor, isfinite

from parallax.core.model import JobView, check_number
from parallax.policies.fairness.fair_queuing import MOST_CREDIT
from parallax.policies.registry import FAIRNESS

#: Under this key the level from which all start is remembered.
_SYSTEM = ""


@FAIRNESS.register("deficit_round_robin")
@dataclass(slots=True)
class DeficitRoundRobin:
    """Serve tenants in turn; a turn is worth `quantum` cost units per unit of weight.

    A tenant keeps its turn until what it was charged reaches what its turns were worth. The job
    that crosses the line is served whole, and what it cost too much is missing from the turns that
    follow (the "surplus" form, which need not know the next job's cost before it picks). A tenant
    that leaves loses the rest of its turn and keeps its debt; debts are paid off by rounds
    that go by, and are forgotten when nobody waits.

    Two tenants that stay backlogged differ in service per weight by at most `quantum` and the
    largest job of each. A small quantum is fairer and takes more rounds; about the cost of a large
    job is right.

    Source: Shreedhar & Varghese, SIGCOMM'95; the surplus form: Adiseshu, Parulkar & Varghese,
    SIGCOMM'96.
    Cost: O(1) amortised per decision while jobs cost no more than a quantum; a pick that finds all
    tenants deep in debt skips the empty rounds in O(tenants). Memory follows the tenants that wait
    or are in debt. While the workers of some models are full a pick passes over those who wait for
    these alone, in O(those); they keep their turns. Use it with very many tenants; `fair_queuing`
    is fairer over short times, and does not mind estimates that are far too high: here they make
    rounds go by, and a tenant that comes then waits until the others have really consumed that
    much.
    """

    quantum: float = 2_000.0  # cost units per turn and unit of weight

    # A tenant's charges per weight, on a scale on which round n ends at `n * quantum`.
    _charged: dict[str, float] = field(default_factory=dict, init=False, repr=False)
    _debts: dict[str, float] = field(default_factory=dict, init=False, repr=False)  # if not waiting
    _weights: dict[str, float] = field(default_factory=dict, init=False, repr=False)
    #: Who waits, in the order of turns, with the round of each one's next turn.
    _turns: OrderedDict[str, int] = field(default_factory=OrderedDict, init=False, repr=False)
    _lanes: dict[str, dict[str, None]] = field(default_factory=dict, init=False, repr=False)
    _round: int = field(default=1, init=False, repr=False)
    _kept: int = field(default=0, init=False, repr=False)  # debts left by the last clearing

    def __post_init__(self) -> None:
        check_number("deficit_round_robin.quantum", self.quantum, 1.0, 1e9)

    def joined(self, job: JobView) -> None:
        """See `interfaces.FairnessPolicy`."""
        tenant = job.tenant
        if tenant not in self._turns:
            level = self._round * self.quantum
            self._charged[tenant] = max(level, self._debts.pop(tenant, level))
            self._turns[tenant] = self._round + 1
            self._lanes[tenant] = {}
        self._lanes[tenant][job.model] = None

    def left_lane(self, tenant: str, model: str) -> None:
        """See `interfaces.FairnessPolicy`."""
        del self._lanes[tenant][model]

    def left(self, tenant: str) -> None:
        """See `interfaces.FairnessPolicy`."""
        if self._turns.pop(tenant, None) is None:
            return
        del self._lanes[tenant]
        self._owe(tenant, self._charged.pop(tenant))
        if not self._turns:
            self._all_left()

    def pick(self, models: Collection[str] | None = None) -> str | None:
        """See `interfaces.FairnessPolicy`."""
        passed = 0
        while True:
            tenant = next(self._who_wait(models), None)
            if tenant is None:
                return None
            if self._turns[tenant] > self._round:
                self._begin(self._turns[tenant])
            if self._charged[tenant] < self._round * self.quantum:
                if models is not None:
                    self._bound_credit(tenant)
                return tenant
            self._turns[tenant] = self._round + 1
            self._turns.move_to_end(tenant)
            passed += 1
            if passed > len(self._turns):
                self._skip_rounds(models)
                passed = 0

    def _who_wait(self, models: Collection[str] | None) -> Iterator[str]:
        """Yield who waits in one of these lanes, in the order of turns."""
        if models is None:
            return iter(self._turns)
        return (name for name in self._turns if not self._lanes[name].keys().isdisjoint(models))

    def _bound_credit(self, tenant: str) -> None:
        """Give the last of these turns to a tenant that was passed over for long."""
        least = (self._round - 1) * self.quantum - MOST_CREDIT
        self._charged[tenant] = max(self._charged[tenant], least)

    def charge(self, tenant: str, cost: float) -> None:
        """See `interfaces.FairnessPolicy`."""
        self._add(tenant, cost)

    def settle(
        self, tenant: str, estimate: float, consumed: float, weight: float | None = None
    ) -> None:
        """See `interfaces.FairnessPolicy`."""
        self._add(tenant, consumed - estimate, weight)

    def weigh(self, tenant: str, weight: float) -> None:
        """See `interfaces.FairnessPolicy`."""
        if not weight > 0:
            raise ValueError(f"a weight is greater than 0, not {weight}")
        self._weights[tenant] = weight

    def accounts(self, tenants: Iterable[str]) -> dict[str, float]:
        """See `interfaces.FairnessPolicy`.

        The level is that of the round before: who has yet to have a turn in this round gets it from
        the next leader too, and who has had it is that far above the level.
        """
        level = (self._round - 1) * self.quantum
        kept = {name: self._charged.get(name, self._debts.get(name, level)) for name in tenants}
        return {**kept, _SYSTEM: level}

    def restore(self, accounts: Mapping[str, float]) -> None:
        """See `interfaces.FairnessPolicy`."""
        known = {name: account for name, account in accounts.items() if isfinite(account)}
        if _SYSTEM in accounts:
            self._round = floor(known.pop(_SYSTEM, 0.0) / self.quantum + 1e-9)  # a whole one again
        for tenant, charged in known.items():
            self._owe(tenant, charged)

    def _add(self, tenant: str, cost: float, weight: float | None = None) -> None:
        share = cost / (weight or self._weights.get(tenant, 1.0))
        if tenant in self._charged:
            self._charged[tenant] += share
        else:
            self._owe(tenant, self._debts.pop(tenant, self._round * self.quantum) + share)

    def _owe(self, tenant: str, charged: float) -> None:
        """Remember the debt of a tenant that does not wait, if it has one."""
        if charged > self._round * self.quantum:
            self._debts[tenant] = charged

    def _begin(self, number: int) -> None:
        """Begin a round; now and then forget the debts that are paid off: exact, amortised O(1)."""
        self._round = number
        if len(self._debts) > 2 * self._kept + 64:
            level = number * self.quantum
            self._debts = {name: owed for name, owed in self._debts.items() if owed > level}
            self._kept = len(self._debts)

    def _skip_rounds(self, models: Collection[str] | None) -> None:
        """All who wait are in debt: go to the round before the first of them is out of it."""
        lowest = min(self._charged[tenant] for tenant in self._who_wait(models))
        number = max(self._round, floor(lowest / self.quantum))
        while (number + 1) * self.quantum <= lowest:  # beyond 2**53 one round more is not felt
            number += max(1, number >> 50)
        self._begin(number)
        for tenant in self._turns:
            self._turns[tenant] = number + 1

    def _all_left(self) -> None:
        """Nobody waits: the next tenants all start level, whatever was served before."""
        highest = max(self._debts.values(), default=0.0)
        self._round = max(self._round, ceil(highest / self.quantum))
        self._debts.clear()
        self._kept = 0
