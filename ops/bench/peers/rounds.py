"""The measured queues, and a round of one: worker and producer in the peers' own environment.

Parallax needs a newer redis-py than some of them bear, so they are installed in `.venv-peers`
(`make` does it from `requirements.txt`) and run as processes; the producer prints its seconds.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ops.bench.peers.harness import URL
from parallax.broker.server.guardian import dying_with

ROOT = Path(__file__).resolve().parents[3]
PYTHON = ROOT / ".venv-peers" / "bin" / "python"
TIMEOUT_S = 150.0

#: What becomes of the job of a worker that is killed, if nothing but the defaults is set.
AGAIN, RECORDED, LOST = "run again", "marked as failed", "lost"


@dataclass(frozen=True, slots=True)
class Peer:
    """A measured queue: how many jobs make a round, and what a killed worker's job comes to."""

    name: str
    jobs: int
    fate: str

    @property
    def durable(self) -> bool:
        """Whether the queue still knows the job of a killed worker."""
        return self.fate != LOST


PEERS = (
    Peer("rq", 1_000, RECORDED),
    Peer("arq", 3_000, AGAIN),
    Peer("saq", 3_000, RECORDED),
    Peer("taskiq", 3_000, AGAIN),
    Peer("dramatiq", 4_000, AGAIN),
    Peer("huey", 4_000, LOST),
)


class Broken(Exception):
    """A round could not be run; the message says why."""


def peer_round(peer: Peer, url: str) -> float:
    """Run one round; return jobs/s. Raises Broken."""
    if not PYTHON.exists():
        raise Broken(f"{PYTHON} is missing: `make bench-queue` installs it")
    with tempfile.TemporaryFile() as log:
        worker = _start(peer, url, log, "work")
        try:
            return peer.jobs / _seconds(peer, url, worker, log)
        finally:
            _kill(worker)


def _seconds(peer: Peer, url: str, worker: subprocess.Popen[bytes], log: IO[bytes]) -> float:
    with tempfile.TemporaryFile() as told:
        producer = _start(peer, url, told, "produce", str(peer.jobs))
        try:
            code = producer.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise Broken(f"no end within {TIMEOUT_S:g} s") from None
        finally:
            _kill(producer)
        if worker.poll() is not None:
            raise Broken(f"the worker ended with {worker.returncode}: {_last_line(log)}")
        if code != 0:
            raise Broken(_last_line(told))
        told.seek(0)
        for line in told.read().splitlines():
            if line.startswith(b'{"seconds"'):
                return float(json.loads(line)["seconds"])
    raise Broken("the producer did not say how long it took")


def _start(peer: Peer, url: str, output: IO[bytes], *role: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - our own script
        [PYTHON, "-m", f"ops.bench.peers.{peer.name}_queue", *role],
        cwd=ROOT,
        env={**os.environ, URL: url},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        preexec_fn=dying_with(os.getpid()),  # noqa: PLW1509 - one C call, looked up before
    )


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process we started, and what it started, unless it has ended."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _last_line(output: IO[bytes]) -> str:
    output.seek(0)
    lines = output.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
