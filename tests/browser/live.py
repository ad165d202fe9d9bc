"""A system of real processes with a dashboard, and a browser that looks at it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from parallax.services.clock import SystemClock
from parallax.services.system import Plan, System

PLACES = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")


def chromium() -> str | None:
    """Return the browser that Debian (or somebody else) installed, if there is one."""
    found = shutil.which("chromium")
    return found or next((place for place in PLACES if os.access(place, os.X_OK)), None)


class Dashboard:
    """`parallax dashboard` as a process, at an address that stays when it is started again."""

    def __init__(self, url: str, lab: Path, port: int = 0) -> None:
        self._url, self._lab = url, lab
        self.port = port
        self.token = ""
        self.process = self._start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def signed_in(self) -> str:
        """The address of the page that signs its reader in."""
        return f"{self.address}/#token={self.token}"

    def _start(self) -> subprocess.Popen[str]:
        environment = {**os.environ, "PARALLAX_REDIS": self._url}
        process = subprocess.Popen(
            [sys.executable, "-m", "parallax", "dashboard", "--port", str(self.port), "--lab",
             str(self._lab)],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        said = process.stdout.readline()
        assert "/#token=" in said, f"the dashboard said {said!r}"
        address, _, self.token = said.strip().rpartition("/#token=")
        self.port = int(address.rpartition(":")[2])
        return process

    def stop(self) -> None:
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def start_again(self) -> None:
        self.stop()
        self.process = self._start()


@dataclass(slots=True)
class Live:
    """A cell at work, and its dashboard."""

    system: System
    dashboard: Dashboard
    folder: Path

    def load(self, rate: float, duration_s: float, tenants: str) -> subprocess.Popen[bytes]:
        """Let somebody ask for things, beside the tests."""
        return subprocess.Popen(
            [sys.executable, "-m", "parallax", "loadgen", "--rate", str(rate), "--duration",
             str(duration_s), "--tenants", tenants, "--sessions", "5", "--json"],
            env={**os.environ, "PARALLAX_REDIS": self.system.url},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip


@contextmanager
def live(workers: int = 3, engine: str = "echo", speed: float = 20.0) -> Iterator[Live]:
    """Start all of it; end all of it."""
    plan = Plan(workers, 2, ("--engine", engine, "--speed", str(speed)))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        system = stack.enter_context(
            System(plan, SystemClock(), ephemeral=True, logs=Path(os.devnull))
        )
        dashboard = Dashboard(system.url, folder / "lab")
        stack.callback(dashboard.stop)
        yield Live(system, dashboard, folder)


@contextmanager
def loaded(
    cell: Live, rate: float = 12.0, tenants: str = "gold:3,silver:2,bronze:1"
) -> Iterator[None]:
    """Keep a load on a cell."""
    load = cell.load(rate, 900.0, tenants)
    try:
        yield
    finally:
        load.kill()
        load.wait()
