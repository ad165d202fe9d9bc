"""The embedded server: a real Valkey or Redis as our own child process.

What it must survive, and how:
* *Kill -9 of its owner*: the kernel sends it SIGTERM when the owner dies (PR_SET_PDEATHSIG, Linux),
  it syncs its append-only file and goes. No orphan is left.
* *Kill -9 of itself*: the data directory holds an append-only file; `restart_if_dead` starts it
again
  on the same port, socket and password, so that clients just reconnect.
* *Two owners*: a lock on the data directory; the second is told who holds it.

It listens on the loopback address and on a unix socket in a private directory, and asks for a
random password, which reaches it through its standard input and other commands through a file that
only the user can read.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from parallax.broker.connection import Link
from parallax.broker.server_binary import find_binary
from parallax.core.clock import Clock
from parallax.core.errors import Conflict, InvalidInput, ParallaxError, StoreFault

READY_S, STOP_S, POLL_S = 60.0, 10.0, 0.005
DURABILITIES = {"everysec": "everysec", "always": "always"}
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """How to reach a running embedded server. The password is never shown by `repr`."""

    url: str = field(repr=False)  # over the unix socket: the faster way
    tcp_url: str = field(repr=False)
    pid: int
    version: str
    data_dir: str
    durability: str


def data_home(home: Path | None = None) -> Path:
    """Return the directory of the embedded server's data."""
    if home is not None:
        return home
    named = os.environ.get("PARALLAX_HOME")
    if named:
        return Path(named)
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "parallax"


def running_server(home: Path | None = None) -> ServerInfo | None:
    """Return the embedded server that runs on this data directory now, if one does."""
    folder = data_home(home)
    try:
        info = ServerInfo(**json.loads((folder / "server.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return info if _locked(folder) and _answers(info.url) else None


class EmbeddedServer:
    """One server process and its data directory. Start and stop are idempotent."""

    def __init__(
        self,
        clock: Clock,
        *,
        home: Path | None = None,
        durability: str = "everysec",
        ephemeral: bool = False,
        maxmemory: str = "0",
    ) -> None:
        if durability not in DURABILITIES:
            allowed = f"use one of {', '.join(DURABILITIES)}"
            raise InvalidInput("durability", durability, allowed)
        self._clock, self._durability, self._maxmemory = clock, durability, maxmemory
        self._ephemeral = ephemeral
        self._folder = Path(tempfile.mkdtemp(prefix="parallax-")) if ephemeral else data_home(home)
        self._sockets: Path | None = None
        self._lock: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._password = secrets.token_urlsafe(24)
        self._port = 0
        self.info: ServerInfo | None = None

    def __enter__(self) -> EmbeddedServer:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(self) -> ServerInfo:
        """Start the server; return when it answers. Raises Conflict if another process owns it."""
        if self.info is None:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._folder.chmod(0o700)
            self._take_lock()
            # Not in the data directory: a socket's path may have no more than 104 characters.
            self._sockets = Path(tempfile.mkdtemp(prefix="plx-"))
            try:
                self.info = self._launch_somewhere()
                self._publish(self.info)
            except BaseException:
                self.stop()
                raise
        return self.info

    def restart_if_dead(self) -> bool:
        """Start the server again if it died, at the same address; say whether it had died."""
        if self.info is None or self._process is None or self._process.poll() is None:
            return False
        self.info = self._launch()
        self._publish(self.info)
        return True

    def kill(self) -> None:
        """Kill the server with SIGKILL, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """Stop the server cleanly and give the directory free."""
        process, self._process, self.info = self._process, None, None
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._sockets is not None:
            shutil.rmtree(self._sockets, ignore_errors=True)
        if self._lock is not None:
            (self._folder / "server.json").unlink(missing_ok=True)
            self._lock.close()
            self._lock = None
        if self._ephemeral:
            shutil.rmtree(self._folder, ignore_errors=True)

    # -- starting -----------------------------------------------------------------------------

    def _take_lock(self) -> None:
        lock = (self._folder / "lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            owner = lock.read().strip() or "unknown"
            lock.close()
            raise Conflict(
                f"{self._folder} is in use by process {owner}; stop it, or choose another --home"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    def _launch_somewhere(self) -> ServerInfo:
        """Start on a free port. Somebody may take it before we do: then try another."""
        for _ in range(5):
            self._port = _free_port()
            try:
                return self._launch()
            except StoreFault as fault:
                if "Address already in use" not in str(fault):
                    raise
        raise StoreFault("no free port on the loopback address")

    def _launch(self) -> ServerInfo:
        binary, version = find_binary()
        log = self._folder / "server.log"
        with log.open("ab") as output:
            began = output.tell()
            process = subprocess.Popen(  # noqa: S603 - the server's binary, config on stdin
                [binary, "-"],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for us: the server must outlive the drain
                preexec_fn=_die_with_parent,  # noqa: PLW1509
            )
        self._process = process
        if process.stdin is None:
            raise StoreFault("the server has no standard input")
        with process.stdin as configuration:
            configuration.write(self._configuration().encode())
        info = self._described(process.pid, version)
        deadline = self._clock.monotonic() + READY_S
        while not _answers(info.url):
            if process.poll() is not None or self._clock.monotonic() > deadline:
                process.kill()
                raise StoreFault(f"the embedded server did not start: {_tail(log, began)}")
            self._clock.wait(POLL_S)
        return info

    def _configuration(self) -> str:
        # hash-max-*: a job's record stays one compact block (its spec is longer than the default 64
        # bytes allow); the old names are understood by every version.
        # stream-node-max-bytes: a stream is allocated by whole nodes, and there is one per tenant
        # with arrivals; 1 kB keeps a million of them small and costs no measurable speed.
        return f"""
bind 127.0.0.1
port {self._port}
unixsocket {self._socket_path()}
unixsocketperm 700
requirepass {self._password}
dir "{self._folder}"
daemonize no
save ""
appendonly yes
appendfsync {DURABILITIES[self._durability]}
aof-load-truncated yes
maxmemory {self._maxmemory}
maxmemory-policy noeviction
hash-max-ziplist-entries 64
hash-max-ziplist-value 512
stream-node-max-bytes 1024
tcp-keepalive 60
loglevel notice
"""

    def _socket_path(self) -> Path:
        if self._sockets is None:
            raise StoreFault("the embedded server has not been started")
        return self._sockets / "r.sock"

    def _described(self, pid: int, version: str) -> ServerInfo:
        return ServerInfo(
            f"unix://:{self._password}@{self._socket_path()}?db=0",
            f"redis://:{self._password}@127.0.0.1:{self._port}/0",
            pid,
            version,
            str(self._folder),
            self._durability,
        )

    def _publish(self, info: ServerInfo) -> None:
        """Let other commands of this user find the server."""
        path = self._folder / "server.json"
        new = path.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_text(json.dumps(asdict(info)))
        new.replace(path)


def _die_with_parent() -> None:
    """In the child, before exec: ask the kernel for SIGTERM when the parent dies (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _locked(folder: Path) -> bool:
    """Whether a live process owns the directory: a file left by a dead one proves nothing."""
    try:
        with (folder / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _answers(url: str) -> bool:
    link = Link.to(url)
    try:
        return bool(link.call("PING") == b"PONG")
    except ParallaxError:
        return False
    finally:
        link.close()


def _tail(log: Path, start: int) -> str:
    with log.open("rb") as output:
        output.seek(start)
        return output.read()[-600:].decode("utf-8", "replace").strip()
