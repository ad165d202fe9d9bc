"""A simulated worker: an engine on virtual time, and the attempts in it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random

from parallax.core.hashing import share
from parallax.core.lifecycle import Outcome
from parallax.core.model import Job, JobView, Usage
from parallax.core.roles import PREFILL
from parallax.core.settings import PolicyChoice
from parallax.engine.batch import BatchEngine, BatchingPolicy
from parallax.engine.profiles import Profile, profile_named
from parallax.engine.request import Change, Consumed, Request
from parallax.policies.registry import BATCHING
from parallax.scheduling.actions import Dispatch
from parallax.scheduling.events import AttemptEnded, WorkerReported
from parallax.sim.spec import FleetSpec

CONTINUOUS = "continuous"


@dataclass(slots=True)
class Attempt:
    """An attempt that is on its way to an engine, or in it. Times are virtual milliseconds."""

    job: Job
    number: int
    estimate: float
    prefilled_by: str
    since_ms: float
    began_ms: float | None = None  # when it joined the batch, as far as is known
    first_ms: float | None = None
    cached: int = 0

    def usage(self, now_ms: float, output: int, prompt: int | None = None) -> Usage:
        """Return what it has consumed since it joined the batch; `prompt` None: all of it."""
        began_ms = now_ms if self.began_ms is None else self.began_ms
        first = None if self.first_ms is None else (self.first_ms - began_ms) / 1000
        service_s = (now_ms - began_ms) / 1000
        tokens = self.job.prompt_tokens if prompt is None else prompt
        return Usage(tokens, output, self.cached, service_s, first)

    def stopped(self, now_ms: float, consumed: Consumed) -> Usage:
        """Return what it has consumed when its engine has let go of it."""
        if self.prefilled_by:
            return self.usage(now_ms, max(1, consumed.output_tokens))
        self.cached = max(self.cached, consumed.cached_tokens)
        return self.usage(now_ms, consumed.output_tokens, consumed.prompt_tokens)


@dataclass(slots=True)
class SimWorker:
    """One worker of the fleet. `due_ms` is when its engine must be looked at next."""

    id: str
    role: str
    profile: Profile
    engine: BatchEngine
    attempts: dict[str, Attempt] = field(default_factory=dict)
    due_ms: float | None = None
    reported_ms: float = 0.0
    reporting: bool = False  # a report is on its way
    stale_until_ms: float = -1.0
    draining: bool = False
    alive: bool = True
    models: tuple[str, ...] = ()

    def report(self) -> WorkerReported:
        """Return the worker's report."""
        profile = self.profile
        return WorkerReported(
            self.id, profile.max_seqs, 1.0, self.engine.kv_used, profile.kv_capacity, self.role,
            "", self.draining, self.models, profile.dram_tokens,
        )  # fmt: skip

    def request(self, attempt: Attempt, factor: float) -> Request:
        """Return what the engine is asked for."""
        job = attempt.job
        only_prompt = self.role == PREFILL and not attempt.prefilled_by
        return Request(
            job.id,
            f"{job.tenant}/{job.session}" if job.session else "",
            job.prompt_tokens,
            job.max_tokens,
            1 if only_prompt else job.output_tokens,
            job.prefix,
            job.prefix_block,
            bool(attempt.prefilled_by),
            factor,
        )

    def cancel(self, job_id: str) -> tuple[Attempt, Consumed] | None:
        """Drop an attempt; return it and what it has consumed, None if it is not here."""
        attempt = self.attempts.pop(job_id, None)
        return None if attempt is None else (attempt, self.engine.cancel(job_id) or Consumed())

    def changed(self, change: Change) -> Attempt | None:
        """Note what the engine says; return the attempt, which is over if the change says so."""
        attempt = self.attempts.get(change.id)
        if attempt is None:
            return None
        attempt.began_ms = change.began_ms
        if change.first_token:
            attempt.first_ms = change.at_ms
            attempt.cached = max(attempt.cached, change.cached_tokens)
        if change.finished:
            del self.attempts[change.id]
        return attempt


class WorkerFactory:
    """Makes workers as the spec says; each gets a batching policy of its own."""

    def __init__(
        self, spec: FleetSpec, batching: PolicyChoice, seed: int, profile: Profile | None = None
    ) -> None:
        self._spec, self._batching, self._seed = spec, batching, seed
        self._profiles = (profile,) if profile else _profiles(spec)
        self._made = 0

    def first(self) -> list[SimWorker]:
        """Return the workers that are there from the beginning."""
        return [self.make(0.0) for _ in range(self._spec.workers)]

    def make(self, now_ms: float, name: str = "") -> SimWorker:
        """Return a new worker, or a returning one by its name."""
        number = int(name[1:]) if name else self._made
        self._made += not name
        profile = self._profiles[number % len(self._profiles)]
        engine = BatchEngine(profile, self._spec.exact, self._batching_policy(number), now_ms)
        engine.run_until(now_ms)
        worker = name or f"w{number:04d}"
        role, models = self._role(number), self._spec.models_of(number)
        return SimWorker(worker, role, profile, engine, reported_ms=now_ms, models=models)

    def factor(self, job_id: str, attempt: int) -> float:
        """Return how much slower this execution is; the same whatever else happens."""
        spec = self._spec
        if not spec.straggler_share:
            return 1.0
        draw = share(f"{self._seed}/{job_id}/{attempt}")
        return spec.straggler_factor if draw < spec.straggler_share else 1.0

    def _role(self, number: int) -> str:
        if not self._spec.prefill_workers:
            return "both"
        return PREFILL if number < self._spec.prefill_workers else "decode"

    def _batching_policy(self, number: int) -> BatchingPolicy | None:
        choice = self._batching
        if choice.name == CONTINUOUS:
            return None  # whoever fits joins: what the engine does by itself
        random = Random(f"{self._seed}/batching/{number}")
        return BATCHING.build(choice.name, choice.parameters, random)


def _profiles(spec: FleetSpec) -> tuple[Profile, ...]:
    """Return the profiles that the workers have in turn."""
    return tuple(
        replace(
            profile,
            max_seqs=spec.max_seqs or profile.max_seqs,
            token_budget=spec.token_budget or profile.token_budget,
            block_size=spec.block_size or profile.block_size,
            kv_capacity=spec.kv_capacity or profile.kv_capacity,
            dram_tokens=spec.dram_tokens or profile.dram_tokens,
        )
        for profile in spec.profiles or (profile_named(spec.profile),)
    )


def attempt_of(job: Job, action: Dispatch, now_ms: float) -> Attempt:
    """Return the attempt that a dispatch begins."""
    return Attempt(job, action.attempt, action.estimate, action.prefilled_by, now_ms)


def view_of(job: Job, arrival_s: float, deadline_s: float, attempt: int) -> JobView:
    """Return what the scheduler may see of a job; `attempt` counts those it has had."""
    return JobView(
        job.id, job.tenant, job.prompt_tokens, job.max_tokens, arrival_s, job.session, deadline_s,
        job.priority, attempt, job.prefix, job.prefix_block, model=job.model,
    )  # fmt: skip


def ended(
    worker: SimWorker, attempt: Attempt, outcome: Outcome | None, usage: Usage | None
) -> AttemptEnded:
    """Return the news that an attempt has ended at a worker."""
    job = attempt.job
    return AttemptEnded(
        job.id, job.tenant, worker.id, attempt.number, attempt.estimate, outcome, usage
    )
