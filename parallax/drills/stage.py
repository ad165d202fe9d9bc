"""The stage of a drill: a private server, schedulers, workers, and one worker behind a proxy."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

from parallax.broker.connection import Link
from parallax.broker.embedded import EmbeddedServer, socket_path
from parallax.broker.keys import Keys
from parallax.broker.membership import Membership
from parallax.broker.server_home import ServerInfo
from parallax.core.clock import Clock
from parallax.core.errors import ParallaxError, Unreachable
from parallax.drills.proxy import Proxy
from parallax.services.orders import Orders
from parallax.services.system import Plan, System

HEARTBEAT_S, LEASE_S, SWEEP_S, GRACE_S = 1.5, 1.0, 0.5, 2.5
POISON = "poison"
CELL = "drill"
FAR = "worker-far"  # the child behind the proxy

_WORKER = (
    "--engine", "clock", "--speed", "20", "--slots", "8", "--heartbeat", f"{HEARTBEAT_S}",
    "--crash-on", POISON, "--slow", "0.01:20", "--fail", "0.01",
)  # fmt: skip
_SCHEDULER = (
    "--lease", f"{LEASE_S}", "--heartbeat", f"{HEARTBEAT_S}", "--sweep", f"{SWEEP_S}",
    "--repair-grace", f"{GRACE_S}", "--routing", "disaggregated", "--set", "min_tokens=300",
    "--set", "disturbance=100", "--hedging", "tied:delay_s=0.05:budget=0.05",
    "--stealing", "steal_half", "--set", "gate.prefetch=4",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cast:
    """How many of each; one of the workers computes prompts only, one stands behind a proxy."""

    workers: int = 3
    schedulers: int = 2
    durability: str = "always"


class Stage:
    """Everything that a drill starts, breaks, and stops. Use it in a `with`."""

    def __init__(
        self, cast: Cast, clock: Clock, logs: Path | None = None, orders: Orders | None = None
    ) -> None:
        self.clock, self.keys = clock, Keys(CELL)
        self.folder = Path(tempfile.mkdtemp(prefix="plx-drill-", dir=_short()))
        self.histories = self.folder / "histories"
        self.histories.mkdir()
        plan = Plan(
            0,
            cast.schedulers,
            scheduler_arguments=_SCHEDULER,
            durability=cast.durability,
            cell=CELL,
        )
        logs, self._orders = logs or Path(os.devnull), orders or Orders()
        self.system = System(
            plan, clock, home=self.folder / "data", ephemeral=False, logs=logs, orders=self._orders
        )
        self.system.guardian.keep(self.folder)
        self._workers = cast.workers
        self._proxy: Proxy | None = None

    def __enter__(self) -> Stage:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _start(self) -> None:
        self.system.start()
        self.system.fleet.longest_pause_s = 0.1
        self._proxy = Proxy(socket_path(self._info), self.folder / "p")
        for n in range(1, self._workers + 1):
            self._worker(f"worker-{n}", f"w{n}", "decode" if n == 1 else "both")
        self._worker("worker-prompts", "p", "prefill")
        far = urlsplit(self.system.url)._replace(path=str(self.proxy.path)).geturl()
        self._worker(FAR, "far", "both", {"PARALLAX_REDIS": far})

    def _worker(
        self, child: str, name: str, role: str, environment: dict[str, str] | None = None
    ) -> None:
        history = str(self.histories / f"{child}.jsonl")
        arguments = (*_WORKER, "--name", name, "--role", role, "--history", history)
        self.system.fleet.start(child, "worker", *arguments, environment=environment)

    @property
    def server(self) -> EmbeddedServer:
        """The server."""
        if self.system.server is None:
            raise Unreachable("a drill has a server of its own")
        return self.system.server

    @property
    def _info(self) -> ServerInfo:
        if self.server.info is None:
            raise Unreachable("the server has not been started")
        return self.server.info

    @property
    def server_pid(self) -> int:
        """The server's process id."""
        return self._info.pid

    @property
    def proxy(self) -> Proxy:
        """What stands between the far worker and the server."""
        if self._proxy is None:
            raise Unreachable("the stage has not been set")
        return self._proxy

    def link(self) -> Link:
        """Return a new link to the server."""
        return Link.to(self.system.url)

    def members(self) -> int:
        """Return how many workers are alive; 0 while the server is away."""
        link = self.link()
        try:
            return sum(member.alive for member in Membership(link, self.keys).members())
        except ParallaxError:
            return 0
        finally:
            link.close()

    @property
    def workers(self) -> list[str]:
        """The names of the worker processes that run."""
        return self.system.fleet.alive("worker")

    def pid(self, child: str) -> int:
        """Return the process id of a child."""
        return self.system.fleet.children[child].process.pid

    def close(self) -> None:
        """Stop everything and remove its files."""
        if self._orders.stop.is_set():
            self._orders.hurry()
        self.system.stop()
        if self._proxy is not None:
            self._proxy.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _short() -> str | None:
    """Return a directory whose name leaves room for a socket's, which may have 100 characters."""
    return None if len(tempfile.gettempdir()) < 40 else "/tmp"  # noqa: S108 - mkdtemp is private
