"""Processes that a live run kills on request, and when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from parallax.core.errors import InvalidInput
from parallax.services.system import System


@dataclass(slots=True)
class Crash:
    """A process to kill with SIGKILL once so many jobs have been offered."""

    victim: str  # worker, scheduler or server
    after: int
    done: str = ""


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
