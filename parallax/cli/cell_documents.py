"""The JSON documents of a running cell: `status`, `workers`, `tenants list` and `top`.

See `documents`, which this is a part of. What `top --once --json` prints is also what the web
dashboard is told once a second.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from parallax.cli.documents import Arm, Document, PolicyInForce


class CellStatus(Document, frozen=True):
    """Waiting and running jobs and their workers; `totals` counts from the cell's beginning.

    Rate and percentiles are of the last minute, as the leader tells them; null while nobody leads.
    """

    cell: str
    leader: str | None
    workers: int
    open_jobs: int
    waiting_jobs: int
    active_tenants: int
    dead_letters: int
    totals: dict[str, int]
    completed_per_s: float | None
    ttft_p95_s: float | None
    e2e_p95_s: float | None


class CellsStatus(Document, frozen=True):
    """Several cells (`--cells`): each one, those that are silent, and the sums."""

    cells: list[CellStatus]
    silent: list[str]
    workers: int
    open_jobs: int
    waiting_jobs: int
    active_tenants: int
    dead_letters: int
    totals: dict[str, int]


class WorkerRow(Document, frozen=True):
    """A registered worker. `kv_used` is a share of its KV cache; `unready`: its engine is not."""

    worker: str
    state: Literal["alive", "unready", "draining", "dead"]
    engine: str
    slots: int
    running_jobs: int
    waiting_jobs: int
    kv_used: float
    completed_jobs: int
    about: dict[str, Any]


class TenantRow(Document, frozen=True):
    """A tenant: its weight (1 unless set), and its jobs that wait in Redis."""

    tenant: str
    cell: str
    weight: float
    waiting_jobs: int


class Percentiles(Document, frozen=True):
    """Percentiles of one latency over the last minute; null where no job has one."""

    p50: float | None
    p95: float | None
    p99: float | None
    count: int


class LeaderView(Document, frozen=True):
    """The leader; `since` is the start of its term, `epoch` counts the terms."""

    name: str
    epoch: int
    since: float | None


class WorkerView(Document, frozen=True):
    """A worker as `top` and the dashboard show it. Counts of hedges and steals: last minute.

    `slow`: alive, and more than twice as slow as the others of its pool (`slowness`).
    """

    name: str
    state: Literal["alive", "slow", "unready", "draining", "dead"]
    role: str
    engine: str
    version: str
    models: list[str]
    slots: int
    running_jobs: int
    waiting_jobs: int
    stream_jobs: int
    kv_used: float
    heartbeat_age_s: float | None
    heartbeat_left_s: float | None
    incarnation: str | None
    completed_jobs: int
    completed_per_s: float | None
    slowness: float | None
    hedged_jobs: int | None
    stolen_from_jobs: int | None
    stolen_to_jobs: int | None
    why: str | None


class TenantView(Document, frozen=True):
    """A tenant. `share` of the cost served in the last minute, `due` by weight; null if unknown."""

    name: str
    weight: float
    waiting_jobs: int
    running_jobs: int | None
    share: float | None
    due: float | None
    cost_per_s: float | None
    completed_per_s: float | None
    rejected_per_s: float | None
    output_tokens_per_s: float | None
    completed_jobs: int | None
    ttft_p95_s: float | None


class ModelView(Document, frozen=True):
    """A model, and the workers that serve it."""

    name: str
    workers_alive: int
    workers: int
    slots: int
    running_jobs: int
    waiting_jobs: int


class EventView(Document, frozen=True):
    """Something that happened; `jobs` were concerned, `job` is one of them."""

    seq: int
    at: float
    kind: str
    job: str | None
    jobs: int
    tenant: str | None
    from_: str | None = msgspec.field(name="from")
    to: str | None
    detail: str | None


class PoliciesView(Document, frozen=True):
    """Which policies are in force, the canary that runs, and how the last one ended."""

    in_force: list[PolicyInForce]
    canary: CanaryView | None
    verdict: VerdictView | None


class CanaryView(Document, frozen=True):
    """A canary that runs."""

    candidate: ChoiceView
    percent: float | None
    slo_ttft_s: float | None
    slo_tpot_s: float | None
    word: str
    arms: list[Arm]


class ChoiceView(Document, frozen=True):
    """A policy and its parameters."""

    name: str
    parameters: dict[str, Any]


class VerdictView(Document, frozen=True):
    """How the last canary ended."""

    candidate: str
    word: str
    arms: list[Arm]


class CellView(Document, frozen=True):
    """A cell's activity. Rates and percentiles are of the last `window_s`, `now` of 5 s.

    They are told by the leader; `stale`: nobody led for 5 s, and these are the last known.
    """

    contract: int
    seq: int
    cell: str
    at: float
    figures_age_s: float | None
    stale: bool
    leader: LeaderView | None
    open_jobs: int
    waiting_jobs: int
    waiting_is_exact: bool
    running_jobs: int
    assigned_jobs: int
    slots: int
    workers_alive: int
    workers_total: int
    tenants_active: int
    tenants_known: int
    dead_letters: int
    backlog_s: float | None
    totals: dict[str, int]
    rejected_totals: dict[str, int]
    window_s: float
    rates: dict[str, float | None]
    rejected_per_s: dict[str, float]
    now: dict[str, float | None]
    latency: dict[str, Percentiles]
    latency_error: float
    workers: list[WorkerView]
    workers_left_out: int
    tenants: list[TenantView]
    tenants_left_out: int
    models: list[ModelView]
    policies: PoliciesView
    streams: dict[str, int]
    recent: list[EventView]
