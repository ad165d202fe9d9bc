"""The outcome of a run: one row per job, samples of the fleet, and counters.

Times are seconds from the start of the run. `nan` stands for what never happened.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isnan, nan


@dataclass(slots=True)
class JobOutcome:
    """The outcome of one job. Latencies count from the arrival that the workload intended."""

    id: str
    tenant: str
    session: str
    arrival_s: float
    prompt_tokens: int
    outcome: str = ""  # as `Outcome`; "" = the run ended before the job
    output_tokens: int = 0
    cached_tokens: int = 0
    dispatched_s: float = nan  # the attempt that decided it left the queue
    first_token_s: float = nan
    finished_s: float = nan
    deadline_s: float = nan  # absolute, as the others
    worker: str = ""
    attempts: int = 0
    hedged: bool = False
    arm: str = ""  # which routing policy placed it while a canary ran

    @property
    def ttft_s(self) -> float:
        """Seconds to the first token."""
        return self.first_token_s - self.arrival_s

    @property
    def e2e_s(self) -> float:
        """Seconds to the last token."""
        return self.finished_s - self.arrival_s

    @property
    def tpot_s(self) -> float:
        """Seconds per token after the first; 0 for an answer of one token."""
        if self.output_tokens <= 1:
            return 0.0 if not isnan(self.finished_s) else nan
        return (self.finished_s - self.first_token_s) / (self.output_tokens - 1)


@dataclass(frozen=True, slots=True)
class Sample:
    """The fleet at one moment."""

    at_s: float
    queued: int
    in_flight: int
    workers: int
    kv_used: float  # mean over workers, 0..1


@dataclass(slots=True)
class Run:
    """A whole run, ready to be reported. `spec` is its specification, as JSON values."""

    spec: dict[str, object]
    jobs: list[JobOutcome]
    samples: list[Sample] = field(default_factory=list)
    counters: dict[str, float] = field(default_factory=dict)
    worker_busy_s: dict[str, float] = field(default_factory=dict)
    duration_s: float = 0.0
    notes: list[str] = field(default_factory=list)  # what happened: faults, scaling, verdicts
