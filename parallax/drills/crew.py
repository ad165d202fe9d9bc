"""Many workers in one process, for drills with more of them than a machine has room for.

`python -m parallax.drills.crew`: every worker is a real one in a thread of its own, with its own
connections, heartbeat and history. A job that kills a worker kills its thread only; SIGUSR1 lets a
fifth of them die. Who died leaves nothing behind but what a crash would leave, and is replaced.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from parallax.broker.link.connection import Link
from parallax.broker.server.guardian import Guardian, dying_with
from parallax.broker.store.keys import Keys
from parallax.cli.options import start_logging
from parallax.consumers.engines.clock import ClockEngine
from parallax.consumers.trouble import Failures, Slowdown
from parallax.consumers.worker import Worker
from parallax.core.clock import Clock
from parallax.core.errors import ParallaxError, Unreachable
from parallax.core.settings import WorkerSettings
from parallax.engine.profiles import profile_named
from parallax.engine.request import Request
from parallax.services.clock import SystemClock

log = logging.getLogger(__name__)

#: Workers of a crew are named after this, and jobs that kill them after the other.
NAME, POISON = "crew", "poison"
SPEED, FAIL, SLOW = 20.0, 0.01, (0.01, 20.0)
_STACK = 512 * 1024


class Killed(BaseException):
    """Lets the worker die as if its process had been killed: no code may catch it on the way."""


class Deadly(ClockEngine):
    """An engine that dies of poison."""

    def add(self, request: Request, now: float) -> None:
        """See `Engine.add`."""
        if request.id.startswith(POISON):
            raise Killed
        super().add(request, now)


@dataclass(slots=True)
class Crew:
    """The threads of this process."""

    url: str
    cell: str
    size: int
    settings: WorkerSettings
    slots: int
    histories: Path
    clock: Clock
    stop: threading.Event = field(default_factory=threading.Event)
    doomed: set[int] = field(default_factory=set)
    random: Random = field(default_factory=Random)

    def run(self) -> None:
        """Work until told to stop; then all drain."""
        threading.stack_size(_STACK)
        threads = [
            threading.Thread(target=self._live, args=(n,), name=f"{NAME}{n}", daemon=True)
            for n in range(1, self.size + 1)
        ]
        for thread in threads:
            thread.start()
            self.stop.wait(0.01)  # their first heartbeats shall not all be due at once
        for thread in threads:
            thread.join()

    def kill_some(self) -> None:
        """Let a fifth of them die."""
        self.doomed |= set(self.random.sample(range(1, self.size + 1), max(1, self.size // 5)))

    def _live(self, number: int) -> None:
        while not self.stop.is_set():
            try:
                self._work(number, self._worker(number))
            except ParallaxError as error:
                log.warning("%s%d could not start: %s", NAME, number, error)
                self.stop.wait(0.5)
            except Exception:
                log.exception("%s%d ended, and is replaced", NAME, number)
                self.stop.wait(0.5)

    def _worker(self, number: int) -> Worker:
        engine = Deadly(replace(profile_named("laptop"), max_seqs=self.slots), SPEED, self.clock)
        name = f"{NAME}{number}"
        worker = Worker(
            name, (Link.to(self.url), Link.to(self.url)), Keys(self.cell), engine,
            self.settings, self.clock,
            slowdown=Slowdown(*SLOW), failures=Failures(FAIL),
            history=self.histories / f"{name}.jsonl",
        )  # fmt: skip
        worker.start()
        return worker

    def _work(self, number: int, worker: Worker) -> None:
        """Take turns until the worker is to die, or to leave."""
        while not self.stop.is_set():
            try:
                worker.run_once()
            except Killed:
                self.doomed.add(number)
            except Exception as error:
                if not isinstance(error, ParallaxError):
                    log.exception("%s%d failed, and goes on", NAME, number)
                worker.recover(error)
                self.stop.wait(self.random.uniform(0.0, 0.3))
            if number in self.doomed:
                self.doomed.discard(number)
                worker.heartbeat.stop()
                worker.recover(Unreachable("it was killed"))  # closes the connection, no more
                return
        worker.close()


class Crewed:
    """The process of a crew, as the stage of a drill sees it."""

    def __init__(
        self, arguments: Sequence[str], environment: dict[str, str], log: Path, guardian: Guardian
    ) -> None:
        self._command = [sys.executable, "-m", "parallax.drills.crew", *arguments]
        self._environment, self._log, self._guardian = environment, log, guardian
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Its process id, while it runs."""
        process = self._process
        return None if process is None or process.poll() is not None else process.pid

    def watch(self) -> None:
        """Start it if it does not run."""
        if self.pid is not None:
            return
        if self._process is not None:
            self._guardian.forget(self._process.pid)
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
                self._command,
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=dying_with(os.getpid()),  # noqa: PLW1509 - one C call, looked up before
                start_new_session=True,
            )
        self._guardian.watch(self._process.pid)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def end(self, patience_s: float = 15.0) -> None:
        """Ask it to end, and insist."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def main() -> None:
    """Run a crew; the server's URL and the cell come from the environment."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--slots", type=int, required=True)
    parser.add_argument("--heartbeat", type=float, required=True)
    parser.add_argument("--histories", type=Path, required=True)
    options = parser.parse_args()
    start_logging()
    settings = WorkerSettings(heartbeat_s=options.heartbeat, drain_s=5.0)
    crew = Crew(
        os.environ["PARALLAX_REDIS"], os.environ["PARALLAX_CELL"], options.size, settings,
        options.slots, options.histories, SystemClock(),
    )  # fmt: skip
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: crew.stop.set())
    signal.signal(signal.SIGUSR1, lambda *_: crew.kill_some())
    crew.run()


if __name__ == "__main__":
    main()
