"""The embedded server: a real Valkey or Redis as our own child process.

What it must survive, and how:

* *Kill -9 of its owner*: a guardian (and on Linux the kernel) sends it SIGTERM; it syncs its
  append-only file and goes, and temporary files are removed. No orphan is left.
* *Kill -9 of itself*: the data directory holds an append-only file; `restart_if_dead` starts it
  again on the same port, socket and password, so that clients just reconnect.
* *Two owners*: a lock on the data directory (`parallax.broker.server.home`).

It listens on the loopback address and on a unix socket in a private directory, and asks for a
random password, which reaches it through its standard input and other commands through a file that
only the user can read.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO
from urllib.parse import quote

from parallax.broker.server import temporary
from parallax.broker.server.allocator import allocator_of
from parallax.broker.server.binary import VARIABLE, find_binary, numbers
from parallax.broker.server.guardian import Guardian, dying_with
from parallax.broker.server.home import (
    POLL_S,
    DataDirectory,
    ServerInfo,
    answers,
    appended,
    data_home,
    running_server,
    socket_path,
)
from parallax.broker.server.log import reason
from parallax.core.clock import Clock
from parallax.core.errors import InvalidInput, StoreFault

__all__ = ["EmbeddedServer", "ServerInfo", "data_home", "running_server", "socket_path"]

DURABILITIES = ("everysec", "always")
READY_S = 300.0  # reading back a large append-only file takes a minute per ten million entries
STOP_S = 10.0
TICKS_PER_S = 250


class EmbeddedServer:
    """One server process and its data directory. `start` and `stop` are idempotent.

    Start it from a thread that lives on: to Linux the death of the thread that started a process is
    the death of the parent. An instance belongs to one thread.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        home: Path | None = None,
        durability: str = "everysec",  # `always`: each write is on disk before it is answered
        ephemeral: bool = False,  # in a temporary directory, removed by `stop`; `home` is not used
        maxmemory: str = "0",  # as the server writes it: `512mb`; 0 = no limit
        stream_node_bytes: int = 1024,
        binary: Path | None = None,  # the server to run; else the one `find_binary` finds
        guardian: Guardian | None = None,  # that of the owner's other processes, if it has any
        check: Callable[[], None] = lambda: None,  # called while it waits; may raise
    ) -> None:
        if durability not in DURABILITIES:
            allowed = f"use one of {', '.join(DURABILITIES)}"
            raise InvalidInput("durability", durability, allowed)
        if not re.fullmatch(r"\d+([kmg]b?|b)?", maxmemory, re.IGNORECASE):
            raise InvalidInput("maxmemory", maxmemory, "write a size such as 512mb, or 0")
        if not 128 <= stream_node_bytes <= 65_536:
            raise InvalidInput("stream_node_bytes", stream_node_bytes, "128 to 65536")
        self._clock, self._durability, self._maxmemory = clock, durability, maxmemory
        self._stream_node_bytes = stream_node_bytes
        self._ephemeral, self._chosen, self._check = ephemeral, binary, check
        self._data = DataDirectory(temporary.new_home() if ephemeral else data_home(home))
        self._shared, self._guardian = guardian is not None, guardian or Guardian()
        self._password = secrets.token_urlsafe(24)
        self._binary, self._version = Path(), ""
        self._port = 0
        self._sockets: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.info: ServerInfo | None = None

    def __enter__(self) -> EmbeddedServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> ServerInfo:
        """Start the server; return when it answers. Raises Conflict if another process owns it."""
        if self.info is not None:
            self.restart_if_dead()
            return self.info
        self._binary, self._version = find_binary(self._chosen)
        try:
            if self._ephemeral:
                temporary.remove_abandoned(self._data.folder.parent)
                self._guardian.keep(self._data.folder)
            self._data.take(self._clock)
            self._check_format()
            temporary.remove_socket(self._data.left_behind())
            self._sockets = temporary.new_socket_folder(self._data.folder)
            self._guardian.keep(self._sockets)
            self.info = self._launch_on_free_port()
        except BaseException:
            self.stop()
            raise
        return self.info

    def restart_if_dead(self) -> bool:
        """Start the server again if it died, at the same address; say whether it had died."""
        if self.info is None or self._process is None or self._process.poll() is None:
            return False
        self.info = self._launch()
        return True

    def renewal_asked(self) -> bool:
        """Whether another command asked for new processes since the last look."""
        return self.info is not None and self._data.renewal_asked()

    def kill(self) -> None:
        """Kill the server with SIGKILL, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """Stop the server, with all it was told on disk, and release its directory."""
        self.info = None
        self._data.withdraw()
        self._end_process()
        if self._sockets is not None:
            shutil.rmtree(self._sockets, ignore_errors=True)
            self._guardian.spare(self._sockets)
            self._sockets = None
        self._data.release()
        if self._ephemeral:
            shutil.rmtree(self._data.folder, ignore_errors=True)
            self._guardian.spare(self._data.folder)
        if not self._shared:
            self._guardian.close()

    def _end_process(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._guardian.forget(process.pid)

    def _check_format(self) -> None:
        """Refuse data that the server would overlook: it would start empty without a word."""
        folder = self._data.folder
        if (folder / "appendonlydir").is_dir() and numbers(self._version) < (7, 0):
            raise StoreFault(
                f"{folder} was written by a server >= 7.0, and {self._binary} is {self._version}: "
                f"set {VARIABLE} to a newer one, or use another --home"
            )

    def _launch_on_free_port(self) -> ServerInfo:
        """Start on a free port. Somebody may take it before we do: then try another."""
        for _ in range(5):
            self._port = _free_port()
            try:
                return self._launch()
            except StoreFault as fault:
                if "already in use" not in str(fault):
                    raise
        raise StoreFault("the embedded server found no free port on the loopback address")

    def _launch(self) -> ServerInfo:
        log = self._data.folder / "server.log"
        if self._process is not None:
            self._guardian.forget(self._process.pid)
        with appended(log) as output:
            began = output.tell()
            process = self._process = self._spawn(output)
        self._guardian.watch(process.pid, STOP_S)
        with suppress(BrokenPipeError):  # it ended at once: its log says why
            self._configure(process)
        info = self._described(process.pid)
        if not self._await_answer(process, info.url):
            self.kill()
            why = reason(_tail(log, began), self._data.folder)
            raise StoreFault(f"the embedded server did not start: {why}")
        self._publish(info)
        return info

    def _publish(self, info: ServerInfo) -> None:
        try:
            self._data.publish(info)
        except OSError as error:
            if self.info is None:  # else the published address leads to it all the same
                self.kill()
                place = self._data.folder / "server.json"
                raise StoreFault(f"{place} cannot be written: {error.strerror}") from None

    def _spawn(self, output: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - the server's binary, without arguments of others
            [self._binary, "-"],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env={**os.environ, **allocator_of(self._binary).variables},
            umask=0o077,
            pass_fds=[self._data.lock_descriptor()],
            start_new_session=True,  # Ctrl-C is for us: the server must outlive the drain
            preexec_fn=dying_with(os.getpid()),  # noqa: PLW1509 - one C call, looked up before
        )

    def _configure(self, process: subprocess.Popen[bytes]) -> None:
        if process.stdin is not None:
            with process.stdin as configuration:
                configuration.write(self._configuration().encode())

    def _configuration(self) -> str:
        # hz: a server with nothing to do looks so often at the ends of blocking reads. With the
        # usual 10 a reader that asked to wait 5 ms waits up to 100.
        # hash-max-*: a job's record stays one compact block (its spec is longer than the default 64
        # bytes allow); the old names are understood by every version.
        # stream-node-max-bytes: a stream takes its first node whole, and there is one stream per
        # tenant with arrivals. On Valkey 9.1 one 200-byte entry alone takes 0.8, 1.3, 2.3, 4.4 kB
        # with nodes of 512, 1024, 2048, 4096 (the default), and 245, 227, 220, 216 bytes in a long
        # backlog. From 1024 on no difference in speed could be measured.
        return f"""
bind 127.0.0.1
port {self._port}
unixsocket {_quoted(self._socket_path())}
unixsocketperm 700
requirepass {self._password}
dir {_quoted(self._data.folder)}
daemonize no
save ""
appendonly yes
appendfsync {self._durability}
aof-load-truncated yes
maxmemory {self._maxmemory}
maxmemory-policy noeviction
hash-max-ziplist-entries 64
hash-max-ziplist-value 512
stream-node-max-bytes {self._stream_node_bytes}
io-threads 1
hz {TICKS_PER_S}
lua-time-limit 5000
tcp-keepalive 60
loglevel notice
"""

    def _await_answer(self, process: subprocess.Popen[bytes], url: str) -> bool:
        deadline = self._clock.monotonic() + READY_S
        while not answers(url):
            if process.poll() is not None or self._clock.monotonic() > deadline:
                return False
            self._check()
            self._clock.wait(POLL_S)
        # A server that answered on our socket with our password is ours, but may have gone since.
        return process.poll() is None

    def _socket_path(self) -> Path:
        if self._sockets is None:
            raise StoreFault("the embedded server has not been started")
        return self._sockets / "r.sock"

    def _described(self, pid: int) -> ServerInfo:
        return ServerInfo(
            f"unix://:{self._password}@{quote(str(self._socket_path()))}?db=0",
            f"redis://:{self._password}@127.0.0.1:{self._port}/0",
            pid,
            self._version,
            str(self._data.folder),
            self._durability,
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _quoted(path: Path) -> str:
    """Return a path as the server's configuration takes it, whatever bytes it holds."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in os.fsencode(path)) + '"'


def _tail(log: Path, start: int) -> str:
    with log.open("rb") as output:
        output.seek(start)
        return output.read()[-20_000:].decode("utf-8", "replace").strip()
