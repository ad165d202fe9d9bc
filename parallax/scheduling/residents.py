"""Who holds KV memory: pressure on it is charged to whoever causes it, and to nobody else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parallax.scheduling.fleet import Flight


@dataclass(slots=True)
class Residents:
    """Tokens that the attempts in flight of each tenant are expected to hold in the end.

    Counting an attempt twice, or taking it out twice, changes nothing. O(1) each; memory follows
    the tenants with attempts in flight.
    """

    _tokens: dict[str, float] = field(default_factory=dict)
    _attempts: dict[str, int] = field(default_factory=dict)
    _total: float = 0.0

    def take(self, flight: Flight) -> None:
        """An attempt is in flight."""
        if flight.resident == 0.0:
            tenant = flight.job.tenant
            flight.resident = flight.job.prompt_tokens + max(1.0, flight.output)
            self._tokens[tenant] = self._tokens.get(tenant, 0.0) + flight.resident
            self._attempts[tenant] = self._attempts.get(tenant, 0) + 1
            self._total += flight.resident

    def release(self, flight: Flight) -> None:
        """An attempt is over."""
        if flight.resident == 0.0:
            return
        tenant = flight.job.tenant
        left = self._attempts[tenant] - 1
        if left:
            self._attempts[tenant] = left
            self._tokens[tenant] -= flight.resident
            self._total -= flight.resident
        else:  # rounding must not accumulate
            del self._attempts[tenant]
            self._total -= self._tokens.pop(tenant)
        if not self._attempts:
            self._total = 0.0
        flight.resident = 0.0

    def part(self, tenant: str) -> float:
        """Return what a tenant holds as a multiple of an equal part (1 = as much as each would
        hold if all held the same); 0 if it holds nothing."""
        own = self._tokens.get(tenant, 0.0)
        return own * len(self._tokens) / self._total if own and self._total > 0 else 0.0
