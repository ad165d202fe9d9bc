"""A real Parallax under load beside a real Prometheus that scrapes it, for tests and pictures."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from ops.prometheus.server import Prometheus
from parallax.broker.server.embedded import running_server
from parallax.core.clock import Clock
from parallax.core.errors import StoreFault

HERE = Path(__file__).parent
CONFIG = HERE / "prometheus.yml"
#: The ports that the configuration names begin here, and so many follow.
NAMED, COUNT = 9_100, 8
READY_S = 180.0
#: On a machine that has much else to do, `up` itself may give up waiting for its processes.
TRIES = 3
#: What makes something happen: queues, hits in caches, second attempts, thefts.
POLICIES = (
    "--hedging", "percentile", "--set", "hedging.min_samples=20", "--set", "hedging.quantile=0.9",
    "--stealing", "steal_half", "--engine", "echo", "--engine-speed", "0.2",
)  # fmt: skip
_CHAT = {
    "model": "echo", "stream": True, "max_tokens": 24,
    "messages": [
        {"role": "system", "content": "You answer in the words of the question. " * 20},
        {"role": "user", "content": "Say which of the workers is the least loaded one."},
    ],
}  # fmt: skip


def config_text(base: int, every_s: int) -> str:
    """Return the configuration for ports from `base` on, scraped so often."""
    text = CONFIG.read_text("utf-8")
    text = re.sub(r"127\.0\.0\.1:(\d+)", lambda m: f"127.0.0.1:{base + int(m[1]) - NAMED}", text)
    text = text.replace("interval: 5s", f"interval: {every_s}s")
    return text.replace("rules/", f"{HERE}/rules/")


def free_ports(count: int, start: int = 20_100) -> int:
    """Return the first of so many ports in a row that are free now."""
    for base in range(start, 60_000, count):
        if all(_is_free(port) for port in range(base, base + count)):
            return base
    raise StoreFault(f"no {count} ports in a row are free")


def _is_free(port: int) -> bool:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Live:
    """Both, in a folder of their own. `with` starts and ends them."""

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        *,
        base: int | None = None,
        prometheus_port: int | None = None,
        every_s: int = 1,
        options: Sequence[str] = POLICIES,
    ) -> None:
        first = free_ports(COUNT + 2) if base is None else base
        self._folder, self._clock, self._options = folder, clock, options
        self.base = first
        self.gateway_port = first + COUNT if base is None else None
        self._config = folder / "prometheus.yml"
        self._config.write_text(config_text(first, every_s), "utf-8")
        port = first + COUNT + 1 if prometheus_port is None else prometheus_port
        self.prometheus = Prometheus(self._config, folder, port, clock)
        self._running, self._left = ExitStack(), threading.Event()
        self.up: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Live:
        with ExitStack() as started:
            self._start_up(started)
            started.enter_context(self.prometheus)
            self._await_up(started)
            self._running = started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def run(self, *words: str) -> None:
        """Run a command of Parallax to its end; raises CalledProcessError."""
        subprocess.run(  # noqa: S603 - our own command
            self._command(*words), check=True, capture_output=True, timeout=120
        )

    def load(self, rate: float, seconds: float) -> subprocess.Popen[bytes]:
        """Let two tenants of unlike weight ask for more than there is."""
        return start(self._running, self._command(
            "loadgen", "--rate", f"{rate:g}", "--duration", f"{seconds:g}",
            "--tenants", "acme:3,bob:1", "--json",
        ), silent=True)  # fmt: skip

    def chat(self) -> None:
        """Ask the gateway for answers in pieces, one after the other, the same words each time."""
        url = f"http://127.0.0.1:{self.gateway_port}/v1/chat/completions"
        thread = threading.Thread(target=_ask, args=(url, self._left), daemon=True)
        self._running.callback(thread.join, 60.0)
        self._running.callback(self._left.set)
        thread.start()

    def _start_up(self, running: ExitStack) -> None:
        words = ("up", "--gateway", *self._gateway(), "--metrics-port", str(self.base))
        self.up = start(running, self._command(*words, *self._options))

    def _gateway(self) -> tuple[str, ...]:
        return () if self.gateway_port is None else ("--gateway-port", str(self.gateway_port))

    @property
    def home(self) -> Path:
        """The home of the embedded server."""
        return self._folder / "home"

    def _command(self, *words: str) -> list[str]:
        home = f"PARALLAX_HOME={self.home}"
        return ["env", "-u", "PARALLAX_REDIS", home, sys.executable, "-m", "parallax", *words]

    def _await_up(self, running: ExitStack) -> None:
        deadline, tries = self._clock.monotonic() + READY_S, 1
        while self._clock.monotonic() < deadline:
            if self.up is None or self.up.poll() is not None:
                if tries == TRIES:
                    break
                tries += 1
                self._start_up(running)
            if running_server(self.home) is not None and self._answers():
                return
            self._clock.wait(0.2)
        raise StoreFault(f"Parallax did not start within {READY_S:g} s; see above")

    def _answers(self) -> bool:
        """Whether every process serves its metrics."""
        for port in range(self.base, self.base + COUNT):
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=1.0):
                    continue
            except OSError:
                return False
        return True


def _ask(url: str, left: threading.Event) -> None:
    body, kind = json.dumps(_CHAT).encode(), {"Content-Type": "application/json"}
    while not left.wait(0.1):
        request = urllib.request.Request(url, body, kind)  # noqa: S310 - the loopback address
        try:
            with urllib.request.urlopen(request, timeout=30.0) as answer:  # noqa: S310
                answer.read()
        except OSError:
            continue  # a request that is refused is counted, too


def start(
    running: ExitStack, command: Sequence[str], *, silent: bool = False
) -> subprocess.Popen[bytes]:
    """Start a process that ends with this one: it is asked to, and waited for."""
    to = subprocess.DEVNULL if silent else None
    process = subprocess.Popen(  # noqa: S603 - our own command
        command, stdin=subprocess.DEVNULL, stdout=to, stderr=to, start_new_session=True
    )
    running.callback(_end, process)
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
