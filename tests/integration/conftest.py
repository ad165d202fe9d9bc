"""Embedded servers on a directory of the test: our own, and one that another process owns."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from parallax.broker.server.embedded import EmbeddedServer
from parallax.core.clock import Clock
from parallax.services.clock import SystemClock
from tests.integration.processes import is_gone
from tests.servers import REAL, SERVERS
from tests.waiting import wait_until

OWNER = """
import sys, threading
from pathlib import Path
from parallax.broker.server.embedded import EmbeddedServer
from parallax.services.clock import SystemClock
server = EmbeddedServer(SystemClock(), home=Path(sys.argv[1]), binary=Path(sys.argv[2]))
print(server.start().pid, flush=True)
threading.Event().wait()
"""


@pytest.fixture(params=REAL)
def binary(request: pytest.FixtureRequest) -> Path:
    """Return the path of a server: each real one in turn."""
    return SERVERS[request.param].path()


@pytest.fixture
def make(binary: Path, tmp_path: Path) -> Iterator[Callable[..., EmbeddedServer]]:
    """Return a function that makes a server on this test's directory `data`."""
    made: list[EmbeddedServer] = []

    def server(clock: Clock | None = None, **options: Any) -> EmbeddedServer:
        options = {"home": tmp_path / "data", "binary": binary, **options}
        made.append(EmbeddedServer(clock or SystemClock(), **options))
        return made[-1]

    yield server
    for one in reversed(made):
        one.stop()


@pytest.fixture
def owner(binary: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Start another process that owns a server on `data`; return it and the server's pid."""
    command = [sys.executable, "-c", OWNER, str(tmp_path / "data"), str(binary)]
    temporary = tempfile.mkdtemp(prefix="o-")  # what a killed owner leaves there, we remove
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "TMPDIR": temporary}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        yield process, pid
        process.kill()
    if sys.platform != "linux":
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: is_gone(pid), "the server of the killed owner to end")
    shutil.rmtree(temporary)
