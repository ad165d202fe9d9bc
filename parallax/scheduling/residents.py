"""Accounts KV memory by tenant, so that its pressure refuses only the tenant that causes it."""

from __future__ import annotations

from dataclasses import dataclass, field

from parallax.scheduling.in_flight import InFlight


@dataclass(slots=True)
class Residents:
    """Tokens that the attempts in flight of each tenant are expected to hold in the end.

    Counting an attempt twice, or taking it out twice, changes nothing. O(1) each; memory follows
    the tenants with attempts in flight.
    """

    _held: dict[str, list[float]] = field(default_factory=dict)  # tenant -> tokens, attempts
    _total: float = 0.0

    def take(self, attempt: InFlight) -> None:
        """An attempt is in flight."""
        if attempt.resident:
            return
        tokens = attempt.resident = attempt.job.prompt_tokens + attempt.output + 1.0
        held = self._held.get(attempt.job.tenant)
        if held is None:
            self._held[attempt.job.tenant] = [tokens, 1.0]
        else:
            held[0] += tokens
            held[1] += 1.0
        self._total += tokens

    def release(self, attempt: InFlight) -> None:
        """An attempt is over."""
        tokens = attempt.resident
        if not tokens:
            return
        held = self._held[attempt.job.tenant]
        held[0] -= tokens
        held[1] -= 1.0
        self._total -= tokens
        if held[1] == 0.0:
            del self._held[attempt.job.tenant]
            if not self._held:
                self._total = 0.0  # rounding must not accumulate
        attempt.resident = 0.0

    def attempts(self) -> dict[str, int]:
        """Return how many attempts of each tenant are in flight. O(tenants with any)."""
        return {tenant: int(count) for tenant, (_, count) in self._held.items()}

    def part(self, tenant: str) -> float:
        """Return what a tenant holds as a multiple of an equal part (1 = as much as each would
        hold if all held the same); 0 if it holds nothing."""
        held = self._held.get(tenant)
        return held[0] * len(self._held) / self._total if held and self._total > 0 else 0.0
