"""The child processes of one machine, started, watched, restarted, killed.

Used by `up`, `demo`, `replay` and the benchmarks. Children end with their parent, however that ends
(a guardian sees to it), get their secrets through the environment and never through arguments, and
are restarted with growing pauses when they end unasked.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from parallax.broker.server.guardian import Guardian, dying_with
from parallax.core.clock import Clock

log = logging.getLogger(__name__)

RESTART_BASE_S, RESTART_CAP_S = 0.5, 10.0
STOP_S = 40.0  # a worker drains for 30 s, and then says good-bye
POLL_S = 0.02
USAGE = 2  # exit code of a command that was used wrongly
#: Variables of commands that a user may run beside these processes, whose children get arguments.
_OTHERS = ("PARALLAX_SCHEDULER_", "PARALLAX_WORKER_", "PARALLAX_GATEWAY_", "PARALLAX_DASHBOARD_")


def _inherited() -> dict[str, str]:
    """Return what children get of our environment.

    Their arguments are all that they are told: neither `[scheduler]`, `[worker]` and `[gateway]` of
    the user's settings file are for them, nor variables such as PARALLAX_WORKER_METRICS_PORT, which
    would make all of them want one port.
    """
    kept = {name: text for name, text in os.environ.items() if not name.startswith(_OTHERS)}
    return {**kept, "PARALLAX_CONFIG": os.devnull}


@dataclass(slots=True)
class Child:
    """One process: what it runs, and how often it ended unasked."""

    name: str
    arguments: Sequence[str]
    process: subprocess.Popen[bytes]
    environment: Mapping[str, str] = field(default_factory=dict)  # beside that of all
    restarts: int = 0
    due: float | None = None  # when it is to be started again
    leaving: bool = False  # it was asked to end, and is not started again
    renewing: bool = False  # it was asked to end, and is started again at once
    since: float = 0.0  # monotonic time of the last start

    def told(self, option: str) -> str:
        """Return the value of an option among its arguments, the last one; '' without it."""
        places = [n for n, word in enumerate(self.arguments[:-1]) if word == option]
        return self.arguments[places[-1] + 1] if places else ""


@dataclass(slots=True)
class Processes:
    """Processes by name."""

    environment: Mapping[str, str]
    clock: Clock
    logs: Path | None = None
    restart: bool = True
    longest_pause_s: float = RESTART_CAP_S
    hurried: Callable[[], bool] = lambda: False  # whether `stop` is to wait for nobody
    guardian: Guardian = field(default_factory=Guardian)
    children: dict[str, Child] = field(default_factory=dict)

    def start(
        self, name: str, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> None:
        """Start `parallax ARGUMENTS...` as a child of that name."""
        own = environment or {}
        process = self._spawn(name, arguments, own)
        since = self.clock.monotonic()
        self.children[name] = Child(name, arguments, process, own, since=since)

    def _spawn(
        self, name: str, arguments: Sequence[str], own: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "parallax", *arguments]
        environment = {**_inherited(), **self.environment, **own}
        output = self._output(name)
        try:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own arguments
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=dying_with(os.getpid()),  # noqa: PLW1509 - one C call, looked up before
                start_new_session=True,
            )
            self.guardian.watch(process.pid)
            return process
        finally:
            if output is not None:
                output.close()

    def _output(self, name: str) -> IO[bytes] | None:
        """Open where a child's log goes: ours, a file per child, or a device such as /dev/null."""
        if self.logs is None:
            return None
        return (self.logs if self.logs.is_char_device() else self.logs / f"{name}.log").open("ab")

    def misused(self) -> list[str]:
        """Return the names of children that ended for wrong usage: another start helps nothing."""
        return [name for name, child in self.children.items() if child.process.poll() == USAGE]

    def watch(self) -> list[str]:
        """Restart children that ended unasked, when their pause is over; return who ended."""
        ended = []
        now = self.clock.monotonic()
        for child in list(self.children.values()):
            if child.process.poll() is None:
                continue
            if child.leaving:
                self.guardian.forget(child.process.pid)
                del self.children[child.name]
                continue
            if child.renewing:
                child.renewing = False
                self._start_again(child)
                continue
            if child.due is None:
                ended.append(child.name)
                pause = min(self.longest_pause_s, RESTART_BASE_S * 2**child.restarts)
                child.due = now + pause if self.restart else float("inf")
                log.warning("%s ended with %s", child.name, child.process.returncode)
            elif now >= child.due:
                self._start_again(child)
                child.restarts += 1
        return ended

    def _start_again(self, child: Child) -> None:
        self.guardian.forget(child.process.pid)
        child.process = self._spawn(child.name, child.arguments, child.environment)
        child.due, child.since = None, self.clock.monotonic()

    def renew(self, name: str) -> bool:
        """Ask one child to end (SIGTERM), to be started again by `watch`; False if it is gone."""
        child = self.children.get(name)
        if child is None or child.leaving:
            return False
        child.renewing = True
        if child.process.poll() is None:
            child.process.terminate()
        return True

    def renewed(self, name: str) -> bool:
        """Whether a child runs again after `renew`."""
        child = self.children[name]
        return not child.renewing and child.process.poll() is None

    def retire(self, name: str) -> None:
        """Ask one child to end (SIGTERM): it is neither waited for, nor started again."""
        child = self.children[name]
        child.leaving = True
        if child.process.poll() is None:
            child.process.terminate()

    def staying(self, prefix: str = "") -> list[str]:
        """Return the names of children that run or will run again."""
        children = self.children.items()
        return [name for name, one in children if name.startswith(prefix) and not one.leaving]

    def kill(self, name: str) -> int:
        """Kill a child with SIGKILL, as a crash would; return its pid."""
        process = self.children[name].process
        process.kill()
        process.wait()
        return process.pid

    def alive(self, prefix: str = "") -> list[str]:
        """Return the names of running children."""
        return [
            name
            for name, child in self.children.items()
            if name.startswith(prefix) and child.process.poll() is None
        ]

    def drain(self) -> None:
        """Ask all children to end (SIGTERM)."""
        for child in self.children.values():
            if child.process.poll() is None:
                child.process.terminate()

    def stop(self) -> None:
        """Ask all children to end, wait, and kill those that do not, or all once there is hurry."""
        self.drain()
        deadline = self.clock.monotonic() + STOP_S
        while self.alive() and self.clock.monotonic() < deadline and not self.hurried():
            self.clock.wait(POLL_S)
        for child in self.children.values():
            child.process.kill()
            child.process.wait()
            self.guardian.forget(child.process.pid)
        self.children.clear()
