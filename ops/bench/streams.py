"""A thousand streams at once through a gateway: failures, how late words come, and memory.

    python -m ops.bench.streams [--streams N] [--seconds S] [--interval S]

The engine writes into each word when it was written, and whoever reads subtracts: the way of a word
is worker, store, gateway and two connections. The first run of the load is one over the engine
alone, for what load and engine themselves are late. Streams that end are begun anew.
"""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

import click
import uvloop

from ops.bench.front.load import Target, opened, request
from ops.bench.front.proxies import Proxy, direct, parallax
from ops.bench.gateway import mock_engine
from parallax.core.quantiles import quantile
from parallax.lab.report import publish
from parallax.services.clock import SystemClock

CLOCK = SystemClock()
#: Words of one stream, and how often memory is looked at (seconds).
WORDS, LOOK_S = 100, 1.0
#: The part of a run in which caches fill and buffers grow; slopes are of what follows.
SETTLING = 0.3
_STAMP = re.compile(rb'"content": ?"(\d+\.\d+) "')


@dataclass(slots=True)
class Flow:
    """What was seen of streams; `lags` are seconds from a word's writing to its reading."""

    lags: list[float] = field(default_factory=list)
    ended: int = 0
    failed: int = 0
    why: str = ""
    memory: list[tuple[float, Mapping[str, float]]] = field(default_factory=list)

    def heard(self, data: bytes) -> None:
        """Take a piece of an answer."""
        now = CLOCK.monotonic()
        self.lags.extend(now - float(stamp) for stamp in _STAMP.findall(data))

    def ms(self, q: float) -> float:
        """Return a quantile of the lags, in milliseconds."""
        return quantile(self.lags, q) * 1e3 if self.lags else 0.0

    def slope(self, name: str) -> float:
        """Return how a process's memory grows after it has settled, in megabytes a minute."""
        first, last = self.memory[0][0], self.memory[-1][0]
        late = [(at, mb[name]) for at, mb in self.memory if at - first >= SETTLING * (last - first)]
        middle = sum(at for at, _ in late) / len(late)
        spread = sum((at - middle) ** 2 for at, _ in late)
        return 60 * sum((at - middle) * mb for at, mb in late) / spread if spread else 0.0


async def flow(proxy: Proxy, streams: int, seconds: float, interval_s: float) -> Flow:
    """Keep so many streams open for so long."""
    found, loop = Flow(), asyncio.get_running_loop()
    end = loop.time() + seconds

    async def one(n: int) -> None:
        await asyncio.sleep(n / streams * WORDS * interval_s)  # they do not speak in unison
        while loop.time() < end:
            await _stream(found, proxy.target)

    async def look() -> None:
        while True:
            found.memory.append((loop.time(), proxy.rss_mb()))
            await asyncio.sleep(LOOK_S)

    looking = asyncio.create_task(look())
    await asyncio.gather(*(one(n) for n in range(streams)))
    looking.cancel()
    return found


async def _stream(found: Flow, target: Target) -> None:
    try:
        line = await opened(target.port, found.heard)
        status = await line.ask(request(target, WORDS, stream=True), 120.0)
        line.transport.close()
    except (OSError, TimeoutError) as error:
        found.failed, found.why = found.failed + 1, found.why or repr(error)
        await asyncio.sleep(0.1)
        return
    if status != 200 or line.events < WORDS:
        said = f"{status}, {line.events} events"
        found.failed, found.why = found.failed + 1, found.why or said
    else:
        found.ended += 1


def measure(streams: int, seconds: float, interval_s: float) -> tuple[Flow, Flow]:
    """Return what was seen of the engine alone, for a short while, and through Parallax."""
    with mock_engine(interval_s) as mock:
        alone_s = min(seconds, 2 * WORDS * interval_s)
        with direct(mock) as proxy:
            alone = uvloop.run(flow(proxy, streams, alone_s, interval_s))
        with parallax(mock) as proxy:
            return alone, uvloop.run(flow(proxy, streams, seconds, interval_s))


def _told(start: float, end: float, per_minute: float) -> dict[str, float]:
    return {"start": round(start, 1), "end": round(end, 1), "per_minute": round(per_minute, 2)}


@click.command()
@click.option("--streams", default=1_000, show_default=True, help="Streams at once.")
@click.option("--seconds", default=300.0, show_default=True, help="Of the load.")
@click.option("--interval", default=0.5, show_default=True, help="Seconds between two words.")
def main(streams: int, seconds: float, interval: float) -> None:
    """Measure many streams at once through one gateway, one scheduler and one worker."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that children are stopped
    alone, through = measure(streams, seconds, interval)
    first, last = through.memory[0][1], through.memory[-1][1]
    rows = [(name, first[name], last[name], through.slope(name)) for name in sorted(first)]
    added = {f"added_p{q}_ms": round(through.ms(q / 100) - alone.ms(q / 100), 2) for q in (50, 99)}
    publish(
        f"{streams} streams at once, a word every {interval:g} s: memory, MB",
        ("process", "at the start", "at the end", "MB a minute"), rows,
        {
            "streams": streams, "seconds": seconds, "words": len(through.lags),
            "ended": through.ended, "failed": through.failed, "why": through.why,
            "lag_p50_ms": round(through.ms(0.5), 2), "lag_p99_ms": round(through.ms(0.99), 2),
            **added, "memory_mb": {row[0]: _told(*row[1:]) for row in rows},
        },
        {"no stream failed": not through.failed and through.ended > 0},
    )  # fmt: skip


if __name__ == "__main__":
    main()
