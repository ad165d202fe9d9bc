"""How fast could it be? A bare three-hop pipeline of native stream commands, with no promise kept.

    python -m ops.bench.limit [--jobs N]

producer -> XADD in -> router: XREAD, XADD work, XDEL -> worker: XREAD, XADD out, XDEL -> producer.
Raw sockets, commands packed by hiredis, each turn one write and one read. No policy, no checks, no
records, no results that outlive the run: what Parallax does beside this is what its promises cost.
Measured in batches of 100 and of 1, with consumer groups (XREADGROUP, XACK) and without.
"""

from __future__ import annotations

import multiprocessing
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import urlsplit

import click
from hiredis import Reader, pack_command

from parallax.broker.server.embedded import EmbeddedServer
from parallax.lab.report import publish
from parallax.services.clock import SystemClock

PAYLOAD = b"x" * 60
OUTSTANDING = 2_000
PATIENCE_S = 30.0
Command = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Limit:
    """The rate that one approach reached."""

    jobs_per_s: float
    redis_us: float  # Redis CPU per job
    python_us: float  # CPU of the three processes per job


class Raw:
    """A socket that speaks RESP and nothing else."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port), PATIENCE_S)
        self._reader = Reader()
        if parts.password:
            self.calls([("AUTH", parts.username or "default", parts.password)])

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def calls(self, commands: Sequence[Command]) -> list[Any]:
        """Send all commands in one write; return their replies."""
        self._socket.sendall(b"".join([pack_command(command) for command in commands]))
        replies: list[Any] = []
        while len(replies) < len(commands):
            reply = self._reader.gets()
            if reply is False:
                self._reader.feed(self._socket.recv(1 << 20))
            else:
                replies.append(reply)
        return replies


class Source:
    """Reads one stream in batches, as a member of a group or alone with a cursor."""

    def __init__(self, raw: Raw, stream: str, batch: int, groups: bool) -> None:
        self._stream, self._batch, self._groups = stream, batch, groups
        self._cursor: bytes | str = "0-0"
        if groups:
            raw.calls([("XGROUP", "CREATE", stream, "g", "0", "MKSTREAM")])

    def read(self) -> Command:
        """Return the command that waits for the next batch."""
        tail = ("COUNT", self._batch, "BLOCK", 2000, "STREAMS", self._stream)
        if self._groups:
            return ("XREADGROUP", "GROUP", "g", "me", *tail, ">")
        return ("XREAD", *tail, self._cursor)

    def taken(self, reply: Any) -> list[bytes]:
        """Return the ids of the entries in a reply."""
        ids = [entry[0] for entry in reply[0][1]] if reply else []
        if ids:
            self._cursor = ids[-1]
        return ids

    def done(self, ids: list[bytes]) -> list[Command]:
        """Return the commands that say these were dealt with."""
        acks: list[Command] = [("XACK", self._stream, "g", *ids)] if self._groups else []
        return [*acks, ("XDEL", self._stream, *ids)]


def hop(url: str, stream: str, onward: str, batch: int, groups: bool, jobs: int,
        report: Connection) -> None:  # fmt: skip
    """Move every job from one stream to the next; one write and one read a turn."""
    raw = Raw(url)
    source = Source(raw, stream, batch, groups)
    report.send("ready")
    start, moved, commands = time.process_time(), 0, [source.read()]
    while moved < jobs:
        ids = source.taken(raw.calls(commands)[-1])
        moved += len(ids)
        commands = [("XADD", onward, "*", "j", PAYLOAD) for _ in ids]
        commands += source.done(ids) if ids else []
        if moved < jobs:
            commands.append(source.read())
    raw.calls(commands)
    report.send(time.process_time() - start)


def pipeline(url: str, batch: int, jobs: int, groups: bool) -> Limit:
    """Send so many jobs through; return the rates reached."""
    raw = Raw(url)
    raw.calls([("FLUSHALL",)])
    context = multiprocessing.get_context("spawn")
    children, pipes = [], []
    for stream, onward in (("in", "work"), ("work", "out")):
        ours, theirs = context.Pipe()
        child = context.Process(
            target=hop, args=(url, stream, onward, batch, groups, jobs, theirs), daemon=True
        )
        child.start()
        children.append(child)
        pipes.append(ours)
    try:
        for pipe in pipes:
            _received(pipe)
        redis, cpu, start = redis_cpu(raw), time.process_time(), time.perf_counter()
        _drive(raw, batch, jobs, groups)
        seconds, redis = time.perf_counter() - start, redis_cpu(raw) - redis
        python = time.process_time() - cpu + sum(_received(pipe) for pipe in pipes)
    finally:
        raw.close()
        for child in children:
            child.kill()
    return Limit(jobs / seconds, redis / jobs * 1e6, python / jobs * 1e6)


def _drive(raw: Raw, batch: int, jobs: int, groups: bool) -> None:
    out = Source(raw, "out", batch, groups)
    sent = ended = 0
    while ended < jobs:
        commands: list[Command] = []
        if sent < jobs and sent - ended < OUTSTANDING:
            size = min(batch, jobs - sent)
            commands += [("XADD", "in", "*", "j", PAYLOAD) for _ in range(size)]
            sent += size
            look = tuple(part for part in out.read() if part not in ("BLOCK", 2000))
        else:
            look = out.read()
        ids = out.taken(raw.calls([*commands, look])[-1])
        if ids:
            raw.calls(out.done(ids))
        ended += len(ids)


def _received(pipe: Connection) -> Any:
    if not pipe.poll(PATIENCE_S):
        raise TimeoutError("a process of the bare pipeline did not answer")
    return pipe.recv()


def redis_cpu(raw: Raw) -> float:
    """Return the seconds of CPU the server has used."""
    text: str = raw.calls([("INFO", "cpu")])[0].decode()
    fields = dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)
    return float(fields["used_cpu_sys"]) + float(fields["used_cpu_user"])


@click.command()
@click.option("--jobs", default=50_000, show_default=True, help="Jobs (a fifth one by one).")
def main(jobs: int) -> None:
    """Measure the limit: batches of 100 and of 1, with consumer groups and without."""
    ways = ((100, False), (100, True), (1, False), (1, True))
    with EmbeddedServer(SystemClock(), ephemeral=True) as server:
        url = server.start().tcp_url
        found = {(b, g): pipeline(url, b, jobs // (1 if b > 1 else 5), g) for b, g in ways}
    rows = [
        (f"batches of {batch}, {'groups' if groups else 'cursors'}", limit.jobs_per_s,
         limit.redis_us, limit.python_us)
        for (batch, groups), limit in found.items()
    ]  # fmt: skip
    figures = {
        f"{'groups' if groups else 'cursors'}_{batch}": round(limit.jobs_per_s)
        for (batch, groups), limit in found.items()
    }
    head = ("way", "jobs/s", "Redis us/job", "Python us/job")
    publish("A bare pipeline of three hops", head, rows, figures, {})


if __name__ == "__main__":
    main()
