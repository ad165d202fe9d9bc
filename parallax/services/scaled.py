"""Systems of this process that are scaled by it: `up --autoscale`, and the demo."""

from __future__ import annotations

from collections.abc import Iterable

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.core.clock import Clock
from parallax.services import service
from parallax.services.autoscaler import AutoscalerService, ScalingSettings
from parallax.services.capacity.local import LocalCapacity
from parallax.services.system import System


class Scaled:
    """An autoscaler for each system, turned by whoever watches the systems."""

    def __init__(
        self, systems: Iterable[System], settings: ScalingSettings, clock: Clock, who: str
    ) -> None:
        self._failures = 0
        self._duties = [
            AutoscalerService(
                Link.to(system.url), Keys(system.plan.cell), who, settings, LocalCapacity(system),
                clock,
            )
            for system in systems
        ]  # fmt: skip

    def turn(self) -> None:
        """Decide, where it is time. A failure is told, and tried again at the next look."""
        for duty in self._duties:
            try:
                if duty.turn():
                    self._failures = 0
            except Exception as error:  # noqa: BLE001 - whoever watches must go on watching
                self._failures += 1
                service.tell(error, self._failures)
                duty.recover(error)

    def close(self) -> None:
        """Leave the seats."""
        for duty in self._duties:
            duty.close()
