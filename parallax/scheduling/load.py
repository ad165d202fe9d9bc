"""How much work comes in, and how much a worker is able to do: what scaling decides by."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite

from parallax.core.model import LoadView, WorkerView

_BUCKET_S = 1.0
_KEPT_S = 60.0
#: How often a job's worth of news halves the weight of older news.
_HALF_JOBS = 500.0
#: What a worker does in fuller company than any seen is believed up to so many times that company.
_BEYOND = 2.0
#: Weight of the prior that batching brings nothing, against the observations.
_DOUBT = 0.01


@dataclass(slots=True)
class LoadMeter:
    """Offered cost per second over the last minute.

    Arrivals are counted in buckets of a second, whether they are let in or not: what is refused is
    demand too. Memory is that of sixty buckets. O(1) per arrival.
    """

    _buckets: deque[tuple[float, float]] = field(default_factory=deque)
    _began: float | None = None

    def offered(self, cost: float, now: float) -> None:
        """A job of that cost came in."""
        self._began = now if self._began is None else self._began
        start = now - now % _BUCKET_S
        if self._buckets and self._buckets[-1][0] == start:
            cost += self._buckets.pop()[1]
        self._buckets.append((start, cost))
        while self._buckets[0][0] < now - _KEPT_S - _BUCKET_S:
            self._buckets.popleft()

    def rate(self, now: float, over_s: float) -> float:
        """Return the offered cost per second over the last so many seconds (at most 60)."""
        if self._began is None:
            return 0.0
        span = max(min(over_s, now - self._began), _BUCKET_S)
        return sum(cost for start, cost in self._buckets if start > now - span) / span


@dataclass(slots=True)
class Ability:
    """Estimates from any load how much a worker serves per second when all its slots are used.

    A job takes `alone + each * company` seconds per cost unit: batching engines serve several
    hardly slower than one, others one after the other. Both are learnt from jobs that met different
    company (least squares, older ones fade). How busy a worker is says little: one job in a batch
    keeps it as busy as a full one. Where company was always the same, it is believed to bring
    nothing, so that rather too many workers are asked for than too few. O(1) per job.
    """

    _weight: float = 0.0
    _company: float = 0.0
    _square: float = 0.0
    _pace: float = 0.0
    _both: float = 0.0
    _slots: float = 0.0
    _fullest: float = 0.0

    def learn(self, company: int, slots: int, service_s: float, cost: float) -> None:
        """A job of that cost took so long, beside so many others (itself counted)."""
        beside = float(max(1, min(company, slots)))
        keep = 0.5 ** (1.0 / _HALF_JOBS)
        pace = service_s / cost
        self._weight = self._weight * keep + 1.0
        self._company = self._company * keep + beside
        self._square = self._square * keep + beside * beside
        self._pace = self._pace * keep + pace
        self._both = self._both * keep + beside * pace
        self._slots = self._slots * keep + slots
        self._fullest = max(beside, self._fullest * keep)

    def rate(self) -> float:
        """Return the cost per second that a usual worker is able to serve; 0 until it is known.

        Solves `[w, c; c, q] [alone, each] = [p, b]` with a little doubt added to `w`.
        """
        if self._weight <= 0 or self._pace <= 0:
            return 0.0
        beside = max(1.0, min(self._slots / self._weight, _BEYOND * self._fullest))
        weight = self._weight * (1 + _DOUBT)
        spread = weight * self._square - self._company * self._company
        alone = (self._square * self._pace - self._company * self._both) / spread
        each = (weight * self._both - self._company * self._pace) / spread
        if alone < 0:
            alone, each = 0.0, self._both / self._square
        elif each < 0:  # the fuller, the faster: by chance
            alone, each = self._pace / self._weight, 0.0
        return beside / (alone + each * beside)

    def remember(self) -> list[float]:
        """Return the learnt estimates."""
        return [getattr(self, name) for name in _LEARNT]

    def recall(self, memory: Sequence[float]) -> None:
        """Go on from what `remember` returned; raises ValueError or TypeError for junk."""
        numbers = [float(number) for number in memory]
        if not all(map(isfinite, numbers)):
            raise ValueError("finite numbers are needed")
        for name, number in zip(_LEARNT, numbers, strict=True):
            setattr(self, name, number)


_LEARNT = ("_weight", "_company", "_square", "_pace", "_both", "_slots", "_fullest")


@dataclass(frozen=True, slots=True)
class Load:
    """The input of an autoscaler: the demand, and the workers that can meet it.

    `starting` are workers that were asked for and do not serve yet, and `kept` those that cannot be
    drained, because others have started them: whoever has the machines knows both.
    """

    offered_cost_per_s: float
    burst_cost_per_s: float
    backlog_cost: float
    queued_cost: float
    cost_per_worker_s: float
    workers: tuple[WorkerView, ...]
    starting: int = 0
    busy: float = 0.0
    kept: frozenset[str] = frozenset()

    @property
    def serving(self) -> list[WorkerView]:
        """The workers that take new work."""
        return [worker for worker in self.workers if not worker.draining]

    def view(self) -> LoadView:
        """Return what a scaling policy may know of it."""
        ready = len(self.serving)
        return LoadView(
            self.offered_cost_per_s, self.burst_cost_per_s, self.backlog_cost,
            ready + self.starting, ready, self.cost_per_worker_s, self.queued_cost, self.busy,
        )  # fmt: skip
