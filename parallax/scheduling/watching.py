"""Looking over the scheduler's shoulder: what it asked a routing policy, and what it was told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from parallax.core.model import ClusterView, JobView
from parallax.policies.interfaces import RoutingPolicy


class Watcher(Protocol):
    """Is told of every placement; must change nothing."""

    def asked(
        self,
        policy: RoutingPolicy,
        jobs: Sequence[JobView],
        estimates: Sequence[float],
        cluster: ClusterView,
    ) -> None:
        """A policy is about to place these jobs together."""

    def told(self, routes: Sequence[str | None]) -> None:
        """It has placed them so."""
