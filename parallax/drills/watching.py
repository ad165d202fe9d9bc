"""Samples a running drill: memory of every process, bodies of open jobs."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.core.clock import Clock
from parallax.core.errors import ParallaxError
from parallax.drills.load import Load

_EVERY_S = 0.5
#: How long a process takes to have all that it needs (seconds).
WARM_S = 60.0
_AT_ONCE = 20
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_MB = float(1 << 20)


@dataclass(frozen=True, slots=True)
class Memory:
    """How much memory a process held over its life, in MB (resident)."""

    seconds: float
    most: float
    early: float  # the most in the first half of its life
    late: float  # the most in the second
    #: MB a minute, once it is warm: of a straight line through what follows.
    slope: float = field(default=0.0, compare=False)

    @classmethod
    def of(cls, samples: Sequence[tuple[float, float]]) -> Memory:
        """Return what (seconds, MB) samples of one process say; there is at least one."""
        start, end = samples[0][0], samples[-1][0]
        middle = (start + end) / 2
        early = max(mb for at, mb in samples if at <= middle)
        late = max((mb for at, mb in samples if at > middle), default=early)
        warm = [one for one in samples if one[0] >= start + min(WARM_S, (end - start) / 2)]
        return cls(end - start, max(early, late), early, late, slope(warm))


def slope(samples: Sequence[tuple[float, float]]) -> float:
    """Return how steep the line is that fits (seconds, MB) best, in MB a minute."""
    count = len(samples)
    at, mb = (sum(values) / max(1, count) for values in zip(*samples, strict=True))
    spread = sum((x - at) ** 2 for x, _ in samples)
    return 60.0 * sum((x - at) * (y - mb) for x, y in samples) / spread if spread else 0.0


@dataclass(slots=True)
class Watching:
    """Looks twice a second, in a thread of its own."""

    processes: Callable[[], Mapping[str, int]]
    link: Callable[[], Link]
    keys: Keys
    load: Load
    clock: Clock
    random: Random
    server_pid: Callable[[], int] = lambda: 0
    misplaced: list[str] = field(default_factory=list)  # bodies
    _server: list[tuple[float, float]] = field(default_factory=list)
    _samples: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def run(self, over: threading.Event) -> None:
        """Go on until it is over."""
        link = self.link()
        while not over.wait(_EVERY_S):
            self._weigh()
            try:
                self.misplaced += self.load.bodies.look(link, self.keys, self._some())
            except ParallaxError:
                link.close()
        link.close()

    def memory(self) -> dict[str, Memory]:
        """Return what every process held, by name and process id."""
        return {name: Memory.of(samples) for name, samples in self._samples.items()}

    def server(self) -> Memory | None:
        """Return what the server held; its slope has the records that are kept for an hour."""
        return Memory.of(self._server) if self._server else None

    def _some(self) -> list[str]:
        """Return some accepted jobs with a body of which no end was heard."""
        names = [name for name in self.load.recent() if name in self.load.accepted]
        names = [n for n in names if self.load.bodies.lengths.get(n) and n not in self.load.told]
        return self.random.sample(names, min(_AT_ONCE, len(names)))

    def _weigh(self) -> None:
        now = self.clock.monotonic()
        held = resident_mb(self.server_pid())
        if held is not None:
            self._server.append((now, held))
        for name, pid in self.processes().items():
            mb = resident_mb(pid)
            if mb is not None:
                self._samples.setdefault(f"{name} ({pid})", []).append((now, mb))


def resident_mb(pid: int) -> float | None:
    """Return the resident memory of a process in MB; None if it is gone or cannot be read."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * _PAGE_BYTES / _MB
