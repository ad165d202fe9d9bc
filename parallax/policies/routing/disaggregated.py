"""Disaggregated: prompts are computed by one pool of workers, answers given by another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from parallax.core.model import ClusterView, JobView, Usage, WorkerView, check_number
from parallax.core.roles import PREFILL
from parallax.policies.registry import ROUTING
from parallax.policies.routing.kv_locality import KvLocality


@dataclass(slots=True)
class _Place:
    """A worker, and what this batch has put there."""

    worker: WorkerView
    free: int
    waiting: float  # prompt tokens
    decoding: int

    @property
    def load(self) -> tuple[float, str]:
        """The decoding requests per slot, with which an answer competes."""
        worker = self.worker
        return worker.slowness * (self.decoding + worker.kv_tokens / 1e6) / worker.slots, worker.id


@ROUTING.register("disaggregated")
@dataclass(slots=True)
class Disaggregated:
    """Send a prompt to a worker of role "prefill", unless it is short or the way is too long.

    Prefills and answers disturb each other: a long prompt makes every answer beside it stutter.
    With two pools they do not meet, at the price of moving the KV cache. A prompt of which less
    than `min_tokens` have to be computed stays whole on a worker that decodes, and so does one that
    would wait longer at the prefill pool, transfer included, than it would take where it is decoded
    (both counted in prompt tokens); `disturbance` is how much it matters that others wait for it
    there, and a large one keeps the pools apart whatever the first token costs. The transfer costs
    `transfer_tokens + transfer_share * prompt` in the time of so many tokens' prefill. When its
    prompt is computed the job comes back and goes to the worker that decodes the least.

    Source: DistServe (OSDI'24), Splitwise (ISCA'24); the rule for short prompts as in llm-d's
    prefix-based decider. Cost: O(workers) per job. Use it when the time between tokens matters
    more than the time to the first: at high prefill load or with the wrong ratio of the pools it
    loses to chunked prefill.
    """

    splits_phases: ClassVar[bool] = True

    min_tokens: float = 512.0  # uncached tokens below which a prompt is not sent away
    transfer_tokens: float = 14.0  # set-up of a hand-over, in tokens of prefill
    transfer_share: float = 0.04  # per token handed over, in the same
    disturbance: float = 1.0  # worth of a token of waiting for others, all slots decoding
    _seen: KvLocality = field(default_factory=KvLocality, init=False, repr=False)

    def __post_init__(self) -> None:
        check_number("disaggregated.min_tokens", self.min_tokens, 0.0, 1e7)
        check_number("disaggregated.transfer_tokens", self.transfer_tokens, 0.0, 1e7)
        check_number("disaggregated.transfer_share", self.transfer_share, 0.0, 1e3)
        check_number("disaggregated.disturbance", self.disturbance, 0.0, 1e9)

    def route(
        self, jobs: Sequence[JobView], estimates: Sequence[float], cluster: ClusterView
    ) -> list[str | None]:
        """See `interfaces.RoutingPolicy`."""
        places = [_Place(w, w.free, w.prefill_tokens, w.decoding) for w in cluster.workers]
        prefill = [place for place in places if place.worker.role == PREFILL]
        decode = [place for place in places if place.worker.role != PREFILL]
        return [self._placed(job, prefill, decode) for job in jobs]

    def ended(self, job: JobView, worker: str, usage: Usage) -> None:
        """See `interfaces.PlacementObserver`."""
        self._seen.ended(job, worker, usage)

    def lost(self, worker: str) -> None:
        """See `interfaces.PlacementObserver`."""
        self._seen.lost(worker)

    def cached_tokens(self, job: JobView, worker: str) -> int:
        """See `interfaces.PlacementObserver`."""
        return self._seen.cached_tokens(job, worker)

    def _placed(self, job: JobView, prefill: list[_Place], decode: list[_Place]) -> str | None:
        here = min((p for p in decode if p.free > 0), key=lambda p: p.load, default=None)
        away = None if job.prefilled_by else self._shortest(job, prefill)
        if away is not None and (here is None or self._worth_it(job, here, away)):
            return self._put(job, away)
        if here is None:
            return None
        here.decoding += 1
        if job.prefilled_by:
            here.free -= 1
            return here.worker.id
        return self._put(job, here)

    def _shortest(self, job: JobView, prefill: list[_Place]) -> _Place | None:
        open_ = [place for place in prefill if place.free > 0]
        return min(open_, key=lambda p: (self._wait(job, p), p.worker.id), default=None)

    def _wait(self, job: JobView, place: _Place) -> float:
        """Return after how many tokens of prefill its prompt would be computed there."""
        uncached = job.prompt_tokens - self._seen.cached_tokens(job, place.worker.id)
        return place.worker.slowness * (place.waiting + uncached)

    def _worth_it(self, job: JobView, here: _Place, away: _Place) -> bool:
        uncached = job.prompt_tokens - self._seen.cached_tokens(job, here.worker.id)
        if uncached < self.min_tokens:
            return False
        transfer = self.transfer_tokens + self.transfer_share * job.prompt_tokens
        # Where others decode, each of them waits for every token of the prompt, too.
        disturbance = self.disturbance * uncached * here.decoding / here.worker.slots
        return self._wait(job, away) + transfer < self._wait(job, here) + disturbance

    def _put(self, job: JobView, place: _Place) -> str:
        uncached = job.prompt_tokens - self._seen.cached_tokens(job, place.worker.id)
        place.waiting += uncached
        place.free -= 1
        self._seen.note(job, place.worker)
        return place.worker.id
