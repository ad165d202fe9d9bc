"""The autoscaler process: takes the seat, reads the load, has it decided what to do, and does it.

    standby --seat taken--> look every few seconds: load -> decision -> capacity -> record
       ^                                                         |
       +---- the seat is lost; any error: tried again later -----+

It knows nothing that is not read anew: the load from what the leader tells, who starts and who
leaves from whoever has the machines. Without news from a leader nothing is changed: a load that
nobody measures is no reason to start or to end anything.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.broker.store.scaling import (
    MOST_CHANGES,
    VERSION,
    Change,
    ScalingRecord,
    ScalingStore,
    Seat,
)
from parallax.core.clock import Clock
from parallax.core.errors import ParallaxError
from parallax.core.model import check_number
from parallax.core.settings import PolicyChoice
from parallax.scheduling.autoscaler import (
    Autoscaler,
    Bounds,
    Decision,
    Direction,
    Drain,
    Scaling,
    Start,
    build_autoscaler,
    coldness,
)
from parallax.scheduling.load import Load
from parallax.services.capacity.interface import Capacity
from parallax.telemetry.scaling import ScalingMetrics

log = logging.getLogger(__name__)

#: How long `run_once` waits at most, and how often machines are looked after (seconds).
TURN_S = 0.2
#: The seat lasts so many looks, and so long at least (seconds).
SEAT_LOOKS, SEAT_S = 4, 5.0


@dataclass(frozen=True, slots=True)
class ScalingSettings:
    """How a cell is scaled."""

    policy: PolicyChoice = field(default_factory=lambda: PolicyChoice("backlog_slo"))
    bounds: Bounds = field(default_factory=Bounds)
    every_s: float = 2.0  # between two decisions
    dry_run: bool = False  # decide and tell, change nothing

    def __post_init__(self) -> None:
        check_number("every", self.every_s, 0.1, 3_600.0)
        build_autoscaler(self.policy, self.bounds)  # a wrong name or parameter is refused now


class AutoscalerService:
    """One candidate for the seat; see the module's docstring."""

    def __init__(
        self,
        link: Link,
        keys: Keys,
        who: str,
        settings: ScalingSettings,
        capacity: Capacity,
        clock: Clock,
        metrics: ScalingMetrics | None = None,
    ) -> None:
        self._link, self._settings, self._capacity = link, settings, capacity
        self._clock, self._metrics, self._who = clock, metrics or ScalingMetrics(), who
        self._store = ScalingStore(link, keys)
        self._seat = Seat(link, keys, who, int(1000 * max(SEAT_S, SEAT_LOOKS * settings.every_s)))
        self._autoscaler: Autoscaler | None = None  # None: somebody else acts
        self._due = self._told_at = 0.0
        self._changes: list[Change] = []
        self._silent, self._last = False, ""

    @property
    def acting(self) -> bool:
        """Whether this process scales the cell, as far as it knows."""
        return self._autoscaler is not None

    def run_once(self) -> None:
        """Look after the machines; decide, if it is time; wait a little."""
        self._capacity.tend()
        if not self.turn():
            self._clock.wait(TURN_S)

    def turn(self) -> bool:
        """Decide, if it is time; say whether it was."""
        now = self._clock.monotonic()
        if now < self._due:
            return False
        self._due = now + self._settings.every_s
        if not self._seat.take():
            self._stand_by()
            return True
        if self._autoscaler is None:
            log.info("%s scales this cell, from %d to %d workers (%s)", self._who,
                     self._settings.bounds.fewest, self._settings.bounds.most,
                     self._capacity.name)  # fmt: skip
            self._autoscaler = build_autoscaler(self._settings.policy, self._settings.bounds)
            record = self._store.record()
            self._changes = [] if record is None else record.changes
        self._metrics.acting(True)
        self._look(self._autoscaler)
        return True

    def recover(self, error: Exception) -> None:
        """Decide anew, with the seat or without it, because the last decision may be outdated."""
        self._metrics.failed(error)
        self._metrics.acting(False)
        self._link.close()

    def close(self) -> None:
        """Leave the seat to another one."""
        if self._autoscaler is not None:
            try:
                self._seat.leave()
            except ParallaxError as error:
                log.warning("could not leave the seat: %s", error)
        self._capacity.close()
        self._link.close()

    def _stand_by(self) -> None:
        if self._autoscaler is not None:
            log.warning("another autoscaler has taken over; this one stands by")
        self._autoscaler = None
        self._metrics.acting(False)

    def _look(self, autoscaler: Autoscaler) -> None:
        report = self._store.load()
        if report is None or report.at == self._told_at:
            if report is None and not self._silent:
                log.warning("no leader tells the load: nothing is changed until one does")
            self._silent = report is None
            return
        self._told_at, self._silent = report.at, False
        actions = autoscaler.handle(self._seen(report.load()), self._clock.monotonic())
        decision = autoscaler.decision
        if decision is None:
            return
        self._metrics.decided(decision)
        self._tell(decision)
        try:
            if not self._settings.dry_run:
                self._carry_out(actions)
        finally:
            self._store.keep(self._record(decision))

    def _seen(self, load: Load) -> Load:
        """Complete a load by who starts and who leaves.

        Those who were asked to leave and do not say so yet count as leaving: where only the number
        is known, the coldest.
        """
        capacity, size = self._capacity, self._capacity.size()
        own = [worker for worker in load.serving if capacity.owns(worker.id)]
        staying = [worker for worker in own if capacity.stays(worker.id)]
        over = sorted(staying, key=coldness)[: max(0, len(staying) - size)]
        leaving = {worker.id for worker in own if worker not in staying or worker in over}
        workers = tuple(
            replace(worker, draining=True) if worker.id in leaving else worker
            for worker in load.workers
        )
        kept = frozenset(worker.id for worker in load.workers if not capacity.owns(worker.id))
        starting = max(0, size - len(staying))
        return replace(load, workers=workers, starting=starting, kept=kept)

    def _carry_out(self, actions: list[Scaling]) -> None:
        leaving = [action.worker for action in actions if isinstance(action, Drain)]
        for action in actions:
            if isinstance(action, Start):
                self._capacity.start(action.count)
        if leaving:
            self._capacity.drain(leaving)

    def _tell(self, decision: Decision) -> None:
        """Log what changes, and why nothing does if the reason is a new one."""
        moves = decision.direction is not Direction.NONE
        if moves or decision.reason.value != self._last:
            log.info("%s%s", "dry run: " if self._settings.dry_run else "", decision.text)
        self._last = decision.reason.value
        if moves:
            at = max(0.0, self._clock.now())
            change = Change(at, decision.direction.value, decision.wanted, decision.text)
            self._changes = [change, *self._changes][:MOST_CHANGES]

    def _record(self, decision: Decision) -> ScalingRecord:
        bounds = self._settings.bounds
        return ScalingRecord(
            VERSION, max(0.0, self._clock.now()), self._who, decision.policy, self._capacity.name,
            bounds.fewest, bounds.most, self._settings.dry_run, decision.wanted, decision.serving,
            decision.starting, decision.draining, decision.direction.value, decision.reason.value,
            decision.text, self._changes,
        )  # fmt: skip
