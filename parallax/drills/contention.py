"""Two tenants that always have jobs waiting, one of which cancels what runs: who gets how much?

While both are backlogged, what is computed for each follows its weight, whatever one of them
cancels; and what each is charged is what was computed for it. Both are measured in windows in which
neither queue was empty, from the histories of the workers and from the accounts in the store.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from random import Random
from typing import Any

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.core.clock import Clock
from parallax.core.cost import TokenCost
from parallax.core.errors import ParallaxError
from parallax.core.lifecycle import State
from parallax.core.model import Job
from parallax.drills.load import Load

#: The tenants, with their weights. The first cancels half of its jobs as soon as they run.
WEIGHTS: Mapping[str, float] = {"cheat": 1.0, "honest": 4.0}
CHEAT = "cheat"
#: Jobs that wait: fewer than the first are topped up, fewer than the second are no backlog.
FULL, LOW = 400, 30
#: Tokens of a job: of its prompt, and at most of its answer.
PROMPT, OUTPUT = 200, 60
_EVERY_S, _GAP_S, LEAST_S = 0.2, 2.0, 8.0
_COST = TokenCost()


@dataclass(frozen=True, slots=True)
class Sample:
    """One look: how many jobs of each waited, and what each had been charged per weight."""

    at: float  # seconds since the epoch
    depths: Mapping[str, int]
    tags: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Window:
    """The service of each tenant while both were backlogged."""

    seconds: float
    computed: Mapping[str, float]  # cost, as workers reported it
    busy_s: Mapping[str, float]  # time in engines, whatever they reported
    charged: Mapping[str, float]  # cost, as the accounts have it
    in_flight: float = 0.0  # cost that may be charged for attempts that have not ended


@dataclass(slots=True)
class Contention:
    """Keeps the two backlogged, lets one cheat, and looks at both, in a thread of its own."""

    load: Load  # of these two alone, with a client of its own
    keys: Keys
    clock: Clock
    random: Random
    seed: int
    samples: list[Sample] = field(default_factory=list)
    _mine: list[str] = field(default_factory=list)  # the cheat's jobs, the oldest first
    _made: int = 0

    def run(self, link: Link, over: threading.Event) -> None:
        """Go on until it is over."""
        weighed = False
        while not over.is_set():
            try:
                if not weighed:
                    self.load.client.set_weights(WEIGHTS)
                    weighed = True
                self._look(link)
                self._cheat()
            except ParallaxError:
                link.close()
            self.load.listen()
            over.wait(_EVERY_S)
        link.close()

    def _look(self, link: Link) -> None:
        names = list(WEIGHTS)
        lengths = [("XLEN", self.keys.arrivals(name)) for name in names]
        *depths, tags = link.calls([*lengths, ("HMGET", self.keys.ledger, *names)])
        sample = Sample(
            self.clock.now(),
            dict(zip(names, depths, strict=True)),
            {n: float(tag) for n, tag in zip(names, tags, strict=True) if tag is not None},
        )
        self.samples.append(sample)
        for name, depth in sample.depths.items():
            if depth < FULL:
                self._submit(name, FULL // 4)

    def _submit(self, tenant: str, count: int) -> None:
        jobs = []
        for _ in range(count):
            self._made += 1
            jobs.append(
                Job(
                    f"c{self.seed}-{self._made}",
                    tenant,
                    PROMPT,
                    OUTPUT,
                    "",
                    self.random.randint(OUTPUT // 3, OUTPUT),
                )
            )
        self.load.submit(jobs)
        if tenant == CHEAT:
            self._mine += [job.id for job in jobs if job.id in self.load.accepted]

    def _cheat(self) -> None:
        """Cancel half of the running jobs; forget the ended ones."""
        oldest = self._mine[:200]
        records = self.load.client.records(oldest)
        over = set()
        for name, record in zip(oldest, records, strict=True):
            if record is None or record.outcome is not None:
                over.add(name)
            elif record.state is State.RUNNING and self.random.random() < 0.5:
                self.load.cancel(name)
        self._mine = [name for name in self._mine if name not in over]


def windows(
    samples: Sequence[Sample], lines: Sequence[Mapping[str, Any]], most_flights: int
) -> list[Window]:
    """Return the times during which all were backlogged, each at least `LEAST_S` long. O(n m).

    `most_flights` is how many attempts may be in flight at once.
    """
    spans: list[list[Sample]] = [[]]
    for sample in samples:
        alone = min(sample.depths.values(), default=0) < LOW or len(sample.tags) < len(WEIGHTS)
        late = spans[-1] and sample.at - spans[-1][-1].at > _GAP_S
        if alone or late:
            spans.append([])
        if not alone:
            spans[-1].append(sample)
    long = [s for s in spans if s and s[-1].at - s[0].at >= LEAST_S]
    return [_window(span, lines, most_flights * _COST(PROMPT, OUTPUT)) for span in long]


def _window(span: Sequence[Sample], lines: Sequence[Mapping[str, Any]], in_flight: float) -> Window:
    first, last = span[0], span[-1]
    computed, busy = dict.fromkeys(WEIGHTS, 0.0), dict.fromkeys(WEIGHTS, 0.0)
    began: dict[tuple[object, ...], float] = {}
    for line in lines:
        if line["what"] == "began":
            began[_attempt(line)] = line["at"]
        if line["what"] != "asked" or not first.at <= line["at"] <= last.at:
            continue
        tenant = str(line.get("tenant"))
        start = began.pop(_attempt(line), inf)  # a repeated request counts once
        if tenant in WEIGHTS and start < inf:
            uncached = max(0, line.get("prompt", 0) - line.get("cached", 0))
            computed[tenant] += _COST(uncached, line["tokens"])
            busy[tenant] += line["at"] - max(start, first.at)
    charged = {n: (last.tags[n] - first.tags[n]) * weight for n, weight in WEIGHTS.items()}
    return Window(last.at - first.at, computed, busy, charged, in_flight)


def _attempt(line: Mapping[str, Any]) -> tuple[object, ...]:
    return line["worker"], line["job"], line["attempt"]
