"""The JSON documents of simulations, experiments, recordings and drills. See `documents`."""

from __future__ import annotations

from typing import Literal

from parallax.cli.documents import Document

# -- the laboratory


class TraceFormat(Document, frozen=True):
    """A format of traces, the columns by which it is known, and the distribution it comes from."""

    format: str
    columns: list[str]
    summary: str
    source: str


class Interval(Document, frozen=True):
    """A mean over seeds and half the width of its 95 % interval."""

    mean: float
    half: float | None


class Variant(Document, frozen=True):
    """One combination of a comparison; figures are named as in `--show`."""

    variant: str
    seeds: list[int]
    figures: dict[str, Interval | None]


class FitCurve(Document, frozen=True):
    """How far a profile is from the points of one kind: relative errors."""

    curve: str
    points: int
    rms: float
    worst: float


class Calibration(Document, frozen=True):
    """What was measured of an engine, and the profile that was fitted to it."""

    file: str | None
    profile: str
    server: str
    kind: str
    slots: int
    kv_capacity_tokens: int
    token_budget: int
    prefix_caching: bool
    request_ms: float
    base_ms: float
    prefill_ms: float
    decode_ms: float
    kv_us: float
    quad_ms: float
    rounds: int
    planned_rounds: int
    curves: list[FitCurve]
    notes: list[str]


class Tried(Document, frozen=True):
    """A composition that was tried: policies by kind, and what it would lose of goodput.

    `alike`: every figure is that of the advice, so nothing was decided otherwise.
    """

    policies: dict[str, str]
    seeds: list[int]
    figures: dict[str, Interval | None]
    loses: Interval | None
    alike: bool


class FleetSize(Document, frozen=True):
    """So many workers with the policies of the advice; `gains`: of goodput, over its fleet."""

    workers: int
    seeds: list[int]
    figures: dict[str, Interval | None]
    gains: Interval | None
    meets: bool


class Advice(Document, frozen=True):
    """Which policies and how many workers for a load; `met`: whether they reach the goal."""

    workload: str
    profile: str
    jobs_offered: int
    goal: list[str]
    met: bool
    workers: int
    policies: dict[str, str]
    figures: dict[str, Interval | None]
    second: Tried | None
    tried: list[Tried]
    sizes: list[FleetSize]
    runs: int
    notes: list[str]
    command: str


class ExperimentRow(Document, frozen=True):
    """An experiment that there is."""

    name: str
    title: str
    question: str
    runs: int


class Finding(Document, frozen=True):
    """A number that an experiment was to give."""

    experiment: str
    what: str
    value: float | None
    expected: str
    verdict: Literal["holds", "MISSES"]


class Held(Document, frozen=True):
    """A measurement that the simulator was held against; an order has `found` in their place."""

    case: str
    what: str
    verdict: Literal["holds", "MISSES"]
    predicted: float | None = None
    measured: float | None = None
    found: str | None = None


class Written(Document, frozen=True):
    """A written file, and its content."""

    file: str
    count: int


class RecordingCheck(Document, frozen=True):
    """Batches of a recording that were decided again."""

    leaders: int
    batches: int
    events: int
    dispatched: int
    differing_batches: int
    first_differing: str | None


class Candidate(Document, frozen=True):
    """A worker that an attempt could have gone to, as the scheduler saw it.

    The last three figures are known of a recording only (`--record`).
    """

    attempt: int
    worker: str
    chosen: bool
    score: float | None
    cached_tokens: int | None
    free_slots: float
    in_flight_jobs: int
    prefill_tokens: int | None
    pending_cost: int | None
    slowness: float | None


# -- the system itself


class DoctorFinding(Document, frozen=True):
    """One finding of the doctor."""

    check: str
    finding: Literal["ok", "warning", "bad"]
    note: str


class Versions(Document, frozen=True):
    """Versions; null for a package that is not installed. `compiled`: the hot modules are."""

    parallax: str
    compiled: bool
    python: str
    packages: dict[str, str | None]


class Drills(Document, frozen=True):
    """The results of the drills of `verify`."""

    seeds: list[int]
    faults: int
    kinds_of_faults: int
    accepted_jobs: int
    executions: int
    outcomes: dict[str, int]
    shapes: list[str]
    bodies_checked: int
    answers_checked: int
    pieces_checked: int
    requests: dict[str, int]  # to gateways, by how they ended
    keys_with_junk: int
    contended_s: float
    longest_drain_s: float
    promises: int
    violations: int
    broken: dict[str, str]  # by seed and promise: the first sentence about it
    excused: int


class Gap(Document, frozen=True):
    """Live beside simulated latency of a routing policy, seconds."""

    routing: str
    latency: str
    draws: int
    live_p50_s: float
    simulated_p50_s: float
    live_p95_s: float
    simulated_p95_s: float
    held: bool
