"""What a gateway costs: one load on an instant engine, directly and through proxies, in one run.

    python -m ops.bench.gateway [--only NAME ...] [--seconds S]

Parallax is one gateway, one scheduler and one worker process, and a server with an append-only
file; peers are one process each. Closed loops tell how many requests and streams a second go
through, and the CPU time of one; open loops, at rates that all can carry, how much later answers
come than from the engine itself.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

import click
import uvloop

from ops.bench.front import proxies
from ops.bench.front.load import Load, Seen, Target, opened, request
from ops.bench.front.proxies import COMMANDS, Missing, Proxy
from parallax.core.errors import ParallaxError
from parallax.lab.report import publish
from parallax.services.clock import SystemClock
from parallax.services.system import free_port

CLOCK = SystemClock()
DIRECT, OURS = "direct", "parallax"
NAMES = (DIRECT, OURS, *COMMANDS)
#: Connections of the closed loops, words of an answer, and requests a second of the open loops.
CONNECTIONS, WORDS, PLAIN_RATE, STREAM_RATE = 32, 16, 40.0, 15.0
WARM_S = 1.0
#: At least so many times litellm in every column, and so many milliseconds at most on the way.
TIMES, MOST_MS = 5.0, 3.0


@dataclass(slots=True)
class Measured:
    """What was seen of one way to the engine; times in milliseconds."""

    rps: float = 0.0
    streams_per_s: float = 0.0
    cpu_us: float = 0.0
    cpu_us_by_process: dict[str, int] = field(default_factory=dict)
    plain_ms: tuple[float, float] = (0.0, 0.0)  # p50 and p99 of whole answers
    first_ms: tuple[float, float] = (0.0, 0.0)  # of the first bytes of streams
    failed: int = 0
    why: str = ""

    def figures(self, direct: Measured) -> dict[str, object]:
        """Return it as it is told, beside the way without a proxy."""
        added = [a - b for a, b in zip(self.plain_ms, direct.plain_ms, strict=True)]
        first = [a - b for a, b in zip(self.first_ms, direct.first_ms, strict=True)]
        return {
            "rps": round(self.rps, 1), "streams_per_s": round(self.streams_per_s, 1),
            "added_p50_ms": round(added[0], 2), "added_p99_ms": round(added[1], 2),
            "added_first_p50_ms": round(first[0], 2), "added_first_p99_ms": round(first[1], 2),
            "cpu_us_per_request": round(self.cpu_us),
            "cpu_us_by_process": self.cpu_us_by_process, "failed": self.failed,
        }  # fmt: skip


@contextmanager
def mock_engine(interval_s: float = 0.0) -> Iterator[int]:
    """Run the instant engine; yield its port."""
    port = free_port(0)
    command = [sys.executable, "-m", "ops.bench.front.mock", "--port", str(port),
               "--interval", str(interval_s)]  # fmt: skip
    with subprocess.Popen(command) as process:  # noqa: S603 - our own interpreter
        try:
            while not answers(port):
                if process.poll() is not None:
                    raise click.ClickException("the mock engine does not start")
                CLOCK.wait(0.05)
            yield port
        finally:
            process.kill()


def answers(port: int) -> bool:
    """Say whether a chat is answered there."""

    async def ask() -> int:
        target = Target(port, proxies.KEY)
        line = await opened(port)
        try:
            return await line.ask(request(target, 1, stream=False), 5.0)
        finally:
            line.transport.close()

    try:
        return uvloop.run(ask()) == 200
    except (OSError, TimeoutError):
        return False


async def measure(proxy: Proxy, seconds: float) -> Measured:
    """Put all loads on one way."""
    found = Measured()
    plain, stream = (Load(proxy.target, WORDS, stream=one) for one in (False, True))
    await plain.closed(4, WARM_S)
    await stream.closed(4, WARM_S / 2)
    before = proxy.cpu_s()
    closed = await plain.closed(CONNECTIONS, seconds)
    used = {name: cpu - before[name] for name, cpu in proxy.cpu_s().items()}
    streams = await stream.closed(CONNECTIONS, seconds)
    plain_open = await plain.open(PLAIN_RATE, seconds)
    stream_open = await stream.open(STREAM_RATE, seconds)
    for load in (plain, stream):
        load.close()
    answered = max(1, len(closed.whole_s))
    found.rps, found.streams_per_s = closed.rate, streams.rate
    found.cpu_us_by_process = {name: round(s / answered * 1e6) for name, s in used.items()}
    found.cpu_us = sum(used.values()) / answered * 1e6
    found.plain_ms = plain_open.ms(0.5), plain_open.ms(0.99)
    found.first_ms = stream_open.ms(0.5, first=True), stream_open.ms(0.99, first=True)
    every: Sequence[Seen] = (closed, streams, plain_open, stream_open)
    found.failed = sum(one.failed for one in every)
    found.why = next((one.why for one in every if one.why), "")
    return found


def way(name: str, mock: int) -> AbstractContextManager[Proxy]:
    """Return what runs a way to the engine."""
    if name == DIRECT:
        return proxies.direct(mock)
    return proxies.parallax(mock) if name == OURS else proxies.peer(name, mock, answers)


def run(names: Sequence[str], seconds: float) -> tuple[dict[str, Measured], dict[str, str]]:
    """Measure each way; return what was seen, and why some could not be measured."""
    found, missing = dict[str, Measured](), dict[str, str]()
    with mock_engine() as mock:
        for name in names:
            click.echo(f"measuring {name}", err=True)
            try:
                with way(name, mock) as proxy:
                    found[name] = uvloop.run(measure(proxy, seconds))
            except (Missing, ParallaxError, OSError) as error:
                missing[name] = str(error)
                click.echo(f"{name} is not measured: {error}", err=True)
            else:
                if found[name].failed:
                    said = f"{found[name].failed} requests failed: {found[name].why}"
                    click.echo(f"{name}: {said}", err=True)
    return found, missing


def times(ours: Mapping[str, object], other: Mapping[str, object]) -> dict[str, float]:
    """Return how many times better we are in each column."""
    more, less = ("rps", "streams_per_s"), ("added_p50_ms", "added_p99_ms", "cpu_us_per_request")
    pairs = [(name, ours[name], other[name]) for name in more]
    pairs += [(name, other[name], ours[name]) for name in less]
    return {name: round(float(str(a)) / max(float(str(b)), 1e-3), 2) for name, a, b in pairs}


@click.command()
@click.option("--only", type=click.Choice(NAMES), multiple=True,
              help="Only this way (may be repeated); the direct one always.")  # fmt: skip
@click.option("--seconds", default=4.0, show_default=True, help="Of each of four loads.")
def main(only: tuple[str, ...], seconds: float) -> None:
    """Measure what Parallax and other proxies cost in front of an instant engine."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that children are stopped
    os.environ.setdefault("no_proxy", "127.0.0.1")
    names = [name for name in NAMES if not only or name in (*only, DIRECT)]
    found, missing = run(names, seconds)
    told = {name: one.figures(found[DIRECT]) for name, one in found.items()}
    ratios = {
        name: times(told[OURS], one)
        for name, one in told.items()
        if OURS in told and name not in (OURS, DIRECT)
    }
    floors = dict[str, bool]()
    if OURS in names:
        floors[f"{OURS}: no request failed"] = OURS in found and not found[OURS].failed
    if OURS in told:
        floors[f"added p50 <= {MOST_MS:g} ms"] = float(str(told[OURS]["added_p50_ms"])) <= MOST_MS
    for name, ratio in ratios.get("litellm", {}).items():
        floors[f"{TIMES:g} times litellm: {name}"] = ratio >= TIMES
    head = ("", "requests/s", "streams/s", "added p50, ms", "added p99, ms", "first p50, ms",
            "first p99, ms", "CPU us/request", "failed")  # fmt: skip
    columns = ("rps", "streams_per_s", "added_p50_ms", "added_p99_ms", "added_first_p50_ms",
               "added_first_p99_ms", "cpu_us_per_request", "failed")  # fmt: skip
    publish(
        f"In front of an instant engine, {CONNECTIONS} connections, answers of {WORDS} words",
        head, [(name, *(one[column] for column in columns)) for name, one in told.items()],
        {
            OURS: told.get(OURS), DIRECT: told[DIRECT],
            "peers": {name: one for name, one in told.items() if name in COMMANDS},
            "times": ratios, "not_measured": missing,
        },
        floors,
    )  # fmt: skip


if __name__ == "__main__":
    main()
