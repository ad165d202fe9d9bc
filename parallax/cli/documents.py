"""The documents of `--json`, one type for each kind: names, units, and optional fields.

Keys are snake_case and never change their meaning; a new release may add some. A unit ends a key:
`_s` seconds, `_ms` milliseconds, `_tokens`, `_jobs`, `_per_s`; `at` is seconds since the epoch.
Unknown values are `null`. `docs/json.md` is made of this file.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all."""


class Spread(Document, frozen=True):
    """Percentiles of one latency; null where no job has one."""

    p50: float | None
    p95: float | None
    p99: float | None


# -- jobs


class JobLine(Document, frozen=True, omit_defaults=True):
    """One job of `submit`, a line each: its end, or its state so far.

    `text` is what its answer says, `answer` the answer as its engine gave it; of a job that streams
    there is only the text.
    """

    id: str
    state: Literal[
        "accepted", "refused", "unknown", "waiting",
        "completed", "failed", "rejected", "expired", "cancelled", "dead",
    ]  # fmt: skip
    error: str | None = None
    reason: str | None = None
    tenant: str | None = None
    worker: str | None = None
    attempt: int | None = None
    estimate: float | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    wait_s: float | None = None
    ttft_s: float | None = None
    service_s: float | None = None
    retry_after_s: float | None = None
    text: str | None = None
    answer: Any = None


class JobRecord(Document, frozen=True):
    """The record of a job. Times count from its acceptance; `answer` is read with `--answer`."""

    id: str
    tenant: str
    state: Literal[
        "queued", "assigned", "running", "prefilled",
        "completed", "failed", "rejected", "expired", "cancelled", "dead",
    ]  # fmt: skip
    attempts: int
    session: str | None
    worker: str | None
    prompt_tokens: int
    max_tokens: int
    output_tokens: int
    cached_tokens: int
    queue_wait_s: float | None
    ttft_s: float | None
    e2e_s: float | None
    error: str | None
    reason: str | None  # a word of the list in docs/operations.md
    assigned_s: float | None  # when its last attempt was sent to `worker`
    hedge_worker: str | None  # of the later of two attempts at once, if there were two
    hedged_s: float | None
    trace_id: str | None
    answer: Any


class Cancelled(Document, frozen=True):
    """The answer to `cancel`: late if the job had ended before, silent if its cell was."""

    id: str
    answer: Literal["ok", "late", "unknown", "silent"]


# -- a running cell


class CellRow(Document, frozen=True):
    """One cell; null where it does not answer."""

    cell: str
    server: str
    weight: float
    answers: bool
    leader: str | None
    workers: int | None
    open_jobs: int | None


class Home(Document, frozen=True):
    """Where a tenant lives."""

    tenant: str
    cell: str


class BackendRow(Document, frozen=True):
    """A server that speaks OpenAI's API, and the worker in front of it; `why` it is not ready.

    `drained_as` is the name under which `backend drain` keeps new jobs from it.
    """

    worker: str
    state: Literal["ready", "unready", "draining", "dead"]
    backend: str
    kind: str
    models: list[str]
    slots: int
    running_jobs: int
    waiting_jobs: int
    kv_used: float
    why: str | None
    drained_as: str | None


class ModelRow(Document, frozen=True):
    """A model that workers serve: `ready` of them are sent its jobs, and have so many `slots`."""

    model: str
    workers: list[str]
    ready: int
    slots: int
    running_jobs: int
    waiting_jobs: int


class DrainedRow(Document, frozen=True):
    """A worker that a mark is about: `jobs` it has been given and has not ended."""

    worker: str
    state: Literal["ready", "unready", "draining", "dead"]
    jobs: int


class Drained(Document, frozen=True):
    """What `backend drain` and `undrain` did; `empty`: nothing is left to end."""

    name: str
    drained: bool
    changed: bool
    empty: bool
    workers: list[DrainedRow]


class BackendFacts(Document, frozen=True):
    """A server's description of itself; `slots` are those that a worker would use."""

    backend: str
    kind: str
    models: list[str]
    slots: int
    kv_capacity_tokens: int | None
    context_tokens: int | None
    running_requests: int | None
    waiting_requests: int | None
    kv_used: float | None


class TenantWeight(Document, frozen=True):
    """A weight that was set."""

    tenant: str
    weight: float


class Dead(Document, frozen=True):
    """A dead letter."""

    entry: str
    at: float
    job: str
    why: str
    stream: str
    sample: str


class Requeued(Document, frozen=True):
    """A dead letter's job that was offered again as `successor`, or why it was not."""

    entry: str
    job: str
    successor: str | None
    error: str | None


class Purged(Document, frozen=True):
    """How many dead letters were removed."""

    removed: int


class UrlDocument(Document, frozen=True):
    """The address of the server, and the cell on it."""

    url: str
    cell: str


class AclDocument(Document, frozen=True):
    """The files that were written: for the server, and the password of each role's user."""

    file: str
    users: list[AclUser]


class AclUser(Document, frozen=True):
    """A user and the file with its password."""

    role: str
    user: str
    password_file: str


# -- policies


class PolicyRow(Document, frozen=True):
    """A policy, its parameters with their defaults, and the distribution it comes from."""

    kind: str
    name: str
    parameters: dict[str, Any]
    summary: str
    source: str


class PolicyPage(Document, frozen=True):
    """All there is to say of a policy."""

    kind: str
    name: str
    parameters: dict[str, Any]
    text: str
    source: str


class PolicyInForce(Document, frozen=True):
    """A cell's policy of one kind, and the source of that choice: scheduler is its own option."""

    kind: str
    name: str
    parameters: dict[str, Any]
    source: Literal["default", "scheduler", "policy set", "canary"]


class PolicyChange(Document, frozen=True):
    """A choice that was made for a cell (`set`), or taken back (`reset`)."""

    cell: str
    kind: str | None
    name: str | None


class Files(Document, frozen=True):
    """Files that were written."""

    files: list[str]


class Arm(Document, frozen=True):
    """One arm of a canary: jobs judged, and those that missed the objectives."""

    arm: str
    jobs: int
    missed: int
    attainment: float | None


class CanaryStatus(Document, frozen=True):
    """The canary that runs, or how the last one ended; `stable` is null if nothing was set."""

    cell: str
    stable: str | None
    candidate: str | None
    verdict: str | None
    arms: list[Arm]


class CanaryChange(Document, frozen=True):
    """A canary was begun (`percent` of the sessions), promoted or rolled back."""

    cell: str
    word: Literal["start", "promote", "rollback"]
    candidate: str
    percent: float | None


# -- loads


class TenantFigures(Document, frozen=True):
    """A tenant's service. `share` is of the cost served while all were busy, `due` by weight."""

    tenant: str
    weight: float
    offered_jobs: int
    completed_jobs: int
    jobs_per_s: float
    output_tokens_per_s: float
    share: float | None
    due: float
    note: str | None
    ttft_s: Spread
    e2e_s: Spread


class LiveReport(Document, frozen=True):
    """`demo`, `loadgen` and `replay`: each tenant and, last, all; outcomes; the promises.

    `open_jobs` had not ended when the run did; an `interrupted` run proves nothing of them.
    """

    tenants: list[TenantFigures]
    offered_jobs: int
    accepted_jobs: int
    refused_jobs: int
    outcomes: dict[str, int]
    lost_jobs: int
    finished_twice_jobs: int
    open_jobs: int
    interrupted: bool
    offered_s: float
    ended_s: float
    recovered: dict[str, int]
    killed: list[str]
    kept: bool


class UpLine(Document, frozen=True):
    """One line for each cell, once its processes run. The dashboard's address has its token."""

    cell: str
    url: str
    workers: int
    engine: str
    gateway: str | None = None
    dashboard: str | None = None


class KeyMade(Document, frozen=True):
    """A new API key, shown this once; `key` is the secret, null if it was brought along."""

    id: str
    key: str | None
    tenant: str
    expires_at: float | None


class KeyRow(Document, frozen=True):
    """An API key; no `models`: all of them."""

    id: str
    tenant: str
    state: Literal["good", "expired"]
    scopes: list[str]
    models: list[str]
    created_at: float
    expires_at: float | None
    requests_per_minute: int | None = None  # None: no limit
    tokens_per_minute: int | None = None


class KeyRevoked(Document, frozen=True):
    """A key that was to be revoked, and whether there was one."""

    id: str
    revoked: bool
