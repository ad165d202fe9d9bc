"""A fleet: the child processes of one machine, started, watched, restarted, killed.

Used by `up`, `demo`, `replay` and the benchmarks. Children die with their parent (on Linux the
kernel sees to it), get their secrets through the environment and never through arguments, and are
restarted with growing pauses when they end unasked.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from parallax.core.clock import Clock

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1
RESTART_BASE_S, RESTART_CAP_S = 0.5, 10.0
STOP_S = 15.0


def die_with_parent() -> None:
    """Ask the kernel to end this process when its parent is gone (Linux; elsewhere a no-op)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass(slots=True)
class Child:
    """One process: what it runs, and how often it ended unasked."""

    name: str
    arguments: Sequence[str]
    process: subprocess.Popen[bytes]
    environment: Mapping[str, str] = field(default_factory=dict)  # beside that of the fleet
    restarts: int = 0
    due: float | None = None  # when it is to be started again


@dataclass(slots=True)
class Fleet:
    """Processes by name."""

    environment: Mapping[str, str]
    clock: Clock
    logs: Path | None = None
    restart: bool = True
    longest_pause_s: float = RESTART_CAP_S
    children: dict[str, Child] = field(default_factory=dict)

    def start(
        self, name: str, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> None:
        """Start `parallax ARGUMENTS...` as a child of that name."""
        own = environment or {}
        self.children[name] = Child(name, arguments, self._spawn(name, arguments, own), own)

    def _spawn(
        self, name: str, arguments: Sequence[str], own: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "parallax", *arguments]
        environment = {
            **os.environ, **self.environment, **own, "PARALLAX_PARENT": str(os.getpid())
        }  # fmt: skip
        output = self._output(name)
        try:
            return subprocess.Popen(  # noqa: S603 - our own interpreter and our own arguments
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - called before any thread exists
                start_new_session=True,
            )
        finally:
            if output is not None:
                output.close()

    def _output(self, name: str) -> IO[bytes] | None:
        """Open where a child's log goes: ours, a file per child, or a device such as /dev/null."""
        if self.logs is None:
            return None
        return (self.logs if self.logs.is_char_device() else self.logs / f"{name}.log").open("ab")

    def watch(self) -> list[str]:
        """Restart children that ended unasked, when their pause is over; return who ended."""
        ended = []
        now = self.clock.monotonic()
        for child in self.children.values():
            if child.process.poll() is None:
                continue
            if child.due is None:
                ended.append(child.name)
                pause = min(self.longest_pause_s, RESTART_BASE_S * 2**child.restarts)
                child.due = now + pause if self.restart else float("inf")
                log.warning("%s ended with %s", child.name, child.process.returncode)
            elif now >= child.due:
                child.process = self._spawn(child.name, child.arguments, child.environment)
                child.restarts += 1
                child.due = None
        return ended

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

    def stop(self) -> None:
        """Ask all children to end (SIGTERM), wait, and kill those that do not."""
        for child in self.children.values():
            if child.process.poll() is None:
                child.process.terminate()
        deadline = self.clock.monotonic() + STOP_S
        for child in self.children.values():
            try:
                child.process.wait(timeout=max(0.1, deadline - self.clock.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
        self.children.clear()
