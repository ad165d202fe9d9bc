"""A guardian: a small process that outlives its owner and puts in order what a `kill -9` leaves.

The owner of processes and temporary folders tells it of each one. It notices the owner's end by the
end of a pipe, which works on every Unix, in containers, and as process 1, and then does what
`parallax.broker.server.aftermath` says. An owner that ends in good order closes it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from parallax.broker.server import aftermath

#: How long a process may take to end after its owner's death, if nothing else was said (seconds).
GRACE_S = 5.0
_CLOSE_S = 5.0
_PR_SET_PDEATHSIG = 1


class Guardian:
    """Watches over the processes and folders of this process. It starts when it is first needed.

    Not safe to share between threads. Each call costs one short write.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._watched: dict[str, Mapping[str, object]] = {}

    def watch(self, pid: int, grace_s: float = GRACE_S) -> None:
        """End this process when we are gone: SIGTERM, and SIGKILL after `grace_s` seconds."""
        self._add(f"pid {pid}", {"pid": pid, "grace_s": grace_s})

    def forget(self, pid: int) -> None:
        """That process has ended."""
        self._remove(f"pid {pid}", {"forget": pid})

    def keep(self, folder: Path) -> None:
        """Remove this folder when we are gone, after the processes have ended."""
        self._add(f"folder {folder}", {"folder": str(folder)})

    def spare(self, folder: Path) -> None:
        """That folder needs nobody any more."""
        self._remove(f"folder {folder}", {"spare": str(folder)})

    def close(self) -> None:
        """All is in order: let the guardian go. It comes back when it is needed again."""
        process, self._process = self._process, None
        self._watched.clear()
        if process is None or process.stdin is None:
            return
        with contextlib.suppress(OSError):
            process.stdin.write(_line({"done": True}))
        self._leave(process)

    def _add(self, name: str, what: Mapping[str, object]) -> None:
        self._watched[name] = what
        self._tell(what)

    def _remove(self, name: str, what: Mapping[str, object]) -> None:
        if self._watched.pop(name, None) is not None:
            self._tell(what)

    def _tell(self, what: Mapping[str, object]) -> None:
        process = self._process
        try:
            if process is not None and process.stdin is not None:
                process.stdin.write(_line(what))
        except OSError:  # somebody killed the guardian: another one takes its place
            self._leave(process)
            process = None
        if process is None:
            self._process = _started(b"".join(map(_line, self._watched.values())))

    @staticmethod
    def _leave(process: subprocess.Popen[bytes] | None) -> None:
        if process is not None and process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
            try:
                process.wait(_CLOSE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _started(first: bytes) -> subprocess.Popen[bytes]:
    # It ends with its owner and after it: signals blocked here are blocked there, from the start.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, aftermath.NOT_FOR_IT)
    try:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own script
            [sys.executable, "-I", "-S", aftermath.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd="/",
            start_new_session=True,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(first)
    return process


def _line(what: Mapping[str, object]) -> bytes:
    return json.dumps(what).encode() + b"\n"


def dying_with(owner: int) -> Callable[[], None] | None:
    """Return what makes a new child end with its owner (Linux), to be called before its exec.

    It covers the moment before the guardian has been told of the child.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # now: after a fork, loading may wait for a lock for ever

    def arrange() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != owner:  # it died between the fork and the line above
            os._exit(1)

    return arrange
