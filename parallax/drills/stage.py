"""The stage of a drill: a private server, schedulers and workers, as its shape says.

Up to `PROCESSES` workers are processes of their own: one computes prompts only, one stands behind a
proxy that faults can cut. The others are threads of one more process (`crew`). With a round trip,
all of them speak to the server through a proxy that takes its time. Before gateways, if there are
any, stands a further worker, whose answers take long; the first of them shares the far worker's
proxy.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

from parallax.broker.link.connection import Link
from parallax.broker.server.embedded import EmbeddedServer, socket_path
from parallax.broker.server.home import DataDirectory, ServerInfo
from parallax.broker.server.temporary import new_home
from parallax.broker.store.keys import Keys
from parallax.broker.store.membership import Membership
from parallax.core.clock import Clock
from parallax.core.errors import ParallaxError, StoreFault, Unreachable
from parallax.core.model import NAME
from parallax.drills.crew import FAIL, POISON, SLOW, SPEED, Crewed
from parallax.drills.disk import SmallDisk
from parallax.drills.gateways import Gateways
from parallax.drills.proxy import Proxy
from parallax.drills.shape import PROCESSES, Shape
from parallax.drills.wishes import SLOW as SLOW_MODEL
from parallax.services.orders import Orders
from parallax.services.system import Plan, System

log = logging.getLogger(__name__)

__all__ = ["CELL", "FAR", "POISON", "PREFETCH", "Cast", "Stage"]

CELL = "drill"
#: Workers whose engine answers nothing, whatever it is asked; the others read bodies, and answer.
SILENT = frozenset({"worker-1"})
FAR = "worker-far"  # the child behind a proxy of its own
LASTING = "worker-slow"  # the child that serves a model of its own, and this much slower than time
LASTING_SPEED = 0.2
SWEEP_S = 0.5
PREFETCH = 4  # attempts that are sent to a worker beyond its slots


@dataclass(frozen=True, slots=True)
class Cast:
    """How many schedulers and gateways there are, and what the server writes before it answers."""

    schedulers: int = 2
    durability: str = "always"
    gateways: int = 0  # half of the load goes through them, if there are any


class Stage:
    """Everything that a drill starts, breaks, and stops. Use it in a `with`."""

    def __init__(
        self,
        cast: Cast,
        clock: Clock,
        logs: Path | None = None,
        orders: Orders | None = None,
        shape: Shape | None = None,
    ) -> None:
        self.clock, self.keys, self.shape = clock, Keys(CELL), shape or Shape()
        self.folder = _new_home()
        self._home = DataDirectory(self.folder)
        self._home.take(clock)  # a later start removes it, if nobody is left who could
        self.histories = self.folder / "histories"
        self.histories.mkdir()
        self._cast, self._logs = cast, logs or Path(os.devnull)
        self._orders = orders or Orders()
        plan = Plan(0, 0, durability=cast.durability, cell=CELL)
        home = self.folder / "data"
        self.disk = _small_disk(home) if self.shape.disk else None
        self.system = System(
            plan, clock, home=home, ephemeral=False, logs=self._logs, orders=self._orders
        )
        self.system.guardian.keep(self.folder)
        self._proxy: Proxy | None = None
        self._ocean: Proxy | None = None
        self.crew: Crewed | None = None
        self._gateways: Gateways | None = None
        #: Jobs whose records were damaged by hand: whatever becomes of them is right.
        self.spoiled: set[str] = set()
        self.junk: Counter[str] = Counter()  # how often junk was written, by key or family

    def __enter__(self) -> Stage:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- processes ------------------------------------------------------------------------------

    def _start(self) -> None:
        self.system.start()
        children, shape, server = self.system.processes, self.shape, socket_path(self._info)
        children.longest_pause_s = 0.1
        self._proxy = Proxy(server, self.folder / "p", shape.rtt_s)
        near: dict[str, str] = {}
        if shape.rtt_ms:
            self._ocean = Proxy(server, self.folder / "o", shape.rtt_s)
            near = {"PARALLAX_REDIS": self._through(self._ocean)}
        for n in range(1, self._cast.schedulers + 1):
            children.start(f"scheduler-{n}", "scheduler", *self._leading(), environment=near)
        for n in range(1, min(shape.workers, PROCESSES) - 1):
            self._worker(f"worker-{n}", f"w{n}", "decode" if n == 1 else "both", near)
        self._worker("worker-prompts", "p", "prefill", near)
        far = self._through(self._proxy)
        self._worker(FAR, "far", "both", {"PARALLAX_REDIS": far})
        self._gateways = Gateways(children, self.clock)
        if self._cast.gateways:
            self._worker(LASTING, "slow", "both", near, LASTING_SPEED, "--model", SLOW_MODEL)
            link, url = self.link(), near.get("PARALLAX_REDIS", self.system.url)
            self._gateways.start(self._cast.gateways, link, self.keys, {1: far}, url)
            link.close()
        if shape.crowd:
            self.crew = self._crewed({"PARALLAX_REDIS": self.system.url, **near})

    def _through(self, proxy: Proxy) -> str:
        return urlsplit(self.system.url)._replace(path=str(proxy.path)).geturl()

    def _worker(
        self, child: str, name: str, role: str, environment: dict[str, str],
        speed: float = SPEED, *more: str,
    ) -> None:  # fmt: skip
        history = str(self.histories / f"{child}.jsonl")
        arguments = (
            "--engine", "clock" if child in SILENT else "echo", "--speed", f"{speed:g}",
            "--slots", f"{self.shape.slots}",
            "--heartbeat", f"{self.shape.heartbeat_s:g}", "--crash-on", POISON,
            "--slow", "{:g}:{:g}".format(*SLOW), "--fail", f"{FAIL:g}",
            "--name", name, "--role", role, "--history", history, *more,
        )  # fmt: skip
        self.system.processes.start(child, "worker", *arguments, environment=environment)

    def _leading(self) -> tuple[str, ...]:
        shape = self.shape
        return (
            "--lease", f"{shape.lease_s:g}", "--heartbeat", f"{shape.heartbeat_s:g}",
            "--sweep", f"{SWEEP_S:g}", "--repair-grace", f"{shape.grace_s:g}",
            "--routing", "disaggregated", "--set", "min_tokens=300",
            "--set", "disturbance=100", "--hedging", "tied:delay_s=0.05:budget=0.05",
            "--stealing", "steal_half", "--set", f"gate.prefetch={PREFETCH}",
        )  # fmt: skip

    def _crewed(self, environment: dict[str, str]) -> Crewed:
        arguments = (
            "--size", f"{self.shape.crowd}", "--slots", f"{self.shape.slots}",
            "--heartbeat", f"{self.shape.heartbeat_s:g}", "--histories", str(self.histories),
        )  # fmt: skip
        output = self._logs if self._logs.is_char_device() else self._logs / "crew.log"
        environment = {**environment, "PARALLAX_CELL": CELL}
        crew = Crewed(arguments, environment, output, self.system.guardian)
        crew.watch()
        return crew

    def watch(self) -> None:
        """Restart ended processes. One that cannot start now is tried the next time."""
        try:
            self.system.watch()
            if self.crew is not None:
                self.crew.watch()
        except (ParallaxError, OSError) as error:
            log.warning("not everything could be started again: %s", error)

    # -- operations -----------------------------------------------------------------------------

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
        """The proxy between the far worker and the server."""
        if self._proxy is None:
            raise Unreachable("the stage has not been set")
        return self._proxy

    @property
    def gateways(self) -> Gateways:
        """The gateways, if there are any."""
        if self._gateways is None:
            raise Unreachable("the stage has not been set")
        return self._gateways

    def ready(self) -> bool:
        """Whether every worker and every gateway is there."""
        workers = self.shape.workers + bool(self._cast.gateways)
        return self.members() >= workers and self.gateways.ready()

    def link(self) -> Link:
        """Return a new link to the server, without any detour."""
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
        return self.system.processes.alive("worker")

    def pid(self, child: str) -> int:
        """Return the process id of a child."""
        return self.system.processes.children[child].process.pid

    def some_open(self, random: Random, count: int) -> list[str]:
        """Return the names of some open jobs; none while the server is away."""
        link = self.link()
        try:
            page = link.call("ZRANGE", self.keys.open, 0, 999)
        except ParallaxError:
            return []
        finally:
            link.close()
        names = [name.decode("ascii") for name in page if name.isascii()]
        names = [name for name in names if NAME.fullmatch(name) and not name.startswith("junk")]
        return random.sample(names, min(count, len(names)))

    def processes(self) -> dict[str, int]:
        """Return the process ids of all that run now, by name."""
        found = {name: self.pid(name) for name in self.system.processes.alive()}
        if self.crew is not None and self.crew.pid is not None:
            found["crew"] = self.crew.pid
        return found

    def halt(self) -> None:
        """Kill schedulers and workers, so that nothing changes any more; the server goes on."""
        for pid in self.processes().values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """Stop everything and remove its files."""
        if self._orders.stop.is_set():
            self._orders.hurry()
        if self.disk is not None:
            with contextlib.suppress(StoreFault):
                self.disk.empty()
        if self.crew is not None:
            self.crew.end(0.1 if self._orders.now.is_set() else 15.0)
        self.system.stop()
        for proxy in (self._proxy, self._ocean):
            if proxy is not None:
                proxy.close()
        if self.disk is not None:
            with contextlib.suppress(StoreFault):
                self.disk.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        self._home.release()


def _small_disk(folder: Path) -> SmallDisk | None:
    """Return a disk that can be filled, or None where this process may not have one."""
    if not SmallDisk.possible():
        return None
    try:
        return SmallDisk(folder)
    except StoreFault as error:
        log.warning("the disk of this drill cannot be filled: %s", error)
        return None


def _new_home() -> Path:
    """Return where a temporary home may be made, with room for a socket's 100 characters."""
    home = new_home()
    return home if len(str(home.parent)) < 40 else Path("/tmp") / home.name  # noqa: S108 - its own
