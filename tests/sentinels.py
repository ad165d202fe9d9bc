"""A server, a replica of it and three sentinels, on loopback ports: the least that fails over."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from parallax.broker.link.connection import Link
from parallax.core.errors import ParallaxError
from parallax.services.system import free_port
from tests.servers import EMBEDDED
from tests.waiting import wait_until

SERVICE = "ours"
#: A server that is silent for so long (milliseconds) is given up.
DOWN_MS = 1_000


@dataclass(slots=True)
class Node:
    """One process: a server or a sentinel."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis://127.0.0.1:{self.port}"

    def ask(self, *command: str) -> object:
        """Send one command; None if it does not answer."""
        link = Link.to(self.url)
        try:
            return link.call(*command)
        except ParallaxError:
            return None
        finally:
            link.close()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it."""
        self.process.send_signal(number)

    def end(self) -> None:
        """Kill it."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait(timeout=30)


@dataclass(slots=True)
class Watched:
    """Use it in a `with`."""

    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="s-")))
    servers: list[Node] = field(default_factory=list)
    sentinels: list[Node] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The address of whoever leads."""
        places = ",".join(f"127.0.0.1:{node.port}" for node in self.sentinels)
        return f"redis+sentinel://{places}/{SERVICE}/0"

    @property
    def primary(self) -> Node:
        """The server that leads at first."""
        return self.servers[0]

    @property
    def replica(self) -> Node:
        """The server that follows at first."""
        return self.servers[1]

    def __enter__(self) -> Watched:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.close()

    def close(self) -> None:
        """End all of it."""
        for node in (*self.sentinels, *self.servers):
            node.end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self) -> None:
        self.servers.append(self._server())
        self.servers.append(self._server(f"replicaof 127.0.0.1 {self.primary.port}"))
        wait_until(self._follows, "the replica to follow", 60.0)
        self.sentinels += [self._sentinel() for _ in range(3)]
        wait_until(self._watch, "the sentinels to know each other", 60.0)

    def _follows(self) -> bool:
        told = self.replica.ask("INFO", "replication")
        return isinstance(told, bytes) and b"master_link_status:up" in told

    def _watch(self) -> bool:
        known = [node.ask("SENTINEL", "CKQUORUM", SERVICE) for node in self.sentinels]
        slaves = [node.ask("SENTINEL", "REPLICAS", SERVICE) for node in self.sentinels]
        others = [node.ask("SENTINEL", "SENTINELS", SERVICE) for node in self.sentinels]
        told = all(isinstance(one, list) and len(one) == 2 for one in others)
        return told and all(known) and all(slaves)

    def leads(self, node: Node) -> bool:
        """Whether a server says that it leads."""
        told = node.ask("ROLE")
        return isinstance(told, list) and told[0] == b"master"

    def _server(self, more: str = "") -> Node:
        port = free_port(0)
        return self._node(port, [], f"""
            port {port}
            appendonly yes
            appendfsync everysec
            maxmemory-policy noeviction
            repl-diskless-sync-delay 0
            {more}
        """)  # fmt: skip

    def _sentinel(self) -> Node:
        port = free_port(0)
        return self._node(port, ["--sentinel"], f"""
            port {port}
            sentinel monitor {SERVICE} 127.0.0.1 {self.primary.port} 2
            sentinel down-after-milliseconds {SERVICE} {DOWN_MS}
            sentinel failover-timeout {SERVICE} 10000
        """)  # fmt: skip

    def _node(self, port: int, more: list[str], settings: str) -> Node:
        home = self.folder / str(port)
        home.mkdir()
        lines = [line.strip() for line in settings.splitlines() if line.strip()]
        named = [*lines, "bind 127.0.0.1", f"dir {home}", 'save ""', "protected-mode no"]
        (home / "conf").write_text("\n".join(named) + "\n")
        command = [str(EMBEDDED.path()), str(home / "conf"), *more]
        with (home / "log").open("wb") as log:
            return Node(port, subprocess.Popen(command, stdout=log, stderr=log))
