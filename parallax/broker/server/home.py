"""The embedded server's data directory: who owns it, and how other commands find its server.

    lock         locked while owner or server live; holds the owner's process id
    server.json  how to reach the server; readable by the user only; removed by a clean stop
    server.log   what the server wrote
    renew        asks the owner to replace its processes; removed when it begins
    the rest     the server's own: its append-only file

All of it is readable by the user only; the directory itself keeps the mode that it has. What lies
there may come from strangers (a directory that was unpacked, or checked out): links are not
followed, and no path that is read from a file is trusted.

The server inherits the lock, so that the directory is free only when owner and server are both
gone: two servers on one append-only file would destroy it.
"""

from __future__ import annotations

import fcntl
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit

import msgspec

from parallax.broker.link.connection import Link
from parallax.core.clock import Clock
from parallax.core.errors import (
    Conflict,
    InvalidInput,
    ParallaxError,
    StoreFault,
    StoreFull,
    Unreachable,
)

POLL_S = 0.005
PROBE_S = 0.25  # how long `running_server` of another process may hold the lock, at the very most
LEAVE_S = 10.0  # how long a server whose owner was killed may take to sync its file and go
PING_TIMEOUT_S = 1
MOST_TOLD = 65_536  # bytes of `server.json`
RENEW = "renew"  # the file that asks for new processes


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """How to reach a running embedded server. Its `repr` leaves out the URLs: they are secret."""

    url: str = field(repr=False)  # over the unix socket: the faster way
    tcp_url: str = field(repr=False)
    pid: int
    version: str
    data_dir: str
    durability: str


def data_home(home: Path | None = None) -> Path:
    """Return the directory of the embedded server's data. Raises InvalidInput if there is none."""
    named = home or os.environ.get("PARALLAX_HOME")
    try:
        if named:
            return Path(named).absolute()
        base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
        return Path(base).absolute() / "parallax"
    except RuntimeError:
        allowed = "this user has no home directory: name one with --home, or a server with --redis"
        raise InvalidInput("home", "~", allowed) from None
    except FileNotFoundError:
        allowed = "the working directory was deleted: name an absolute path"
        raise InvalidInput("home", str(named or "."), allowed) from None


def socket_path(info: ServerInfo) -> Path:
    """Return the path of the server's unix socket."""
    return Path(unquote(urlsplit(info.url).path))


def running_server(home: Path | None = None) -> ServerInfo | None:
    """Return the embedded server that runs on this data directory now, if one does."""
    folder = data_home(home)
    info = _published(folder) if _is_locked(folder) else None
    return info if info and answers(info.url) else None


def answers(url: str) -> bool:
    """Whether the embedded server at this unix socket serves commands (one that loads does not).

    One whose disk is full refuses even a PING, and serves reads.
    """
    try:
        link = Link.to(url, PING_TIMEOUT_S)
        try:
            return bool(link.call("PING") == b"PONG")
        finally:
            link.close()
    except StoreFull:
        return True
    except ParallaxError:
        return False


def ask_for_renewal(home: Path | None = None) -> Path:
    """Ask the owner of this data directory to replace its processes; return the directory.

    Raises Unreachable if there is no owner, InvalidInput if the directory is somebody else's.
    """
    folder = data_home(home)
    if running_server(home) is None:
        raise Unreachable(f"no `parallax up` runs on {folder}: start one, or name its --home")
    try:
        os.close(_own_file(folder / RENEW, os.O_RDWR))
    except OSError as error:
        raise InvalidInput("home", str(folder), f"one of your own ({error.strerror})") from None
    return folder


class DataDirectory:
    """A data directory as its owner sees it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock: IO[str] | None = None
        self._told = False  # whether `server.json` is ours

    def take(self, clock: Clock) -> None:
        """Make the directory if need be, and lock it. Raises Conflict if another process has."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.fdopen(_own_file(self.folder / "lock", os.O_RDWR), "r+")
            shared = stat.S_IMODE(self.folder.stat().st_mode) & stat.S_IWOTH
        except OSError as error:
            allowed = f"name a directory of your own ({error.strerror})"
            raise InvalidInput("home", str(self.folder), allowed) from None
        if shared:
            lock.close()
            allowed = "name a directory in which nobody else may write"
            raise InvalidInput("home", str(self.folder), allowed)
        try:
            self._await(lock, clock)
        except BaseException:
            lock.close()
            raise
        self._lock = lock
        self.renewal_asked()  # one that nobody heard asked another owner

    def renewal_asked(self) -> bool:
        """Whether `ask_for_renewal` was called since the last look."""
        try:
            (self.folder / RENEW).unlink()
        except OSError:
            return False
        return True

    def _await(self, lock: IO[str], clock: Clock) -> None:
        """Lock; be patient for a moment with one who only looks, longer with a server that goes."""
        began = clock.monotonic()
        while not _try_lock(lock, fcntl.LOCK_EX):
            lock.seek(0)
            owner = lock.read().strip()
            patience = PROBE_S if _is_alive(owner) else LEAVE_S
            if clock.monotonic() - began > patience:
                raise Conflict(self._in_use(owner))
            clock.wait(POLL_S)
        lock.seek(0)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()

    def _in_use(self, owner: str) -> str:
        if _is_alive(owner):
            return f"{self.folder} is in use by process {owner}: stop it, or choose another --home"
        server = _published(self.folder)
        left = f"a server (process {server.pid})" if server else "a server"
        return f"{self.folder} is in use by {left} whose owner is gone: end it first"

    def lock_descriptor(self) -> int:
        """Return the open file that carries the lock, for the server to inherit."""
        if self._lock is None:
            raise StoreFault(f"{self.folder} is not locked by this process")
        return self._lock.fileno()

    def publish(self, info: ServerInfo) -> None:
        """Let other commands of this user find the server."""
        new = self.folder / "server.json.new"
        new.unlink(missing_ok=True)
        with os.fdopen(_own_file(new, os.O_WRONLY | os.O_EXCL), "wb") as file:
            file.write(msgspec.json.encode(info))
        new.replace(self.folder / "server.json")
        self._told = True

    def left_behind(self) -> ServerInfo | None:
        """Return how the server of an owner that was killed was reached. Call it with the lock."""
        return _published(self.folder)

    def withdraw(self) -> None:
        """Let nobody find the server any more."""
        if self._lock is not None and self._told:
            (self.folder / "server.json").unlink(missing_ok=True)
            self._told = False

    def release(self) -> None:
        """Let another process own the directory."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.truncate(0)
            lock.close()


def appended(path: Path) -> IO[bytes]:
    """Open a file of the directory's to append to; made for the user alone, never a link."""
    try:
        output = os.fdopen(_own_file(path, os.O_WRONLY | os.O_APPEND), "ab")
    except OSError as error:
        allowed = f"its {path.name} must be a file of your own ({error.strerror})"
        raise InvalidInput("home", str(path.parent), allowed) from None
    output.seek(0, os.SEEK_END)
    return output


def _own_file(path: Path, flags: int) -> int:
    """Open or make a regular file; raises OSError for links, devices and pipes."""
    flags |= os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(0, "it is no regular file", str(path))
    return descriptor


def _published(folder: Path) -> ServerInfo | None:
    """Return what `server.json` says. Raises InvalidInput if others may read or have written it."""
    path = folder / "server.json"
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            told = file.read(MOST_TOLD) if stat.S_ISREG(status.st_mode) else b""
        info = msgspec.json.decode(told, type=ServerInfo)
    except (OSError, msgspec.MsgspecError):
        return None
    if status.st_mode & 0o077 or os.geteuid() not in (0, status.st_uid):
        allowed = "its server.json tells a password, and is not closed to others: remove that file"
        raise InvalidInput("home", str(folder), allowed)
    return info


def _try_lock(lock: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_locked(folder: Path) -> bool:
    """Whether a live process owns the directory: a file left by a dead one proves nothing."""
    try:
        with (folder / "lock").open() as lock:
            return not _try_lock(lock, fcntl.LOCK_SH)
    except OSError:
        return False


def _is_alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except PermissionError:
        return True
    except (ValueError, OverflowError, OSError):
        return False
    return True
