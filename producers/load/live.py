"""A live run: a load is offered to a system, processes are killed on request, ends are checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from parallax.core.cells import CellAddress
from parallax.core.clock import Clock
from parallax.core.errors import StoreFault, Unreachable
from parallax.core.model import Job
from parallax.producers.client.cells import Cells
from parallax.producers.client.client import Client
from parallax.producers.client.interface import Producer
from parallax.producers.load.crashes import Crash, kill
from parallax.producers.load.drive import Driver, Run
from parallax.producers.load.weights import check_wanted, in_force
from parallax.services.orders import Interrupted, Orders
from parallax.services.system import System

SETTLE_S = 60.0
#: Shows a text to the viewer of the run.
Tell = Callable[[str], None]


def _unheard(_: str) -> None:
    """Nobody watches."""


def _nothing() -> None:
    """Nothing is to be done beside the run."""


@dataclass(slots=True)
class Live:
    """The parameters of a live run."""

    url: str
    cell: str
    clock: Clock
    system: System | None = None
    crashes: list[Crash] = field(default_factory=list)
    weights: dict[str, float] = field(default_factory=dict)  # those that are wanted
    places: tuple[CellAddress, ...] = ()  # several cells, instead of the one
    orders: Orders = field(default_factory=Orders)
    say: Tell = _unheard  # a line for each thing that happens
    progress: Tell = _unheard  # each text replaces the one before
    beside: Callable[[], None] = _nothing  # called again and again while it runs
    in_force: dict[str, float] = field(default_factory=dict)  # read when the run begins
    bodies: Mapping[str, bytes] = field(default_factory=dict)  # of jobs that have one, by their id

    @classmethod
    def of(
        cls, places: Sequence[CellAddress], clock: Clock, system: System | None,
        crashes: list[Crash], weights: dict[str, float], orders: Orders,
    ) -> Live:  # fmt: skip
        """Return a run against one cell or several."""
        first, *others = places
        several = tuple(places) if others else ()
        return cls(first.url, first.name, clock, system, crashes, weights, several, orders)

    def connect(self) -> Producer:
        """Return a client of the driven system: in a trace all tenants share prefixes."""
        if self.places:
            return Cells.to(self.places, shared_prefixes=True)
        return Client(self.url, self.cell, shared_prefixes=True)

    def run(self, load: Iterable[tuple[float, Job]], speed: float = 1.0) -> Run:
        """Offer the load, wait for the ends, look every job up in the store.

        An order to stop ends it early; the run says so, and reports the results so far.
        """
        client = self.connect()
        try:
            client.ping()  # without a server there is nothing to drive
            self._weigh(client)
            driver = Driver(client, self.clock, bodies=self.bodies)

            def tick() -> None:
                self.orders.check()
                self._crash(len(driver.run.samples))
                if self.system is not None:
                    self.system.watch()
                self.beside()
                self.progress(f"offered {len(driver.run.samples):,}   open {driver.open:,}")

            try:
                driver.offer(load, speed, tick)
                driver.settle(SETTLE_S, tick)
            except Interrupted:
                driver.interrupt()
            driver.check()
        finally:
            client.close()
        return driver.run

    def _weigh(self, client: Producer) -> None:
        """Set the wanted weights in a system of our own; one that runs keeps those it has."""
        if self.system is not None:
            client.set_weights(self.weights)
        try:
            self.in_force = in_force(self.places or (CellAddress(self.cell, self.url),))
        except StoreFault:  # the role `producer` may not
            if self.weights:
                raise
            self.say("this user may not read the weights of tenants; all count as 1 below")
        check_wanted(self.weights, self.in_force)

    def _crash(self, offered: int) -> None:
        for crash in self.crashes:
            if not crash.done and offered >= crash.after:
                with suppress(Unreachable):  # the server is away, and so is who leads
                    crash.done = kill(self.system, crash.victim)
                if crash.done:  # else the next tick tries again
                    self.say(f"killed {crash.done} with SIGKILL")
