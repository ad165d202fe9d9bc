"""Settings: frozen, validated, one source for each value.

Order of precedence: command-line flag > environment `PARALLAX_*` > `parallax.toml` > default. The
layer that reads flags, environment and file is `cli.options`; here is what may be set, with its
unit, its bounds and its default. Unknown keys are refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from parallax.core.errors import InvalidSettings
from parallax.core.model import check_int, check_number


@dataclass(frozen=True, slots=True)
class PolicyChoice:
    """A policy by name, with its parameters as text or values."""

    name: str
    parameters: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SchedulerSettings:
    """How the scheduler process works."""

    lease_s: float = 2.0  # how long the leader's lease lasts without renewal
    heartbeat_s: float = 3.0  # how long a worker's heartbeat lasts without renewal
    poll_s: float = 0.5  # how often workers' heartbeats and reports are read
    block_s: float = 0.25  # how long one read waits for news
    batch: int = 200  # most entries read from one stream, and jobs committed, in a turn
    window: int = 2_048  # most jobs of one tenant held in memory; the rest stays in Redis
    max_held: int = 16_384  # most jobs held in memory in all
    idle_s: float = 5.0  # a tenant without arrivals for so long is no longer watched
    sweep_s: float = 5.0  # how often the janitor takes its turn
    repair_grace_s: float = 30.0  # an open job untouched for so long is looked for
    stall_s: float = 10.0  # a loop without progress for so long does not keep the lease
    seed: int = 0  # seed of the policies' random numbers

    def __post_init__(self) -> None:
        for name, low, high in (
            ("lease_s", 0.2, 60.0),
            ("heartbeat_s", 0.2, 60.0),
            ("poll_s", 0.01, 10.0),
            ("block_s", 0.001, 2.0),
            ("idle_s", 0.0, 3600.0),
            ("sweep_s", 0.1, 3600.0),
            ("repair_grace_s", 0.5, 86_400.0),
            ("stall_s", 0.2, 3600.0),
        ):
            check_number(name, getattr(self, name), low, high)
        check_int("batch", self.batch, 1, 2_000)
        check_int("window", self.window, 1, 1_000_000)
        check_int("max_held", self.max_held, 1, 10_000_000)
        check_int("seed", self.seed, 0, 2**63)


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How a worker process works."""

    heartbeat_s: float = 3.0  # how long its heartbeat lasts without renewal
    stall_s: float = 10.0  # a main loop without progress for so long stops the heartbeat
    block_s: float = 0.5  # how long one read waits for work
    batch: int = 200  # most assignments read at once
    drain_s: float = 30.0  # how long running attempts may take to end after SIGTERM
    leave_s: float = 1.0  # and, after that, handing over what still runs
    retry_base_s: float = 0.2  # longest rest of a job after its first failed attempt; then doubled
    retry_cap_s: float = 5.0  # longest rest after any

    def __post_init__(self) -> None:
        check_number("heartbeat_s", self.heartbeat_s, 0.2, 60.0)
        check_number("stall_s", self.stall_s, 0.2, 3600.0)
        check_number("block_s", self.block_s, 0.001, 2.0)
        check_number("drain_s", self.drain_s, 0.0, 3600.0)
        check_number("leave_s", self.leave_s, 0.0, 60.0)
        check_number("retry_base_s", self.retry_base_s, 0.0, 60.0)
        check_number("retry_cap_s", self.retry_cap_s, 0.0, 600.0)
        check_int("batch", self.batch, 1, 2_000)


@dataclass(frozen=True, slots=True)
class Policies:
    """Which policy decides what."""

    admission: PolicyChoice = PolicyChoice("thresholds")
    fairness: PolicyChoice = PolicyChoice("fair_queuing")
    ordering: PolicyChoice = PolicyChoice("sjf")
    gate: PolicyChoice = PolicyChoice("jbsq")
    routing: PolicyChoice = PolicyChoice("kv_locality")
    predictor: PolicyChoice = PolicyChoice("bucket_quantile")
    batching: PolicyChoice = PolicyChoice("continuous")
    hedging: PolicyChoice = PolicyChoice("never")
    stealing: PolicyChoice = PolicyChoice("never")
    rollout: PolicyChoice | None = None  # None: no canary runs
    candidate: PolicyChoice | None = None  # the routing policy that a canary tries
    scaling: PolicyChoice | None = None  # None: the fleet keeps its size


def from_mapping(kind: type[Any], values: Mapping[str, object], where: str) -> Any:
    """Build a settings class from a mapping; raises InvalidSettings for an unknown key."""
    known = [f.name for f in dataclasses.fields(kind)]
    for key in values:
        if key not in known:
            raise InvalidSettings(where, key, f"known: {', '.join(known)}")
    return kind(**values)
