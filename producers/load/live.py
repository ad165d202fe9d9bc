"""A live run: a load against a system, with progress, crashes on request, and a checked report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import click

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.broker.store.tenancy import Tenancy
from parallax.cli.documents import LiveReport
from parallax.cli.output import show, show_one, write_json
from parallax.cli.progress import progress
from parallax.core.cells import Place, home
from parallax.core.clock import Clock
from parallax.core.errors import InvalidInput, ParallaxError, StoreFault, Unreachable
from parallax.core.model import Job
from parallax.producers.client.cells import Cells
from parallax.producers.client.client import Client
from parallax.producers.client.interface import Producer
from parallax.producers.load.drive import Driver, Run
from parallax.producers.load.report import HEAD, figures, row, totals
from parallax.services.orders import Interrupted, Orders
from parallax.services.system import System

SETTLE_S = 60.0


@dataclass(slots=True)
class Crash:
    """A process to kill with SIGKILL once so many jobs have been offered."""

    victim: str  # worker, scheduler or server
    after: int
    done: str = ""


@dataclass(slots=True)
class Live:
    """What a live run needs to know."""

    url: str
    cell: str
    clock: Clock
    system: System | None = None
    crashes: list[Crash] = field(default_factory=list)
    weights: dict[str, float] = field(default_factory=dict)  # those that are wanted
    places: tuple[Place, ...] = ()  # several cells, instead of the one
    orders: Orders = field(default_factory=Orders)
    in_force: dict[str, float] = field(default_factory=dict)  # read when the run begins

    @classmethod
    def of(
        cls, places: Sequence[Place], clock: Clock, system: System | None, crashes: list[Crash],
        weights: dict[str, float], orders: Orders,
    ) -> Live:  # fmt: skip
        """Return a run against one cell or several."""
        first, *others = places
        several = tuple(places) if others else ()
        return cls(first.url, first.name, clock, system, crashes, weights, several, orders)

    def connect(self) -> Producer:
        """Return a new client of what is driven: in a trace prefixes are shared by all tenants."""
        if self.places:
            return Cells.to(self.places, shared_prefixes=True)
        return Client(self.url, self.cell, shared_prefixes=True)

    def run(self, load: Iterable[tuple[float, Job]], speed: float = 1.0) -> Run:
        """Offer the load, wait for the ends, look every job up in the store.

        An order to stop ends it early; the run says so, and what is known so far.
        """
        client = self.connect()
        try:
            client.ping()  # without a server there is nothing to drive
            self._weigh(client)
            driver = Driver(client, self.clock)
            with progress() as told:

                def tick() -> None:
                    self.orders.check()
                    self._crash(len(driver.run.samples))
                    if self.system is not None:
                        self.system.watch()
                    told(f"offered {len(driver.run.samples):,}   open {driver.open:,}")

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
            self.in_force = self._read_weights()
        except StoreFault:  # the role `producer` may not
            if self.weights:
                raise
            told = "this user may not read the weights of tenants; all count as 1 below"
            click.echo(f"parallax: {told}", err=True)
        for tenant, weight in self.weights.items():
            found = self.in_force.get(tenant, 1.0)
            if found != weight:
                raise InvalidInput(
                    f"weight of {tenant}", weight,
                    f"the running cell gives it {found:g}: `parallax tenants set {tenant} --weight "
                    f"{weight:g}` changes that, --workers N starts a system of its own",
                )  # fmt: skip

    def _read_weights(self) -> dict[str, float]:
        """Return the weights that are in force, each from its tenant's own cell."""
        places = self.places or (Place(self.cell, self.url),)
        shares = {place.name: place.weight for place in places}
        found: dict[str, float] = {}
        for place in places:
            link = Link.to(place.url)
            try:
                weights = Tenancy(link, Keys(place.name)).weights()
            finally:
                link.close()
            found |= {t: w for t, w in weights.items() if home(t, shares) == place.name}
        return found

    def _crash(self, offered: int) -> None:
        for crash in self.crashes:
            if not crash.done and offered >= crash.after:
                with suppress(Unreachable):  # the server is away, and so is who leads
                    crash.done = kill(self.system, crash.victim)
                if crash.done:  # else the next tick tries again
                    click.echo(f"killed {crash.done} with SIGKILL", err=True)


def kill(system: System | None, victim: str) -> str:
    """Kill a worker, the leading scheduler or the server; return who it was, "" if none is alive.

    Raises Unreachable while nobody can say who leads.
    """
    if system is None:
        raise InvalidInput("--kill", victim, "only a system started by this command may be harmed")
    if victim == "server" and system.server is not None:
        system.server.kill()
        return "server"
    if victim == "worker":
        name = next(iter(system.processes.alive("worker")), "")
    else:
        alive = system.processes.alive("scheduler")
        leader = system.leader() if alive else None
        name = leader if leader in alive else next(iter(alive), "")
    if name:
        system.processes.kill(name)
    return name


def parsed_crashes(texts: Iterable[str], total: int | None) -> list[Crash]:
    """Read "worker@50%" or "scheduler@2000" (jobs offered); without "@" it is halfway."""
    crashes = []
    for text in texts:
        victim, _, when = text.partition("@")
        when = when or "50%"
        number = when.removesuffix("%")
        known = victim in {"worker", "scheduler", "server"}
        if not known or not number.isdecimal() or (when.endswith("%") and total is None):
            allowed = "worker, scheduler or server, and @JOBS or (with --limit) @PERCENT%"
            raise InvalidInput("--kill", text, allowed)
        after = int(number) * (total or 0) // 100 if when.endswith("%") else int(number)
        crashes.append(Crash(victim, after))
    return crashes


def overloaded(run: Run, duration_s: float) -> tuple[float, float]:
    """Return when every tenant was backlogged, if the load is an overload: not in its first fifth.

    Seconds from the start; of a run that was ended early the second half.
    """
    return min(0.2 * duration_s, 0.5 * run.offered_s), run.offered_s


def report(run: Run, live: Live, as_json: bool, window: tuple[float, float] | None) -> bool:
    """Show the figures of a run; return whether every promise was kept."""
    rows = figures(run, live.in_force, window)
    kept = run.lost == 0 and run.twice == 0 and (run.interrupted or run.open == 0)
    found = LiveReport(
        tenants=rows,
        recovered=_recovered(live, run),
        killed=[crash.done for crash in live.crashes if crash.done],
        kept=kept,
        **totals(run),
    )
    if as_json:
        write_json(found)
        return kept
    show(None, as_json=False, title="By tenant (times in seconds)", head=HEAD,
         rows=[row(one) for one in rows])  # fmt: skip
    for one in rows:
        if one.note:
            click.echo(f"{one.tenant} {one.note}")
    show_one(found, as_json=False, title="All jobs", without=("tenants",))
    return kept


def _recovered(live: Live, run: Run) -> dict[str, int]:
    client = live.connect()
    try:
        counts = client.counts()
    except ParallaxError:
        if not run.interrupted:
            raise
        return {}  # it may have been interrupted because the server is gone
    finally:
        client.close()
    told = ("reclaimed", "repaired", "late", "requeued", "malformed")
    return {word: count for word, count in sorted(counts.items()) if word in told}
