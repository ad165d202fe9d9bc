"""Specifies a simulation as one frozen value that is written as JSON and read back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

from parallax.core.errors import InvalidSettings
from parallax.core.model import check_int, check_model, check_number
from parallax.core.settings import Policies, PolicyChoice
from parallax.engine.profiles import Profile


@dataclass(frozen=True, slots=True)
class WorkloadSpec:
    """Where jobs come from: a trace file or a workload's spec file."""

    path: str
    format: str = ""  # of a trace; "" = found out from the file
    limit: int | None = None  # jobs read
    rate_scale: float = 1.0  # arrivals so many times faster
    tenants: int = 1  # dealt in turn to a trace that names none
    jitter_s: float = 0.0  # uniform noise on arrivals, for traces with coarse clocks
    closed: bool = False  # a session's next turn waits for the answer to the one before

    def __post_init__(self) -> None:
        if self.limit is not None:
            check_int("workload.limit", self.limit, 1, 10**9)
        check_number("workload.rate_scale", self.rate_scale, 1e-6, 1e6)
        check_int("workload.tenants", self.tenants, 1, 10_000)
        check_number("workload.jitter_s", self.jitter_s, 0.0, 1e6)


@dataclass(frozen=True, slots=True)
class FaultSpec:
    """Something that goes wrong at a time. Which fields matter depends on the kind.

    crash: worker dies, is noticed after `detect_s`, and returns after `seconds` (inf = never).
    slow: its steps take `factor` times longer for `seconds`. stale: its reports stop for `seconds`.
    """

    kind: str
    worker: str
    at_s: float
    seconds: float = inf
    factor: float = 1.0
    detect_s: float = 3.0

    def __post_init__(self) -> None:
        if self.kind not in ("crash", "slow", "stale"):
            raise InvalidSettings("fault", self.kind, "known: crash, slow, stale")
        check_number("fault.at_s", self.at_s, 0.0, 1e9)
        check_number("fault.factor", self.factor, 1e-3, 1e6)
        check_number("fault.detect_s", self.detect_s, 0.0, 1e6)


@dataclass(frozen=True, slots=True)
class FleetSpec:
    """The workers."""

    workers: int = 4
    profile: str = "llama3-8b-a100"
    prefill_workers: int = 0  # of these, so many only prefill and hand over
    max_seqs: int = 0  # 0 = as the profile says; so are the next three
    token_budget: int = 0
    block_size: int = 0
    kv_capacity: int = 0
    dram_tokens: int = 0  # a second tier of KV memory behind each worker
    straggler_share: float = 0.0  # of executions, that are `straggler_factor` times slower
    straggler_factor: float = 10.0
    startup_s: float = 30.0  # until an added worker serves
    exact: bool = False  # one step at a time instead of rows of equal steps
    models: tuple[str, ...] = ()  # of each worker in turn, with "+" between those of one; () = any
    profiles: tuple[Profile, ...] = ()  # of each worker in turn, in place of `profile`

    def models_of(self, number: int) -> tuple[str, ...]:
        """Return the models that a worker serves; none: those of any job."""
        return tuple(self.models[number % len(self.models)].split("+")) if self.models else ()

    def __post_init__(self) -> None:
        for number in range(len(self.models)):
            for model in self.models_of(number):
                check_model(f"fleet.models[{number}]", model)
        check_int("fleet.workers", self.workers, 1, 100_000)
        check_int("fleet.prefill_workers", self.prefill_workers, 0, self.workers - 1)
        for name in ("max_seqs", "token_budget", "block_size", "kv_capacity", "dram_tokens"):
            check_int(f"fleet.{name}", getattr(self, name), 0, 10**10)
        check_number("fleet.straggler_share", self.straggler_share, 0.0, 1.0)
        check_number("fleet.straggler_factor", self.straggler_factor, 1.0, 1e6)
        check_number("fleet.startup_s", self.startup_s, 0.0, 1e6)


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One run: workload, fleet, policies, seed, and what counts as good."""

    workload: WorkloadSpec
    fleet: FleetSpec = field(default_factory=FleetSpec)
    policies: Policies = field(default_factory=Policies)
    faults: tuple[FaultSpec, ...] = ()
    seed: int = 0
    slo_ttft_s: float = inf
    slo_tpot_s: float = inf
    tick_s: float = 0.0  # arrivals are decided in batches so far apart; 0 = one by one
    hop_s: float = 0.0  # from a decision to the worker
    report_s: float = 1.0  # how often a worker's memory use becomes known
    scale_every_s: float = 15.0
    sample_every_s: float = 10.0

    def __post_init__(self) -> None:
        check_int("seed", self.seed, 0, 2**63)
        for name in ("tick_s", "hop_s", "report_s"):
            check_number(name, getattr(self, name), 0.0, 1e6)
        check_number("scale_every_s", self.scale_every_s, 0.1, 1e6)
        check_number("sample_every_s", self.sample_every_s, 0.01, 1e6)

    def document(self) -> dict[str, object]:
        """Return the spec as JSON values (`inf` becomes None)."""
        document: dict[str, Any] = _plain(dataclasses.asdict(self))  # type: ignore[assignment]
        for added in ("models", "profiles"):  # as it was written before there were any
            if not document["fleet"][added]:
                del document["fleet"][added]
        return document


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    if isinstance(value, PolicyChoice):
        return {"name": value.name, "parameters": _plain(value.parameters)}
    return None if value == inf else value
