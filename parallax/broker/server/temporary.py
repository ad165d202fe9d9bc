"""Temporary homes and sockets of embedded servers: making them, and removing abandoned ones.

A guardian removes them when their owner is killed. If it is killed too (a machine that lost its
power, a container that was stopped), the next start removes what has our name, is our own, and
belonged to a process that is gone.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import socket
import stat
import tempfile
from contextlib import closing, suppress
from pathlib import Path

from parallax.broker.server.home import DataDirectory, ServerInfo, socket_path
from parallax.core.errors import InvalidInput

SOCKET_PATH_MAX = 100  # bytes; the system's limit is 104 or 108, its final zero included
_HOME = re.compile(r"parallax-[0-9a-f]{16}")
_SOCKETS = re.compile(r"plx-[a-z0-9_]{8}")
_SOCKET = "r.sock"


def new_home() -> Path:
    """Return where a temporary home may be made. Raises InvalidInput if nothing may be written."""
    return temporary_folder() / f"parallax-{secrets.token_hex(8)}"


def temporary_folder() -> Path:
    """Return the directory for temporary files. Raises InvalidInput if there is none."""
    try:
        return Path(tempfile.gettempdir())
    except OSError:
        allowed = "no temporary directory can be written: name one in TMPDIR"
        raise InvalidInput("TMPDIR", os.environ.get("TMPDIR", ""), allowed) from None


def new_socket_folder(data: Path) -> Path:
    """Make a private directory for the socket: with a path that is short enough for one.

    In the usual temporary directory, in /tmp, or among the data if neither can be written.
    """
    places = [Path("/tmp"), data]  # noqa: S108 - mkdtemp makes a private one in it
    with suppress(InvalidInput):
        places.insert(0, temporary_folder())
    for place in places:
        if len(os.fsencode(place / "plx-12345678" / _SOCKET)) <= SOCKET_PATH_MAX:
            with suppress(OSError):
                return Path(tempfile.mkdtemp(prefix="plx-", dir=place))
    allowed = "no directory with a short path can be written, for a socket: name one in TMPDIR"
    raise InvalidInput("TMPDIR", os.environ.get("TMPDIR", ""), allowed)


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary homes there whose owners are gone, with all that is in them."""
    with suppress(OSError):
        for home in folder.iterdir():
            if _HOME.fullmatch(home.name) and _is_own(home) and _is_abandoned(home):
                with suppress(InvalidInput):
                    remove_socket(DataDirectory(home).left_behind())
                shutil.rmtree(home, ignore_errors=True)


def remove_socket(stale: ServerInfo | None) -> None:
    """Remove the socket of a server whose owner could not do it any more, and its directory.

    The path was read from a file, and anybody may have written that: the removed file is a socket
    of ours where nobody listens, in a directory as we make them, and nothing else.
    """
    if stale is None:
        return
    path = socket_path(stale)
    if path.name != _SOCKET or not _SOCKETS.fullmatch(path.parent.name) or not _is_own(path.parent):
        return
    with suppress(OSError):
        if _is_dead_socket(path):
            path.unlink()
        path.parent.rmdir()


def _is_own(folder: Path) -> bool:
    """Whether this is a directory of this user's that nobody else may enter."""
    with suppress(OSError):
        status = folder.lstat()
        private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
        return private and status.st_uid == os.geteuid()
    return False


def _is_abandoned(home: Path) -> bool:
    """Whether the owner that wrote its id into the lock is gone, and so is its server.

    Only the lock tells: in containers the same few process ids are used again and again.
    """
    with suppress(OSError), (home / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return bool(lock.read(1))  # empty: it is just being made, or removed
    return False


def _is_dead_socket(path: Path) -> bool:
    """Whether this is a socket, and nobody listens."""
    if not stat.S_ISSOCK(path.lstat().st_mode):
        return False
    with closing(socket.socket(socket.AF_UNIX)) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return True
    return False
