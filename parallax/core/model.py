"""The nouns: a job as its producer describes it, as policies see it, and as the engine knows it.

`Job` is what a producer asks for. It is split on purpose:

* `JobView` is what admission, fairness, ordering and routing may read. It has no true output
  length, so no policy can peek at the future ("no oracle").
* `JobTruth` is what only the engine reads: how many tokens the answer will have.

Times are seconds since the epoch, lengths are tokens, `inf` means "no deadline".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import inf
from secrets import token_hex

from parallax.core.errors import InvalidInput
from parallax.core.reasons import Reason
from parallax.core.trace import check_context
from parallax.core.values import value

MAX_TOKENS = 10_000_000
MAX_DEADLINE_S = 30 * 86_400.0
MAX_PREFIX = 16_384
MAX_HASH = 2**63 - 1
USUAL_ATTEMPTS = 3
MOST_MODEL_BYTES = 256
_NO_MODEL = frozenset(',"[]\\')
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
#: What a worker serves that names no models.
ANY_MODEL: frozenset[str] = frozenset()
_REASONS = tuple(reason.value for reason in Reason if reason.by_admission)
MODEL_RULE = (
    "1 to 256 bytes of printable characters, without a space at either end, commas, double "
    "quotes, brackets or backslashes"
)
NAME_RULE = "use 1 to 64 letters, digits, '.', '_' or '-', starting with a letter or digit"


def new_id() -> str:
    """Return an id for a job that nobody named: 64 random bits."""
    return f"job-{token_hex(8)}"


@dataclass(frozen=True, slots=True)
class Job:
    """A request for inference, as a producer describes it.

    Both lengths must be given. Without an `id` it gets one of its own when it is made, so that the
    same `Job`, offered twice, is one job.
    `output_tokens` is the true length of the answer where it is known beforehand (a trace, a
    simulated job); None leaves it to the engine. `deadline_s` counts from acceptance.
    A higher `priority` is served sooner within its tenant. `prefix` names what the prompt begins
    with: one hash for each whole block of `prefix_block` tokens, chained, so that two jobs share a
    prefix exactly as far as their hashes agree.

    Who waits for a job that streams (`stream`) is sent its answer in pieces, as they come, all of
    one attempt: once the first is sent, the job is never tried again. The answer of any other is
    told whole at the end. With `keep` an answer can be read as long as the job's record.

    Only a worker that serves its `model` is given it; '' is any. `trace` is the context (W3C's
    `traceparent`) of the trace that it belongs to; it is no part of what makes two jobs the same.
    """

    id: str = field(default_factory=new_id)
    tenant: str = "default"
    prompt_tokens: int = -1
    max_tokens: int = -1
    session: str = ""
    output_tokens: int | None = None
    deadline_s: float | None = None
    priority: int = 0
    max_attempts: int = USUAL_ATTEMPTS
    prefix: tuple[int, ...] = ()
    prefix_block: int = 16
    stream: bool = False
    keep: bool = False
    model: str = ""
    trace: str = ""

    def __post_init__(self) -> None:
        check_name("id", self.id)
        check_name("tenant", self.tenant)
        if self.session != "":
            check_name("session", self.session)
        check_int("prompt_tokens", self.prompt_tokens, 0, MAX_TOKENS)
        check_int("max_tokens", self.max_tokens, 1, MAX_TOKENS)
        if self.output_tokens is not None:
            check_int("output_tokens", self.output_tokens, 0, self.max_tokens)
        if self.deadline_s is not None:
            check_number("deadline_s", self.deadline_s, 0.001, MAX_DEADLINE_S)
        check_int("priority", self.priority, -100, 100)
        check_int("max_attempts", self.max_attempts, 1, 20)
        check_int("prefix_block", self.prefix_block, 1, 65_536)
        check_prefix(self.prefix, self.prompt_tokens // self.prefix_block)
        check_flag("stream", self.stream)
        check_flag("keep", self.keep)
        if self.model != "":
            check_model("model", self.model)
        if self.trace != "":
            check_context("trace", self.trace)


@dataclass(frozen=True, slots=True)
class JobView:
    """The view of a job that policies get.

    `attempt` counts the dispatches it has had before. `prefilled_by` names the worker that has
    computed its prompt and holds the KV cache of it: only decoding is left.
    """

    id: str
    tenant: str
    prompt_tokens: int
    max_tokens: int
    arrival: float
    session: str = ""
    deadline: float = inf
    priority: int = 0
    attempt: int = 0
    prefix: tuple[int, ...] = ()
    prefix_block: int = 16
    prefilled_by: str = ""
    model: str = ""  # a worker that serves it serves the job; '' = any


@dataclass(frozen=True, slots=True)
class JobTruth:
    """The part of a job that only the engine may know: the length of its answer, in tokens."""

    output_tokens: int


@dataclass(frozen=True, slots=True)
class WorkerView:
    """The scheduler's knowledge of a worker at a decision.

    `in_flight` and `pending_cost` are counted by the scheduler itself and are always fresh;
    `kv_used` (share of KV memory in use, 0..1) is the worker's own report made at `reported_at`.
    `free` is what the dispatch gate leaves: how many more jobs may be sent now.
    `slowness` is measured service time over predicted service time (1 = as predicted).
    `prefill_tokens` are prompt tokens sent there and not known to be cached, whose jobs have had no
    first token yet; `decoding` is how many jobs have had theirs; `kv_tokens` is what all of them
    are expected to hold in the end, and `kv_room` how many jobs of usual size would still fit.
    `models` are those that it serves; one that names none serves jobs of any.
    `haste` is how many of its jobs have answers so short that one more prompt beside them makes
    them miss their pace; each counts for the part of one that its expected length makes likely.
    `warmth` is how many prompt tokens a second were found in its cache of late. `dram_tokens` is
    how many tokens of KV cache fit into its second tier, from where they are loaded, not computed.
    """

    id: str
    slots: int
    in_flight: int = 0
    pending_cost: float = 0.0
    free: int = 0
    slowness: float = 1.0
    weight: float = 1.0
    kv_used: float = 0.0
    kv_capacity: int = 0
    reported_at: float = 0.0
    role: str = "both"
    version: str = ""
    draining: bool = False
    prefill_tokens: float = 0.0
    decoding: int = 0
    kv_tokens: float = 0.0
    kv_room: int = 1_000_000_000
    models: frozenset[str] = ANY_MODEL
    haste: float = 0.0
    warmth: float = 0.0
    dram_tokens: int = 0


@value(frozen=True, slots=True)
class ClusterView:
    """The workers that may take a job now, in the order of their ids, and the time."""

    workers: tuple[WorkerView, ...]
    now: float


@value(frozen=True, slots=True)
class QueueView:
    """The input of admission: queued and running work, of the job's tenant and in all.

    Jobs are counts, costs are in cost units (see `core.cost`); `kv_used` is the mean share of KV
    memory in use over the live workers (0 when none reports). `memory_part` is what the tenant's
    own attempts hold of it, as a multiple of an equal part (1 = as much as each tenant would hold
    if all that hold some held the same).
    """

    tenant_jobs: int
    tenant_cost: float
    total_jobs: int
    total_cost: float
    kv_used: float
    workers: int
    in_flight: int = 0
    oldest_wait_s: float = 0.0
    cost_per_s: float = 0.0  # what the fleet is measured to serve; 0 until it is known
    memory_part: float = 1.0

    @property
    def presses(self) -> bool:
        """Whether the tenant is among those who make memory scarce: it holds its part or more."""
        return self.memory_part >= 1.0 - 1e-9  # a sum of floats


@dataclass(frozen=True, slots=True)
class BatchView:
    """The input of batching at a step: waiting requests, running requests, and free places."""

    waiting: int
    running: int
    places: int
    oldest_wait_s: float
    waiting_tokens: int


@dataclass(frozen=True, slots=True)
class LoadView:
    """The input of scaling. Costs are in cost units; offered load includes rejected jobs.

    `workers` counts those that start up too; `ready` only those that serve. `busy` is for rules
    that look at nothing else: it ends at 1 however much waits, and is as high for one job in a
    batch as for a full one.
    """

    offered_cost_per_s: float  # over the last minute
    burst_cost_per_s: float  # over the last six seconds
    backlog_cost: float  # queued and in flight
    workers: int
    ready: int
    cost_per_worker_s: float  # what a worker is able to serve, as learnt; 0 until it is known
    queued_cost: float = 0.0  # of the backlog, what waits for a worker
    busy: float = 0.0  # the share of the time that workers worked, as a processor's use is told


@dataclass(frozen=True, slots=True)
class Slo:
    """A tenant's objectives: seconds to the first token, and seconds per token after it."""

    ttft_s: float = inf
    tpot_s: float = inf

    def met(self, ttft_s: float, tpot_s: float) -> bool:
        """Whether a completed job kept both promises."""
        return ttft_s <= self.ttft_s and tpot_s <= self.tpot_s


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why admission refuses a job, as a word of `Reason`, and after how many seconds to try again.

    A policy that refuses for a reason of its own says `Reason.POLICY`.
    """

    reason: Reason
    retry_after_s: float = 1.0

    def __post_init__(self) -> None:
        if type(self.reason) is not Reason:
            if self.reason not in _REASONS:
                raise InvalidInput("reason", self.reason, f"known: {', '.join(_REASONS)}")
            object.__setattr__(self, "reason", Reason(self.reason))


@dataclass(slots=True)
class Usage:
    """The measured consumption of a finished attempt, in tokens and seconds since its start.

    `prefill_s` is how long its first token took, from there too (None = there was none); what users
    feel, TTFT, counts from acceptance and is longer by the wait.
    """

    prompt_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    service_s: float = 0.0
    prefill_s: float | None = field(default=None)


def check_name(where: str, value: object) -> None:
    """Refuse a name that could not stand safely in a Redis key, a label or a log line."""
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise InvalidInput(where, value, NAME_RULE)


def check_model(where: str, value: object) -> None:
    """Refuse a name of a model that could not stand in a list of them, or in a log line."""
    if not isinstance(value, str) or not is_model(value):
        raise InvalidInput(where, value, MODEL_RULE)


def is_model(name: str) -> bool:
    """Whether jobs may ask for a model of that name."""
    if not name.isprintable() or name != name.strip() or not _NO_MODEL.isdisjoint(name):
        return False
    return 0 < len(name) <= MOST_MODEL_BYTES and len(name.encode()) <= MOST_MODEL_BYTES


def check_prefix(value: object, most: int) -> None:
    """Refuse anything but a tuple of at most so many block hashes, whole numbers below 2**63."""
    allowed = f"a list of at most {min(most, MAX_PREFIX)} whole numbers from 0 to {MAX_HASH}"
    if not isinstance(value, tuple):
        raise InvalidInput("prefix", value, allowed)
    if len(value) > min(most, MAX_PREFIX):
        raise InvalidInput("prefix", f"{len(value)} numbers", f"{allowed}: the prompt's blocks")
    for name in value:
        if type(name) is not int or not 0 <= name <= MAX_HASH:
            raise InvalidInput("prefix", name, allowed)


def check_flag(where: str, value: object) -> None:
    """Refuse anything but true and false."""
    if type(value) is not bool:
        raise InvalidInput(where, value, "true or false")


def check_int(where: str, value: object, low: int, high: int) -> None:
    """Refuse anything but a whole number from `low` to `high` (a bool is not a number)."""
    if type(value) is not int or not low <= value <= high:
        raise InvalidInput(where, value, f"a whole number from {low} to {high}")


def check_number(where: str, value: object, low: float, high: float) -> None:
    """Refuse anything but a finite number from `low` to `high`; NaN compares false and is out."""
    if type(value) not in (int, float) or not low <= value <= high:  # type: ignore[operator]
        raise InvalidInput(where, value, f"a number from {low:g} to {high:g}")
