"""What the documents show that serves until it is told to end, and what is typed beside it.

Each page is typed from its top into a shell of an empty directory: variables are set, what serves
is started and looked at, the rest must end well. At the end of a page all that serves is told to
end, and must end well, too. `tests/shown.py` says which lines these are.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import pytest

from parallax.broker.server.embedded import EmbeddedServer
from parallax.services.system import free_port
from tests import shown
from tests.e2e.ending import Command
from tests.servers import all_are_wanted
from tests.shown import ROOT, How, Line
from tests.upstream import Upstream
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.platform != "linux", reason="/proc tells which signals are caught"),
]

BASH = shutil.which("bash") or "bash"
#: Beside what serves, what later lines of these pages want.
ALSO = ("parallax acl", "parallax keys create", 'parallax submit "Say hello" --detach')
WANTED = [
    line
    for line in shown.lines()
    if shown.how(line) in (How.SERVES, How.SHELL, How.SETS) or line.text.startswith(ALSO)
]
#: What a page has in place of what a test has.
BACKENDS = (
    "http://127.0.0.1:8000/v1", "http://127.0.0.1:8001/v1", "http://gpu1:8000/v1",
    "http://gpu2:8000/v1", "https://llm.example.com/v1",
)  # fmt: skip
OURS = (
    r"rediss?://(?:USER|parallax):SECRET@[\w.-]+:6379(?:/0)?(?:\?[^']*)?|redis://\w+\.internal:6379"
)
#: Exit codes, beside 0, of what was told to end.
ENDED = {"parallax top": {143}, "parallax lab nightly": {143}}


@dataclass(slots=True)
class Reader:
    """Who types a page, and what it started."""

    folder: Path
    url: str
    upstream: str
    environment: dict[str, str]
    own: int = field(default_factory=lambda: free_port(0))  # of a server that the page starts
    gateway: int = field(default_factory=lambda: free_port(0))
    serving: list[tuple[Line, subprocess.Popen[str]]] = field(default_factory=list)

    def type_block(self, lines: Sequence[Line]) -> None:
        """Type a block into a shell of its own; what `up` starts stays for those after it."""
        outside = dict(self.environment)
        for line in lines:
            self.type(line)
        if not any(line.text.startswith("parallax up") for line in lines):
            self.environment = outside

    def type(self, line: Line) -> None:
        """Type one line."""
        text = self.meant(line)
        how = shown.how(line)
        if how is How.SETS:
            name = text.removeprefix("export ").partition("=")[0]
            self.environment[name] = self.finished(line, f'{text}; printf %s "${name}"')
            if name == "PARALLAX_REDIS_FILE":
                self._write_url(Path(self.environment[name]))
        elif how is How.SERVES:
            self.start(line, text)
        else:
            self.finished(line, text)

    def meant(self, line: Line) -> str:
        """Return the line with places of this test."""
        text = line.text
        for backend in BACKENDS:
            text = text.replace(backend.removesuffix("/v1"), self.upstream.removesuffix("/v1"))
        text = re.sub(OURS, lambda _: self.url, text)
        text = text.replace("redis.internal:6379", f"127.0.0.1:{self.own}").replace(" ...", "")
        text = re.sub(
            r"--(metrics-)?port \d+", lambda m: f"--{m[1] or ''}port {free_port(0)}", text
        )
        text = text.replace("127.0.0.1:8080", f"127.0.0.1:{self.gateway}")
        if text.startswith("redis-server"):
            text = re.sub(r" --port \d+", "", text) + f" --port {self.own}"
        for file in ("/etc/parallax/worker.url", "/etc/parallax/redis.url"):
            text = text.replace(file, str(self.folder / Path(file).name))
        return text.replace("MY_KEY=...", "MY_KEY=secret")

    def _write_url(self, file: Path) -> None:
        """Write what the file of a URL has: the worker of a server with users, or ours."""
        password = self.folder / "acl" / "worker.password"
        self.environment.pop("PARALLAX_REDIS", None)
        url = self.url
        if password.exists():
            url = (
                f"redis://parallax-worker-main:{password.read_text().strip()}@127.0.0.1:{self.own}"
            )
        file.write_text(url)
        file.chmod(0o600)

    def finished(self, line: Line, text: str) -> str:
        """Type what ends by itself, and return what it says."""
        done = subprocess.run(
            [BASH, "-euo", "pipefail", "-c", text], cwd=self.folder, env=self.environment,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{line.named}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    def start(self, line: Line, text: str) -> None:
        """Start what serves; return when it hears signals, and says that it is up if it says so."""
        log = self.folder / f"log-{len(self.serving)}"
        if text.startswith("parallax up"):
            self._alone(text)
        with log.open("w") as out:
            process = Command(
                [BASH, "-c", f"exec {text}"], cwd=self.folder, env=self.environment, stdout=out,
                stderr=out, text=True,
            )  # fmt: skip
        self.serving.append((line, process))
        says = "Parallax is up" if text.startswith("parallax up") else ""

        def is_up() -> bool:
            assert process.poll() is None, f"{line.named}\n{log.read_text()[-2000:]}"
            return catches(process.pid, signal.SIGTERM) and says in log.read_text()

        wait_until(is_up, line.named, 120.0)

    def _alone(self, text: str) -> None:
        """Let `up` start a server of its own, and what is typed next find that."""
        environment = self.environment
        for name in ("PARALLAX_REDIS", "PARALLAX_UP_GATEWAY_PORT"):
            environment.pop(name, None)
        environment["PARALLAX_HOME"] = str(self.folder / f"home-{len(self.serving)}")
        environment.update(PARALLAX_UP_WORKERS="1", PARALLAX_UP_SCHEDULERS="1")
        if "--gateway" in text:
            self.gateway = free_port(0)
            environment["PARALLAX_UP_GATEWAY_PORT"] = str(self.gateway)
        if "--dashboard" in text:
            environment["PARALLAX_UP_DASHBOARD_PORT"] = str(free_port(0))

    def end(self) -> None:
        """Tell all that serves to end; each must, and well."""
        for line, process in self.serving:
            assert process.poll() is None, f"{line.named} ended unasked: {process.returncode}"
        for line, process in reversed(self.serving):
            process.terminate()
            code = process.wait(timeout=120)
            may = {0}.union(*(v for k, v in ENDED.items() if line.text.startswith(k)))
            assert code in may, f"{line.named}: {code}"

    def kill(self) -> None:
        """End whatever a failed test left."""
        for _, process in self.serving:
            if process.poll() is None:
                process.terminate()
                process.wait(timeout=60)


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    (caught,) = re.findall(r"^SigCgt:\s*([0-9a-f]+)", status, re.MULTILINE)
    return bool(int(caught, 16) >> (number - 1) & 1)


@pytest.fixture
def reader(embedded: EmbeddedServer, embedded_url: str, tmp_path: Path) -> Iterator[Reader]:
    for missing in [name for name in ("curl", "redis-cli") if shutil.which(name) is None]:
        if not all_are_wanted():
            pytest.skip(f"{missing} is not here")
    shutil.copy(ROOT / ".env.example", tmp_path)
    kept = {name: v for name, v in os.environ.items() if not name.startswith("PARALLAX_")}
    url = embedded.start().tcp_url  # tools want one, and it was emptied
    environment = kept | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PARALLAX_REDIS": url,
        "PARALLAX_HOME": str(tmp_path / "home"),
        "PARALLAX_COMPARE_LIMIT": "20",
        "PYTHONPATH": str(ROOT),
    }
    with ExitStack() as stack:
        upstream = stack.enter_context(Upstream())
        one = Reader(tmp_path, url, upstream.url, environment)
        stack.callback(one.kill)
        yield one


@pytest.mark.parametrize("page", dict.fromkeys(line.page for line in WANTED))
def test_what_a_page_shows_serves_and_ends_well(page: str, reader: Reader) -> None:
    mine = (line for line in WANTED if line.page == page)
    for _, block in groupby(mine, key=lambda line: line.block):
        reader.type_block(list(block))
    reader.end()


def test_the_control_what_does_not_serve_is_told(reader: Reader) -> None:
    wrong = Line("README.md", "parallax gateway --port none")
    with pytest.raises(AssertionError, match=re.escape(wrong.named)):
        reader.start(wrong, wrong.text)
