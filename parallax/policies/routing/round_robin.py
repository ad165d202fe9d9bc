"""Round robin: every worker in turn, in proportion to its weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from parallax.core.model import ClusterView, JobView
from parallax.policies.registry import ROUTING
from parallax.policies.routing.placing import Tally


@ROUTING.register("round_robin")
@dataclass(slots=True)
class RoundRobin:
    """Smooth weighted round robin: over sum(weights) picks each worker gets exactly its weight.

    Each pick adds every candidate's weight to its credit, takes the richest and charges it the
    sum. Credits belong to worker ids, not to places in a list, so that a worker that joins or
    leaves does not make others skip or serve twice; a worker that left is forgotten.

    Source: nginx's smooth weighted round robin; optimal among policies that see no state when
    servers are alike (Liu & Towsley 1994). Cost: O(workers) per job. Use it as the baseline. It
    balances counts, not work: with jobs of very different sizes or workers of different speeds,
    `least_loaded` waits far less.
    """

    _credit: dict[str, float] = field(default_factory=dict, init=False, repr=False)

    def route(
        self, jobs: Sequence[JobView], estimates: Sequence[float], cluster: ClusterView
    ) -> list[str | None]:
        """See `interfaces.RoutingPolicy`."""
        tally = Tally.of(cluster)
        weights = [worker.weight for worker in cluster.workers]
        credit = [self._credit.get(name, 0.0) for name in tally.ids]
        routes: list[str | None] = []
        for cost in estimates:
            total = 0.0
            best = -1
            for i in tally.open:
                credit[i] += weights[i]
                total += weights[i]
                if best < 0 or credit[i] > credit[best]:
                    best = i
            if best < 0:
                routes.append(None)
            else:
                credit[best] -= total
                routes.append(tally.place(best, cost))
        # A worker that is merely full keeps its credit; one that left the fleet drops out when the
        # memory is trimmed to twice those in view.
        self._credit.update(zip(tally.ids, credit, strict=True))
        if len(self._credit) > 2 * len(tally.ids) + 16:
            self._credit = dict(zip(tally.ids, credit, strict=True))
        return routes
