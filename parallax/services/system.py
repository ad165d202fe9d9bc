"""A whole Parallax on one machine: embedded server, schedulers, workers.

`up` keeps one running; `demo`, `replay`, `loadgen` and the benchmarks borrow a private one for as
long as they last.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from parallax.broker.link.connection import Link
from parallax.broker.server.embedded import EmbeddedServer
from parallax.broker.server.guardian import Guardian
from parallax.broker.store.keys import Keys
from parallax.broker.store.membership import Membership
from parallax.core.clock import Clock
from parallax.core.errors import ParallaxError, StoreFault, Unreachable
from parallax.services.orders import Orders
from parallax.services.processes import RESTART_BASE_S, RESTART_CAP_S, Processes
from parallax.services.renewal import Renewal

log = logging.getLogger(__name__)

READY_S = 30.0
#: A process that can only be seen to run is taken to serve after so long (seconds).
SETTLE_S = 3.0
GATEWAY, EXPORTER, DASHBOARD = "gateway", "exporter", "dashboard"  # the names of processes
#: Where a dashboard finds the token that its address ends with.
TOKEN_VARIABLE = "PARALLAX_DASHBOARD_TOKEN"  # noqa: S105 - a name


@dataclass(frozen=True, slots=True)
class Plan:
    """The processes to run: how many of each kind, and with which arguments."""

    workers: int = 4
    schedulers: int = 2
    worker_arguments: Sequence[str] = ()
    scheduler_arguments: Sequence[str] = ()
    durability: str = "everysec"
    cell: str = "main"
    metrics_port: int | None = None  # of the first scheduler; after the others come the workers,
    # the gateway, and the exporter of the whole cell
    metrics_host: str = "127.0.0.1"
    gateway_port: int | None = None  # of the gateway on the loopback address; None: there is none
    backends: Sequence[Sequence[str]] = ()  # arguments of the n-th worker alone
    dashboard_port: int | None = None  # of the dashboard on the loopback address, if there is one
    dashboard_token: str = ""  # what its address ends with
    most_workers: int = 0  # that an autoscaler may start
    prefix: str = "w"  # of the workers' names, before their numbers

    def metrics(self, place: int) -> tuple[str, ...]:
        """Return the arguments that let the process at this place (from 0) serve its metrics."""
        port = self.metrics_port
        if port is None:
            return ()
        return ("--metrics-host", self.metrics_host, "--metrics-port", str(port + place))

    @property
    def places(self) -> int:
        """How many places schedulers and workers may take: ports of others follow."""
        return self.schedulers + max(self.workers, self.most_workers)

    @property
    def exporter_port(self) -> int | None:
        """The port of the exporter of the whole cell; None if there is none."""
        if self.metrics_port is None:
            return None
        return self.metrics_port + self.places + (self.gateway_port is not None)


class System:
    """Starts everything, waits until it is ready, stops everything in the right order."""

    def __init__(
        self,
        plan: Plan,
        clock: Clock,
        *,
        url: str | None = None,
        home: Path | None = None,
        ephemeral: bool = False,
        restart: bool = True,
        logs: Path | None = None,
        orders: Orders | None = None,
        binary: Path | None = None,  # the server to embed; else the one that is found
    ) -> None:
        self.plan, self._clock = plan, clock
        self.server: EmbeddedServer | None = None
        self.guardian, self._orders = Guardian(), orders or Orders()
        self._forgets = url is None and ephemeral  # nothing of it outlives this command
        if url is None:
            self.server = EmbeddedServer(
                clock, home=home, durability=plan.durability, ephemeral=ephemeral, binary=binary,
                guardian=self.guardian, check=self._orders.check,
            )  # fmt: skip
        self._url = url
        self._restart, self._logs = restart, logs
        self._processes: Processes | None = None
        self._renewal: Renewal | None = None
        self._revive_at, self._in_vain = 0.0, 0  # the next try to start the server, and failed ones

    @property
    def url(self) -> str:
        """The server's URL."""
        if self._url is None:
            raise Unreachable("the system has not been started")
        return self._url

    @property
    def processes(self) -> Processes:
        """The processes."""
        if self._processes is None:
            raise Unreachable("the system has not been started")
        return self._processes

    def __enter__(self) -> System:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start server and processes; return when every worker has registered, and one leads.

        Raises StoreFault if that takes too long, ParallaxError if a process refuses what it was
        told: it would be started again for ever.
        """
        try:
            if self.server is not None:
                self._url = self.server.start().url
            environment = {"PARALLAX_REDIS": self.url, "PARALLAX_CELL": self.plan.cell}
            self._processes = Processes(
                environment, self._clock, self._logs, self._restart,
                hurried=self._hurried, guardian=self.guardian,
            )  # fmt: skip
            self._renewal = Renewal(self.processes, self._serves, self._clock)
            for n in range(1, self.plan.schedulers + 1):
                self.start_scheduler(n)
            for n in range(1, self.plan.workers + 1):
                self.start_worker(n)
            if self.plan.gateway_port is not None:
                self.start_gateway(self.plan.gateway_port)
            if self.plan.dashboard_port is not None:
                own = {TOKEN_VARIABLE: self.plan.dashboard_token}
                port = str(self.plan.dashboard_port)
                self.processes.start(DASHBOARD, "dashboard", "--port", port, environment=own)
            if self.plan.metrics_port is not None:
                self.start_exporter()
            self.await_workers(self.plan.workers)
            if self.plan.gateway_port is not None:
                self.await_gateway(self.plan.gateway_port)
            if self.plan.dashboard_port is not None:
                self.await_port(DASHBOARD, self.plan.dashboard_port)
        except BaseException:
            self.stop()
            raise

    def start_scheduler(self, number: int) -> None:
        """Start a scheduler: the first to get the lease leads, the others stand by."""
        arguments = (*self.plan.scheduler_arguments, *self.plan.metrics(number - 1))
        self.processes.start(f"scheduler-{number}", "scheduler", *arguments)

    def start_worker(self, number: int) -> None:
        """Start a worker."""
        name = f"worker-{number}"
        place = self.plan.schedulers + number - 1
        own = self.plan.backends[number - 1] if number <= len(self.plan.backends) else ()
        arguments = (*self.plan.worker_arguments, *own, *self.plan.metrics(place))
        self.processes.start(name, "worker", "--name", f"{self.plan.prefix}{number}", *arguments)

    def start_gateway(self, port: int) -> None:
        """Start a gateway on the loopback address."""
        metrics = self.plan.metrics(self.plan.places)
        self.processes.start(GATEWAY, "gateway", "--port", str(port), *metrics)

    def start_exporter(self) -> None:
        """Start what tells of the whole cell, on the last of the ports."""
        place = self.plan.places + (self.plan.gateway_port is not None)
        self.processes.start(EXPORTER, "exporter", *self.plan.metrics(place))

    def renewal_asked(self) -> bool:
        """Whether `up --reload` has asked for new processes since the last look."""
        return self.server is not None and self.server.renewal_asked()

    def renew(self) -> None:
        """Let `watch` replace all processes but the server, one by one, while the others serve."""
        if self._renewal is not None:
            self._renewal.begin()

    def _serves(self, name: str) -> bool:
        """Whether a process does its work: a worker is registered, others listen or have run."""
        kind, _, number = name.partition("-")
        child = self.processes.children[name]
        if kind == "worker":
            return self._is_registered(child.told("--name") or f"{self.plan.prefix}{number}")
        port = {GATEWAY: self.plan.gateway_port, DASHBOARD: self.plan.dashboard_port}.get(name)
        if port is not None:
            return _accepts(port)
        return self._clock.monotonic() - child.since > SETTLE_S

    def _is_registered(self, worker: str) -> bool:
        """Whether a worker lives: one that was asked to end has signed off before it ended."""
        link = Link.to(self.url)
        try:
            members = Membership(link, Keys(self.plan.cell)).members()
            return any(one.alive and one.worker.rpartition("-")[0] == worker for one in members)
        except ParallaxError:
            return False  # the server is away: ask again
        finally:
            link.close()

    def watch(self) -> list[str]:
        """Restart processes that ended unasked, the server included; return their names.

        Raises Interrupted once the user wants the command to end.
        """
        self._orders.check()
        ended = self.processes.watch()
        if self._revived():
            ended.append("server")
        if self._renewal is not None:
            self._renewal.step()
        return ended

    def _revived(self) -> bool:
        """Start a server again that died; say whether it had.

        While its disk is full it dies again: pauses grow, and whoever needs it waits meanwhile.
        """
        now = self._clock.monotonic()
        if self.server is None or now < self._revive_at:
            return False
        try:
            revived = self.server.restart_if_dead()
        except (ParallaxError, OSError) as error:
            pause = min(RESTART_CAP_S, RESTART_BASE_S * 2**self._in_vain)
            self._revive_at, self._in_vain = self._clock.monotonic() + pause, self._in_vain + 1
            log.error("the server cannot be started again; next try in %g s: %s", pause, error)  # noqa: TRY400 - no news in its traceback
            return False
        self._in_vain = 0
        return revived

    def leader(self) -> str | None:
        """Return the name of the child that leads now."""
        link = Link.to(self.url)
        try:
            token = link.call("GET", Keys(self.plan.cell).leader)
        finally:
            link.close()
        pid = (token or b"").partition(b"|")[0].rsplit(b"-", 1)[-1]
        for name, child in self.processes.children.items():
            if str(child.process.pid).encode() == pid:
                return name
        return None

    def stop(self) -> None:
        """Stop the processes first, so that they can sign off, and then the server.

        Once the user is in a hurry, or nothing will be left to sign off from, they are killed.
        """
        if self._processes is not None:
            self._processes.stop()
        if self.server is not None:
            self.server.stop()
        self.guardian.close()

    def _hurried(self) -> bool:
        return self._orders.now.is_set() or (self._forgets and self._orders.stop.is_set())

    def await_workers(self, count: int) -> None:
        """Return when so many workers have registered, and a scheduler leads.

        Raises StoreFault if they do not, ParallaxError if a process ended for wrong usage.
        """
        link, keys = Link.to(self.url), Keys(self.plan.cell)
        deadline, led = self._clock.monotonic() + READY_S, False
        try:
            while self._clock.monotonic() < deadline:
                led = not self.plan.schedulers or link.call("GET", keys.leader) is not None
                if self.processes.misused():
                    break
                if led and sum(one.alive for one in Membership(link, keys).members()) >= count:
                    return
                self._orders.check()
                if self.processes.watch() and not self._restart:
                    break
                self._clock.wait(0.02)
        finally:
            link.close()
        self._check_usage()
        missing = "the workers" if led else "the schedulers"
        raise StoreFault(f"{missing} did not start within {READY_S:g} s; see their logs")

    def await_gateway(self, port: int) -> None:
        """Return when the gateway accepts connections; raises as `await_workers` does."""
        self.await_port(GATEWAY, port)

    def await_port(self, name: str, port: int) -> None:
        """Return when the process of that name accepts connections; raises the same."""
        deadline = self._clock.monotonic() + READY_S
        while self._clock.monotonic() < deadline:
            self._check_usage()
            if _accepts(port):
                return
            self._orders.check()
            self._clock.wait(0.05)
        raise StoreFault(f"the {name} did not start within {READY_S:g} s; see its log")

    def _check_usage(self) -> None:
        for name in self.processes.misused():
            raise ParallaxError(f"{name} cannot be started as it was told to; its log says why")


def _accepts(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return True
    except OSError:
        return False


def free_port(wanted: int) -> int:
    """Return a port of the loopback address that is free now: this one, if it is."""
    for port in (wanted, 0):
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(tried.getsockname()[1])
    raise StoreFault("no port of the loopback address is free")
