"""A live run: a load against a system, with progress, crashes on request, and a checked report."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field

import click

from parallax.cli.output import show
from parallax.core.cells import Place
from parallax.core.clock import Clock
from parallax.core.errors import InvalidInput, ParallaxError
from parallax.core.model import Job
from parallax.producers.cells import Cells
from parallax.producers.client import Client
from parallax.producers.drive import Driver, Run
from parallax.producers.interface import Producer
from parallax.producers.report import HEAD, figures, totals
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
    weights: dict[str, float] = field(default_factory=dict)
    places: tuple[Place, ...] = ()  # several cells, instead of the one
    orders: Orders = field(default_factory=Orders)

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
        """Return a new client of what is driven."""
        return Cells.to(self.places) if self.places else Client(self.url, self.cell)

    def run(self, load: Iterable[tuple[float, Job]], speed: float = 1.0) -> Run:
        """Offer the load, wait for the ends, look every job up in the store.

        An order to stop ends it early; the run says so, and what is known so far.
        """
        client = self.connect()
        client.ping()  # without a server there is nothing to drive
        client.set_weights(self.weights)
        driver = Driver(client, self.clock)
        try:
            with progress() as told:

                def tick() -> None:
                    self.orders.check()
                    self._crash(len(driver.run.samples))
                    if self.system is not None:
                        self.system.watch()
                    told(len(driver.run.samples), driver.open)

                try:
                    driver.offer(load, speed, tick)
                    driver.settle(SETTLE_S, tick)
                except Interrupted:
                    driver.interrupt()
            driver.check()
        finally:
            client.close()
        return driver.run

    def _crash(self, offered: int) -> None:
        for crash in self.crashes:
            if not crash.done and offered >= crash.after:
                crash.done = kill(self.system, crash.victim)
                click.echo(f"killed {crash.done} with SIGKILL", err=True)


def kill(system: System | None, victim: str) -> str:
    """Kill a worker, the leading scheduler or the server; return who it was."""
    if system is None:
        raise InvalidInput("--kill", victim, "only a system started by this command may be harmed")
    if victim == "server" and system.server is not None:
        system.server.kill()
        return "server"
    if victim == "worker":
        name = system.fleet.alive("worker")[0]
    else:
        name = system.leader() or system.fleet.alive("scheduler")[0]
    system.fleet.kill(name)
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


@contextlib.contextmanager
def progress() -> Iterator[Callable[[int, int], None]]:
    """Give a function that shows (offered, open) on a terminal; elsewhere it is silent."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.status import Status

    with Status("starting", console=Console(stderr=True)) as status:

        def told(offered: int, open_: int) -> None:
            status.update(f"offered {offered:,}   waiting or running {open_:,}")

        yield told


def report(run: Run, live: Live, as_json: bool, window: tuple[float, float] | None) -> bool:
    """Show the figures of a run; return whether every promise was kept."""
    rows = figures(run, live.weights, window)
    summary = totals(run)
    summary["recovered"] = _recovered(live, run)
    summary["killed"] = [crash.done for crash in live.crashes if crash.done]
    kept = run.lost == 0 and run.twice == 0 and (run.interrupted or run.open == 0)
    if as_json:
        document = {"tenants": [asdict(row) for row in rows], **summary, "kept": kept}
        click.echo(json.dumps(document, indent=2))
        return kept
    show(None, as_json=False, title="By tenant (times in seconds)", head=HEAD,
         rows=[row.row() for row in rows])  # fmt: skip
    plain = [(name, _plain(value)) for name, value in summary.items()]
    show(None, as_json=False, title="All jobs", head=("what", "value"), rows=plain)
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


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return ", ".join(f"{word} {count}" for word, count in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(value) or "-"
    return value
