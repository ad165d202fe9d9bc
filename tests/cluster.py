"""A Redis Cluster of our own for tests: three masters on this machine."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from parallax.broker.link.connection import Link, Reply
from parallax.broker.link.scripts import Argument
from parallax.broker.server.binary import find_binary
from parallax.broker.server.guardian import dying_with
from parallax.broker.store.keys import Keys
from parallax.core.errors import ParallaxError
from tests.waiting import wait_until

SLOTS = 16_384
MASTERS = 3
BUS = 10_000
#: Who is silent for so long has failed, and its replica may take over. Long, for a busy machine.
PATIENT_MS, HASTY_MS = 15_000, 1_000


class Node:
    """One server of the cluster, with a directory and a port of its own."""

    def __init__(self, binary: Path, folder: Path, password: str, timeout_ms: int) -> None:
        self._binary, self.folder, self._password = binary, folder, password
        self._timeout_ms = timeout_ms
        self.port = _free_port()
        self.url = f"redis://:{password}@127.0.0.1:{self.port}/0"
        # It knows no other node, and so it stays with this one, also while that is down.
        self.link = Link(Link.to(self.url)._connect)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, or start it again after `kill`; return when it answers."""
        self.folder.mkdir(exist_ok=True)
        with (self.folder / "server.log").open("ab") as log:
            process = self._process = subprocess.Popen(
                [self._binary, "-"], stdin=subprocess.PIPE, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=dying_with(os.getpid()),  # noqa: PLW1509
            )  # fmt: skip
        assert process.stdin is not None
        with process.stdin as configuration:
            configuration.write(self._configuration().encode())
        wait_until(self._answers, f"the node at port {self.port}: {self.folder}/server.log")

    def kill(self) -> None:
        """End it as a crash would."""
        self.link.close()
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=20)

    def call(self, *command: Argument) -> Reply:
        """Give this node, and no other, an order."""
        return self.link.call(*command)

    def info(self) -> dict[str, str]:
        """Return what it thinks of the cluster."""
        lines = self.call("CLUSTER", "INFO").decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def name(self) -> str:
        """Return its name in the cluster."""
        name: str = self.call("CLUSTER", "MYID").decode()
        return name

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "server.log").read_text()[-600:]
        try:
            return bool(self.call("PING") == b"PONG")
        except ParallaxError:
            return False

    def _configuration(self) -> str:
        return f"""
bind 127.0.0.1
port {self.port}
cluster-enabled yes
cluster-node-timeout {self._timeout_ms}
cluster-require-full-coverage no
cluster-replica-validity-factor 0
requirepass {self._password}
masterauth {self._password}
dir {self.folder}
save ""
appendonly yes
appendfsync no
repl-diskless-sync-delay 0
maxmemory-policy noeviction
hz 250
"""


class LocalCluster:
    """Three masters, each with a third of the slots, and as many replicas of the first as asked."""

    def __init__(self, replicas: int = 0) -> None:
        self._folder, self._replicas = Path(), replicas
        self.nodes: list[Node] = []

    def __enter__(self) -> LocalCluster:
        self._folder = Path(tempfile.mkdtemp(prefix="plx-cluster-"))
        binary, _ = find_binary()
        password = secrets.token_hex(12)
        timeout_ms = HASTY_MS if self._replicas else PATIENT_MS
        try:
            for n in range(MASTERS + self._replicas):
                self.nodes.append(Node(binary, self._folder / str(n), password, timeout_ms))
                self.nodes[-1].start()
            self._join()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        for node in self.nodes:
            node.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def masters(self) -> list[Node]:
        """The three that have slots."""
        return self.nodes[:MASTERS]

    def _join(self) -> None:
        first = self.nodes[0]
        for n, master in enumerate(self.masters):
            slots = range(SLOTS * n // MASTERS, SLOTS * (n + 1) // MASTERS)
            master.call("CLUSTER", "ADDSLOTS", *slots)
            master.call("CLUSTER", "SET-CONFIG-EPOCH", n + 1)  # so that none is at odds
        for node in self.nodes[1:]:
            first.call("CLUSTER", "MEET", "127.0.0.1", node.port)
        self.await_agreement()
        for node in self.nodes[MASTERS:]:
            node.call("CLUSTER", "REPLICATE", first.name())
            wait_until(partial(_replicates, node), "the replica to be in step")

    def await_agreement(self) -> None:
        """Return when all nodes know each other and all slots."""
        everybody = str(len(self.nodes))

        def agreed() -> bool:
            told = [node.info() for node in self.nodes]
            return all(
                t["cluster_state"] == "ok" and t["cluster_known_nodes"] == everybody
                and t["cluster_slots_ok"] == str(SLOTS) for t in told
            )  # fmt: skip

        wait_until(agreed, "all nodes to say cluster_state:ok")

    def home_of(self, slot: int) -> Node:
        """Return the master to which a slot was given at first."""
        return self.masters[min(n for n in range(MASTERS) if slot < SLOTS * (n + 1) // MASTERS)]

    def cell_on(self, number: int, prefix: str = "cell") -> Keys:
        """Return the keys of a cell whose slot was given to that master at first."""
        names = (Keys(f"{prefix}-{n}") for n in range(1_000))
        return next(keys for keys in names if self.home_of(keys.slot) is self.masters[number])

    def moving(self, slot: int, source: Node, target: Node, page: int = 10) -> Iterator[str]:
        """Move a slot with its keys, as an operator's tool does; others may work at each step."""
        target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", source.name())
        yield "importing"
        source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", target.name())
        yield "migrating"
        while keys := source.call("CLUSTER", "GETKEYSINSLOT", slot, page):
            source.call(
                "MIGRATE", "127.0.0.1", target.port, "", 0, 5_000, "AUTH", source._password,
                "KEYS", *keys,
            )  # fmt: skip
            yield "keys"
        for node in (target, source, *(n for n in self.masters if n not in (target, source))):
            node.call("CLUSTER", "SETSLOT", slot, "NODE", target.name())
            yield "given"

    def flush(self) -> None:
        """Remove all keys of all masters."""
        for master in self.masters:
            master.call("FLUSHALL")


def _replicates(node: Node) -> bool:
    return b"master_link_status:up" in node.call("INFO", "replication")


def _free_port() -> int:
    """Return a port that is free, as is the one the other nodes use: 10,000 above it."""
    while True:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            port: int = one.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):  # taken, or there is no such port
                other.bind(("127.0.0.1", port + BUS))
                return port
