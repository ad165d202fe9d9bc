"""The gateways of a drill: real processes on ports of their own, and what befell each of them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

from parallax.broker.link.connection import Link
from parallax.broker.store.keyring import ASK, SPEAK, Keyring, id_of, new_key
from parallax.broker.store.keys import Keys
from parallax.broker.store.rates import Rates
from parallax.core.clock import Clock
from parallax.services.processes import Processes
from parallax.services.system import free_port

#: How long requests under way may take to end after SIGTERM; how long a gateway waits for news.
DRAIN_S, WAIT_S, HOLD_S = 5.0, 30.0, 20.0
#: For how long after its start a gateway takes no model for unknown: whatever dies in a drill may
#: come back as late as this.
LEARN_S = 60.0
_RATES = Rates(10_000_000, 0)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What befell a gateway, from when to when (seconds since the epoch)."""

    gateway: str
    word: str  # killed, stopped or paused
    at: float
    until: float


@dataclass(slots=True)
class Gateways:
    """They are started by `start`; `processes` starts them again when they have ended."""

    processes: Processes
    clock: Clock
    ports: dict[str, int] = field(default_factory=dict)
    troubles: list[Trouble] = field(default_factory=list)
    token: str = ""  # of the key with which they are asked

    def start(self, count: int, link: Link, keys: Keys, each: Mapping[int, str], url: str) -> None:
        """Start so many; `each` names another URL of the server for some of them, by number."""
        self.token, key = new_key("web", self.clock.now(), scopes=(ASK, SPEAK), rates=_RATES)
        Keyring(link, keys).put({id_of(self.token) or "": key})
        for n in range(1, count + 1):
            name, port = f"gateway-{n}", free_port(0)
            self.ports[name] = port
            self.processes.start(
                name, "gateway", "--port", str(port), "--hold", f"{HOLD_S:g}",
                "--wait", f"{WAIT_S:g}", "--drain", f"{DRAIN_S:g}", "--head", "0.5",
                "--learn", f"{LEARN_S:g}",
                environment={"PARALLAX_REDIS": each.get(n, url)},
            )  # fmt: skip

    def ready(self) -> bool:
        """Whether all of them listen."""
        return all(_listens(port) for port in self.ports.values())

    @property
    def running(self) -> list[str]:
        """The names of those that run, and have started: a fault shall not befall one in vain."""
        return [name for name in self.processes.alive("gateway") if _listens(self.ports[name])]

    def kill(self, name: str) -> None:
        """Kill one."""
        self._note(name, "killed")
        self.processes.kill(name)

    def stop(self, name: str) -> None:
        """Ask one to end (SIGTERM)."""
        self._note(name, "stopped")
        _send(self.processes.children[name].process.pid, signal.SIGTERM)

    def pause(self, name: str, seconds: float) -> int:
        """Let one stand still; return the process id that has to be woken."""
        pid = self.processes.children[name].process.pid
        self._note(name, "paused", seconds + 1.0)
        _send(pid, signal.SIGSTOP)
        return pid

    def _note(self, name: str, word: str, seconds: float = 0.0) -> None:
        now = self.clock.now()
        self.troubles.append(Trouble(name, word, now, now + seconds))


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return True
    except OSError:
        return False
