"""Round robin over tenants, counted in jobs: fair in requests, and so not fair in cost."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from parallax.core.model import JobView
from parallax.policies.fairness.deficit_round_robin import DeficitRoundRobin
from parallax.policies.registry import FAIRNESS


def _one_job_a_turn() -> DeficitRoundRobin:
    return DeficitRoundRobin(quantum=1.0)


@FAIRNESS.register("request_round_robin")
@dataclass(slots=True)
class RequestRoundRobin:
    """Serve one job of each waiting tenant in turn, `weight` jobs of a tenant that has a weight.

    What a job costs makes no difference, so a tenant whose jobs are ten times as long gets ten
    times the service, and the gap grows without end. Its accounts are in jobs per unit of weight.

    Source: Nagle, RFC 970 (1985), with turns of packets, whatever their length.
    Cost: O(1) amortised per decision. Use it where every job costs the same, or as the control
    against which `deficit_round_robin` and `fair_queuing` are measured.
    """

    _turns: DeficitRoundRobin = field(default_factory=_one_job_a_turn, init=False, repr=False)

    def joined(self, job: JobView) -> None:
        """See `interfaces.FairnessPolicy`."""
        self._turns.joined(job)

    def left_lane(self, tenant: str, model: str) -> None:
        """See `interfaces.FairnessPolicy`."""
        self._turns.left_lane(tenant, model)

    def left(self, tenant: str) -> None:
        """See `interfaces.FairnessPolicy`."""
        self._turns.left(tenant)

    def pick(self, models: Collection[str] | None = None) -> str | None:
        """See `interfaces.FairnessPolicy`."""
        return self._turns.pick(models)

    def charge(self, tenant: str, cost: float) -> None:
        """See `interfaces.FairnessPolicy`: a job is a job."""
        self._turns.charge(tenant, 1.0)

    def settle(
        self, tenant: str, estimate: float, consumed: float, weight: float | None = None
    ) -> None:
        """See `interfaces.FairnessPolicy`: what it cost in the end makes no difference."""

    def weigh(self, tenant: str, weight: float) -> None:
        """See `interfaces.FairnessPolicy`."""
        self._turns.weigh(tenant, weight)

    def accounts(self, tenants: Iterable[str]) -> dict[str, float]:
        """See `interfaces.FairnessPolicy`."""
        return self._turns.accounts(tenants)

    def restore(self, accounts: Mapping[str, float]) -> None:
        """See `interfaces.FairnessPolicy`."""
        self._turns.restore(accounts)
