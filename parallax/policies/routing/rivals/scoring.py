"""The common base of the imitated routers: one placement at a time, and an index of prefixes.

They are here to compare with, under the numbers that their public code has, and not to be used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from parallax.core.model import ClusterView, JobView, Usage, WorkerView
from parallax.core.prefix import blocks_of, conversation
from parallax.core.prefix_index import PrefixIndex


@dataclass(slots=True)
class Candidate:
    """A worker and what this batch has sent there so far."""

    view: WorkerView
    jobs: int = 0
    tokens: float = 0.0  # of prompts, not known to be cached

    @property
    def running(self) -> int:
        """Requests there, running or waiting."""
        return self.view.in_flight + self.jobs

    @property
    def waiting(self) -> int:
        """Requests there that have had no token yet."""
        return self.view.in_flight - self.view.decoding + self.jobs

    @property
    def prefill_tokens(self) -> float:
        """Prompt tokens there that are still to be computed."""
        return self.view.prefill_tokens + self.tokens

    @property
    def open(self) -> bool:
        """Whether it may be sent another one."""
        return self.jobs < self.view.free


@dataclass(slots=True)
class Known:
    """A router's belief about cached prefixes by worker, derived from its own placements."""

    index: PrefixIndex

    def enter(self, job: JobView, worker: str, room: int = 0) -> None:
        """The job was sent there."""
        self.index.insert(blocks_of(job), worker, room)

    def answered(self, job: JobView, worker: str, usage: Usage) -> None:
        """Its answer is cached there, too."""
        if job.session and not job.prefix:
            said = usage.prompt_tokens + usage.output_tokens
            names = conversation(f"{job.tenant}/{job.session}", said // job.prefix_block)
            self.index.insert(names, worker)

    def blocks(self, job: JobView) -> dict[str, int]:
        """Return how many leading blocks each worker holds."""
        return self.index.matches(blocks_of(job))

    def tokens(self, job: JobView, worker: str) -> int:
        """Return how many of the prompt's tokens a worker holds."""
        held = self.index.match(blocks_of(job), worker) * job.prefix_block
        return min(held, max(0, job.prompt_tokens - 1))


Cost = Callable[[Candidate], Any]  # anything that compares


def cheapest(candidates: Sequence[Candidate], cost: Cost, random: Random) -> Candidate | None:
    """Return the candidate of the lowest cost, equal ones by lot; None if nobody is open."""
    open_ = [(cost(candidate), candidate) for candidate in candidates if candidate.open]
    if not open_:
        return None
    least = min(value for value, _ in open_)
    return random.choice([candidate for value, candidate in open_ if value == least])


def candidates_of(cluster: ClusterView) -> list[Candidate]:
    """Return the workers, nothing placed yet."""
    return [Candidate(view) for view in cluster.workers]


def put(job: JobView, chosen: Candidate | None, cached: int) -> str | None:
    """Count a placement and return the worker's id."""
    if chosen is None:
        return None
    chosen.jobs += 1
    chosen.tokens += job.prompt_tokens - cached
    return chosen.view.id


@dataclass(slots=True)
class OneByOne:
    """Base of the imitated routers: see `interfaces.RoutingPolicy`.

    A router says in `_routed` where one job goes; the jobs of a batch are placed one after the
    other.
    """

    _random: Random = field(default_factory=lambda: Random(0), init=False, repr=False)

    def seed(self, random: Random) -> None:
        """Use this source for ties and draws."""
        self._random = random

    def route(
        self, jobs: Sequence[JobView], estimates: Sequence[float], cluster: ClusterView
    ) -> list[str | None]:
        """See `interfaces.RoutingPolicy`."""
        candidates = candidates_of(cluster)
        return [self._routed(job, candidates) if candidates else None for job in jobs]

    def _routed(self, job: JobView, candidates: list[Candidate]) -> str | None:
        """Place a job on one of these workers, at least one; None if all are full."""
        raise NotImplementedError


@dataclass(slots=True)
class PrefixRouter(OneByOne):
    """Base of those that keep an index of prefixes; one that hears of ends replaces `ended`."""

    _known: Known = field(default_factory=lambda: Known(PrefixIndex(10**8)), init=False, repr=False)

    def ended(self, job: JobView, worker: str, usage: Usage) -> None:
        """See `interfaces.PlacementObserver`: this router does not hear of ends."""

    def lost(self, worker: str) -> None:
        """See `interfaces.PlacementObserver`."""
        self._known.index.forget(worker)

    def cached_tokens(self, job: JobView, worker: str) -> int:
        """See `interfaces.PlacementObserver`."""
        return self._known.tokens(job, worker)
