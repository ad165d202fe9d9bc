"""What is measured between a load and an engine: Parallax, and proxies of PyPI beside it.

Each peer has an environment of its own under `build/peers`, made by `make bench-gateway`, and is
started as its documentation says: one process where it has processes, and nothing it need not log.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ops.bench.front.load import Target
from ops.bench.front.mock import MODEL
from parallax.broker.server.embedded import EmbeddedServer
from parallax.services.clock import SystemClock
from parallax.services.system import Plan, System, free_port

CLOCK = SystemClock()
PEERS = Path("build/peers")
KEY = "sk-bench"
#: Requests that the worker in front of the mock may have at once.
SLOTS = 1_500


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that runs: where it listens, and its processes, by name."""

    target: Target
    pids: dict[str, int]

    def cpu_s(self) -> dict[str, float]:
        """Return the seconds of CPU that each process, with its children, has used."""
        return {name: sum(map(_cpu_s, [pid, *_below(pid)])) for name, pid in self.pids.items()}

    def rss_mb(self) -> dict[str, float]:
        """Return the resident memory of each process, with its children, in megabytes."""
        return {name: sum(map(_rss_mb, [pid, *_below(pid)])) for name, pid in self.pids.items()}


def _cpu_s(pid: int) -> float:
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _rss_mb(pid: int) -> float:
    with suppress(OSError):
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return 0.0


def _below(pid: int) -> list[int]:
    """Return the children of a process, and theirs."""
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [one for child in map(int, found) for one in (child, *_below(child))]


@contextmanager
def parallax(mock: int) -> Iterator[Proxy]:
    """Run one gateway, one scheduler, one worker, and a server that keeps what was accepted."""
    port = free_port(0)
    backend = f"http://127.0.0.1:{mock},kind=openai,slots={SLOTS}"
    plan = Plan(workers=1, schedulers=1, cell="bench", gateway_port=port,
                backends=[("--backend", backend)])  # fmt: skip
    with EmbeddedServer(CLOCK, ephemeral=True) as server:
        info = server.start()
        with System(plan, CLOCK, url=info.url, logs=Path(os.devnull)) as system:
            pids = {
                name.partition("-")[0]: child.process.pid
                for name, child in system.processes.children.items()
            }
            yield Proxy(Target(port), pids | {"redis": info.pid})


@contextmanager
def direct(mock: int) -> Iterator[Proxy]:
    """Nothing between them."""
    yield Proxy(Target(mock), {})


def _litellm(port: int, mock: int, home: Path) -> list[str]:
    config = home / "litellm.json"  # which is YAML, too
    config.write_text(json.dumps({
        "model_list": [{"model_name": MODEL, "litellm_params": {
            "model": f"openai/{MODEL}", "api_base": f"http://127.0.0.1:{mock}/v1", "api_key": KEY,
        }}],
        "general_settings": {"dangerously_permit_weak_or_unset_master_key": True},
        "litellm_settings": {"telemetry": False, "request_timeout": 60},
    }))  # fmt: skip
    return ["litellm", "--config", str(config), "--host", "127.0.0.1", "--port", str(port),
            "--num_workers", "1"]  # fmt: skip


def _router(program: str, *first: str) -> Callable[[int, int, Path], list[str]]:
    def command(port: int, mock: int, _: Path) -> list[str]:
        return [program, *first, "--worker-urls", f"http://127.0.0.1:{mock}",
                "--host", "127.0.0.1", "--port", str(port), "--prometheus-port", str(free_port(0)),
                "--policy", "round_robin", "--log-level", "error"]  # fmt: skip

    return command


#: name -> what starts it, in the directory of its environment's programs.
COMMANDS: dict[str, Callable[[int, int, Path], list[str]]] = {
    "litellm": _litellm,
    "vllm-router": _router("vllm-router"),
    "sglang-router": _router("python", "-m", "sglang_router.launch_router"),
    "smg": _router("smg", "launch"),
}
READY_S = 180.0


class Missing(Exception):
    """A peer cannot be measured; says why."""


@contextmanager
def peer(name: str, mock: int, ready: Callable[[int], bool]) -> Iterator[Proxy]:
    """Run a peer; raises Missing if it is not installed, or does not answer."""
    programs = (PEERS / name / "bin").absolute()
    port = free_port(0)
    with tempfile.TemporaryDirectory() as home:
        program, *arguments = COMMANDS[name](port, mock, Path(home))
        if not (programs / program).exists():
            raise Missing("it could not be installed")
        yield from _running([str(programs / program), *arguments], port, ready, Path(home))


def _running(
    command: Sequence[str], port: int, ready: Callable[[int], bool], home: Path
) -> Iterator[Proxy]:
    log = home / "log"
    quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "NO_DOCS": "True"}
    with log.open("wb") as told:
        process = subprocess.Popen(  # noqa: S603 - what is named above
            command, stdin=subprocess.DEVNULL, stdout=told, stderr=told, cwd=home,
            env={**os.environ, **quiet},
        )  # fmt: skip
        try:
            end = CLOCK.monotonic() + READY_S
            while not ready(port):
                if process.poll() is not None or CLOCK.monotonic() > end:
                    raise Missing(f"it does not answer: {_last(log)}")
                CLOCK.wait(0.2)
            yield Proxy(Target(port, KEY), {"all": process.pid})
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def _last(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").strip().splitlines()
    return lines[-1][:200] if lines else "it says nothing"
