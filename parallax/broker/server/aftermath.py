"""The guardian process: waits for its owner's end, then ends and removes its leftovers.

A script of its own that imports nothing of the package, so that it starts in milliseconds. It reads
one JSON document a line from its standard input, a pipe that only the owner can write to:

    {"pid": 17, "grace_s": 5.0}     end this process      {"forget": 17}
    {"folder": "/tmp/parallax-1"}   remove this folder    {"spare": "/tmp/parallax-1"}
    {"done": true}                  the owner has put all in order itself

The end of the pipe without `done` means that the owner is gone, however it went.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterable
from typing import Any

POLL_S = 0.02
NOT_FOR_IT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # its owner starts it without them


class Left:
    """The leftovers of an owner that is gone: processes by id, and folders."""

    def __init__(self) -> None:
        self.processes: dict[int, tuple[str, float]] = {}  # when it started, and its grace
        self.folders: set[str] = set()

    def note(self, told: dict[str, Any]) -> None:
        """Take note of one line of the owner's."""
        if "pid" in told:
            self.processes[told["pid"]] = (started(told["pid"]), told["grace_s"])
        elif "forget" in told:
            self.processes.pop(told["forget"], None)
        elif "folder" in told:
            self.folders.add(told["folder"])
        elif "spare" in told:
            self.folders.discard(told["spare"])

    def clear_away(self) -> None:
        """End the processes (SIGTERM, after their grace SIGKILL), then remove the folders."""
        for pid in self._living():
            signalled(pid, signal.SIGTERM)
            signalled(pid, signal.SIGCONT)  # one that was paused would never see the other
        tick, waited = threading.Event(), 0.0
        while living := self._living():
            for pid in living:
                if waited > self.processes[pid][1]:
                    signalled(pid, signal.SIGKILL)
            tick.wait(POLL_S)
            waited += POLL_S
        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)

    def _living(self) -> list[int]:
        """Return who still runs, and is no other process that got the same id since."""
        return [
            pid for pid, (when, _) in self.processes.items() if runs(pid) and when == started(pid)
        ]


def started(pid: int) -> str:
    """Return what tells a process from a later one of the same id; "" where nothing does."""
    fields = _stat(pid)
    return fields[19] if len(fields) > 19 else ""


def runs(pid: int) -> bool:
    """Whether a process runs; one that only waits for its parent to notice its end does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # its id belongs to somebody else by now
        return False
    return _stat(pid)[:1] != ["Z"]


def _stat(pid: int) -> list[str]:
    """Return the fields of Linux's `stat` that follow the name; none on other systems."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return []


def signalled(pid: int, number: signal.Signals) -> None:
    """Send a signal, if there is still somebody to send it to."""
    with contextlib.suppress(OSError):
        os.kill(pid, number)


def wait_and_clear(lines: Iterable[str]) -> None:
    """Listen to the owner until it is gone; then clear away, unless it said that it had done so."""
    left = Left()
    for line in lines:
        try:
            told = json.loads(line)
        except ValueError:
            continue  # the owner was killed in the middle of a line
        if "done" in told:
            return
        left.note(told)
    left.clear_away()


if __name__ == "__main__":
    wait_and_clear(sys.stdin)
