"""What tests of real processes share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from parallax.broker.link.connection import Link


def ask(url: str, *command: str) -> Any:
    """Send one command over a connection of its own."""
    link = Link.to(url)
    try:
        return link.call(*command)
    finally:
        link.close()


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that only waits for its parent to notice has."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except ProcessLookupError:
        return True
    except FileNotFoundError:  # no /proc here, or it went while we looked: then the next look tells
        return False


def children_of(pid: int) -> dict[int, str]:
    """Return the processes that this one has started and that run, with their commands (Linux)."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parent = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1]
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if parent == str(pid):
                found[int(entry.name)] = command.strip()
    return found
