"""One reader of the cell for however many viewers, and the last quarter of an hour."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from parallax.cli.cell_documents import CellView
from parallax.core.clock import Clock
from parallax.core.errors import ParallaxError
from parallax.dashboard.problems import Problem, problem_of
from parallax.services.beside import Beside

log = logging.getLogger(__name__)

#: Seconds from one look to the next: while somebody watches, and while nobody does.
EVERY_S, IDLE_S = 1.0, 5.0

#: How long somebody counts as a watcher who asked once (seconds).
WATCHED_S = 10.0

#: Most viewers of the feed, and the longest silence towards one (seconds).
MOST_VIEWERS, SILENCE_S = 500, 10.0

#: Points that are kept: one a second at first, then one in five seconds.
FINE, COARSE, COARSE_S = 300, 180, 5.0

_RATES = ("submitted", "completed", "rejected", "hedged", "stolen", "recovered")
_LATENCIES = ("ttft_s", "e2e_s", "queue_wait_s")
_SHARES = ("p50", "p95", "p99")


def point(view: CellView) -> dict[str, float | None]:
    """Return the columns that are drawn over time."""
    found: dict[str, float | None] = {"at": view.at}
    for name in _RATES:
        found[f"{name}_per_s"] = view.now[f"{name}_per_s"]
    for name in _LATENCIES:
        for share in _SHARES:
            value = None if view.stale else getattr(view.latency[name], share)
            found[f"{name.removesuffix('_s')}_{share}_s"] = value
    used = [one.kv_used for one in view.workers if one.state != "dead"]
    return found | {
        "output_tokens_per_s": view.now["output_tokens_per_s"],
        "waiting_jobs": view.waiting_jobs, "running_jobs": view.running_jobs,
        "open_jobs": view.open_jobs, "workers_alive": view.workers_alive, "slots": view.slots,
        "kv_used_mean": sum(used) / len(used) if used else None,
        "dead_letters": view.dead_letters,
    }  # fmt: skip


class Feed:
    """See the module's docstring. `run` reads; `latest` and `watch` give the last readings."""

    def __init__(self, look: Callable[[int], CellView], clock: Clock) -> None:
        """`look` may block: it is called beside the loop, with the number of the look."""
        self._look, self._clock = look, clock
        self._fine: deque[dict[str, float | None]] = deque(maxlen=FINE)
        self._coarse: deque[dict[str, float | None]] = deque(maxlen=COARSE)
        self._changed = asyncio.Condition()
        self._wanted, self._looking = asyncio.Event(), asyncio.Lock()
        self._beside = Beside()
        self._asked_at = -WATCHED_S
        self._looked_at = -IDLE_S
        self.seq = 0
        self.looks = 0  # how often the store was asked
        self.viewers = 0
        self.view: CellView | None = None
        self._data = b""
        self._trouble: Problem | None = None

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            began = self._clock.monotonic()
            await self._refresh(0.0)
            pause = EVERY_S if self._is_watched() else IDLE_S
            left = max(0.05, pause - (self._clock.monotonic() - began))
            self._wanted.clear()
            try:
                await asyncio.wait_for(self._wanted.wait(), left)
            except TimeoutError:
                continue
            rest = EVERY_S - (self._clock.monotonic() - began)
            await asyncio.sleep(max(0.0, rest))  # somebody came: at most one look a second

    def _is_watched(self) -> bool:
        return self.viewers > 0 or self._clock.monotonic() - self._asked_at < WATCHED_S

    def _ask(self) -> None:
        idle = not self._is_watched()
        self._asked_at = self._clock.monotonic()
        if idle:
            self._wanted.set()

    async def _refresh(self, age_s: float) -> None:
        """Look, unless somebody did no longer ago."""
        async with self._looking:
            if self._clock.monotonic() - self._looked_at < age_s:
                return
            self.looks += 1
            try:
                view = await self._beside.do(self._look, self.seq + 1)
            except ParallaxError as error:
                self._trouble = problem_of(error)
            except Exception:
                log.exception("the cell could not be looked at")
                self._trouble = Problem("internal", "the dashboard failed; its log says why")
            else:
                self._trouble, self.view = None, view
                self._data = msgspec.json.encode(view)
                self._keep(point(view))
            self._looked_at = self._clock.monotonic()
            self.seq += 1
        async with self._changed:
            self._changed.notify_all()

    def _keep(self, new: dict[str, float | None]) -> None:
        at = new["at"] or 0.0
        self._fine.append(new)
        if not self._coarse or at - (self._coarse[-1]["at"] or 0.0) >= COARSE_S:
            self._coarse.append(new)

    async def latest(self, age_s: float = 2.0) -> CellView:
        """Return the latest reading; raises Problem while there is none."""
        self._ask()
        await self._refresh(age_s)
        if self._trouble is not None or self.view is None:
            raise self._trouble or Problem("unavailable", "the cell was not looked at yet")
        return self.view

    async def watch(self) -> AsyncIterator[bytes]:
        """Yield the events of the feed as a browser reads them, until it leaves."""
        self.viewers += 1
        self._ask()
        self._wanted.set()
        try:
            yield b"retry: 2000\n\n"
            seen = -1
            while True:
                if self.seq != seen:
                    seen = self.seq  # before the first look there is nothing to tell, only to wait
                    if self._data or self._trouble:
                        yield self._event()
                try:
                    async with asyncio.timeout(SILENCE_S), self._changed:
                        if self.seq == seen:
                            await self._changed.wait()
                except TimeoutError:
                    yield b": still here\n\n"
        finally:
            self.viewers -= 1

    def _event(self) -> bytes:
        if self._trouble is not None:
            data = msgspec.json.encode(self._trouble.document())
            return b"event: trouble\ndata: " + data + b"\n\n"
        return b"id: %d\nevent: overview\ndata: " % self.seq + self._data + b"\n\n"

    def history(self, seconds: float) -> dict[str, list[Any]]:
        """Return the columns of the last seconds' readings, the oldest first."""
        if not self._fine:
            return {}
        first, last = self._fine[0]["at"] or 0.0, self._fine[-1]["at"] or 0.0
        older = [one for one in self._coarse if (one["at"] or 0.0) < first]
        points = [one for one in (*older, *self._fine) if (one["at"] or 0.0) > last - seconds]
        return {name: [one[name] for one in points] for name in self._fine[-1]}
