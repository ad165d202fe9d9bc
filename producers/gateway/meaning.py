"""Translates a request into a job: tenant, urgency, length, and prefix.

Headers come before fields of the body; of several names for one thing the first that is there
counts. A number that makes no sense is refused; one that is merely out of range is brought into it,
so that no client can turn an order round with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from math import ceil, isfinite

from parallax.broker.api.paths import STREAMING
from parallax.broker.store.rates import NO_RATES, Rates
from parallax.core.model import MAX_DEADLINE_S, MAX_TOKENS, NAME, NAME_RULE, Job, new_id
from parallax.producers.client.chat import TOKEN_BYTES
from parallax.producers.client.tenant_client import stored_id
from parallax.producers.gateway.blocks import BLOCK_TOKENS, prefix_of
from parallax.producers.gateway.bodies import Asked
from parallax.producers.gateway.problems import Code, Problem
from parallax.producers.gateway.settings import GatewaySettings

TENANT_HEADERS = (
    "x-parallax-tenant", "x-llm-d-inference-fairness-id", "x-gateway-inference-fairness-id",
)  # fmt: skip
CLASS_HEADERS = ("x-llm-d-inference-objective", "x-gateway-inference-objective")
TTFT_HEADERS = ("x-llm-d-slo-ttft-ms", "x-slo-ttft-ms")
SESSION_HEADERS = (
    "x-session-id", "x-session-token", "x-correlation-id", "x-claude-code-session-id",
    "x-session-affinity", "session-id", "session_id", "x-olla-session-id",
)  # fmt: skip
PRIORITY_HEADER, DEADLINE_HEADER = "x-gateway-priority", "x-parallax-deadline-ms"
READ_TIMEOUT_HEADER, IDEMPOTENCY_HEADER = "x-stainless-read-timeout", "idempotency-key"

USUAL_TENANT = "default"
MOST_KEY = 255  # characters of an Idempotency-Key
_LEAST_DEADLINE_MS, _MOST_PRIORITY = 1.0, 100


class Class(StrEnum):
    """How urgent a request is."""

    INTERACTIVE = "interactive"
    STANDARD = "standard"
    BATCH = "batch"


_CLASSES: dict[str, Class] = {
    **{one.value: one for one in Class}, "auto": Class.STANDARD, "default": Class.STANDARD,
    "scale": Class.STANDARD, "priority": Class.INTERACTIVE, "fast": Class.INTERACTIVE,
    "flex": Class.BATCH,
}  # fmt: skip
#: Priority of a class within its tenant; jobs know no classes.
_PRIORITIES = {Class.INTERACTIVE: 50, Class.STANDARD: 0, Class.BATCH: -50}


@dataclass(frozen=True, slots=True)
class Speaker:
    """For whom a request speaks; `tenant` None: for whomever it names."""

    tenant: str | None = None
    key_id: str = ""
    models: frozenset[str] = frozenset()  # those it may use; none: all
    rates: Rates = NO_RATES

    def may_use(self, model: str) -> bool:
        """Whether it may ask this model."""
        return not self.models or model in self.models


@dataclass(frozen=True, slots=True)
class Meant:
    """A request as a job. One that is `repeatable` goes on when its client leaves."""

    job: Job
    model: str
    tier: Class
    repeatable: bool


Headers = Mapping[str, str]


def meant(
    headers: Headers,
    asked: Asked,
    speaker: Speaker,
    settings: GatewaySettings,
    index: int = 0,
    model: str | None = None,
    trace: str = "",
) -> Meant:
    """Return the job that a request means; raises Problem that names header or field.

    `index` tells apart the jobs of a request that wants several answers. `model` is what the name
    in the request stands for; None: it is the name of a model. `trace` is the context of whoever
    asks.
    """
    said = asked.said
    model = said.model if model is None else model
    tenant = _tenant(headers, asked, speaker)
    tier = _tier(headers, said.service_tier)
    key = headers.get(IDEMPOTENCY_HEADER)
    name = new_id() if key is None else stored_id(tenant, _key_name(key, index))
    cached = asked.path in STREAMING  # nothing else is found in a cache again
    prefix = prefix_of(model, asked.prompt) if cached else ()
    job = Job(
        name,
        tenant,
        prompt_tokens=_tokens(asked.prompt),
        max_tokens=asked.max_tokens or settings.max_tokens,
        session=_session(headers, said.prompt_cache_key),
        deadline_s=_deadline(headers, asked.stream),
        priority=_priority(headers, said.priority, tier),
        prefix=prefix,
        prefix_block=BLOCK_TOKENS,
        stream=asked.stream,
        keep=key is not None,
        model=model,
        trace=trace,
    )
    return Meant(job, model, tier, key is not None)


def _tokens(prompt: bytes) -> int:
    count = ceil(len(prompt) / TOKEN_BYTES)
    if count > MAX_TOKENS:
        raise Problem(
            400, Code.INVALID, f"the prompt has about {count} tokens; at most {MAX_TOKENS}"
        )
    return count


def _first(headers: Headers, names: Sequence[str]) -> tuple[str, str] | None:
    """Return name and value of the first header that is there and not empty."""
    return next(((name, headers[name]) for name in names if headers.get(name)), None)


def _tenant(headers: Headers, asked: Asked, speaker: Speaker) -> str:
    if speaker.tenant is not None:
        return speaker.tenant
    found = _first(headers, TENANT_HEADERS)
    if found is not None:
        name, tenant = found
        if not NAME.fullmatch(tenant):
            raise Problem(400, Code.INVALID, f"{name}: {NAME_RULE}", param=name)
        return tenant
    user = asked.said.safety_identifier or asked.said.user
    return _named(user, "user") if user else USUAL_TENANT


def _session(headers: Headers, cache_key: str | None) -> str:
    found = _first(headers, SESSION_HEADERS)
    session = found[1] if found else cache_key
    return _named(session, "session") if session else ""


def _named(text: str, kind: str) -> str:
    """Return a text as a name: as it is where it is one, else a digest of it."""
    if NAME.fullmatch(text):
        return text
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
    return f"{kind}-{digest}"


def _key_name(key: str, index: int) -> str:
    if not 1 <= len(key) <= MOST_KEY:
        said = f"Idempotency-Key: use 1 to {MOST_KEY} characters"
        raise Problem(400, Code.INVALID, said, param=IDEMPOTENCY_HEADER)
    name = f"idempotent-{blake2b(key.encode(), digest_size=16).hexdigest()}"
    return f"{name}-{index}" if index else name


def _tier(headers: Headers, tier: str | None) -> Class:
    """Return the class; an unknown word is an objective of another system."""
    found = _first(headers, CLASS_HEADERS)
    return _CLASSES.get((found[1] if found else tier or "").lower(), Class.STANDARD)


def _priority(headers: Headers, priority: int | None, tier: Class) -> int:
    """Return the job's priority, higher is sooner; clients say it the other way round."""
    text = headers.get(PRIORITY_HEADER)
    if text:
        sign, digits = text.startswith("-"), text.lstrip("+-")
        if not digits.isascii() or not digits.isdigit() or len(text) - len(digits) > 1:
            said = f"{PRIORITY_HEADER}: a whole number; lower is sooner"
            raise Problem(400, Code.INVALID, said, param=PRIORITY_HEADER)
        priority = int(digits[:20]) * (-1 if sign else 1)
    if priority is None:
        return _PRIORITIES[tier]
    return max(-_MOST_PRIORITY, min(_MOST_PRIORITY, -priority))


def _deadline(headers: Headers, stream: bool) -> float | None:
    """Return within how many seconds a job must have begun; None: whenever.

    The client's own time limit is one, but not of a stream: comments keep that alive.
    """
    found = _first(headers, (DEADLINE_HEADER, *TTFT_HEADERS))
    if found is not None:
        name, text = found
        wait_ms = _number(text)
        if wait_ms is None:
            raise Problem(400, Code.INVALID, f"{name}: a number of milliseconds", param=name)
        return min(max(wait_ms, _LEAST_DEADLINE_MS) / 1000, MAX_DEADLINE_S)
    patience_s = _number(headers.get(READ_TIMEOUT_HEADER, ""))
    if stream or patience_s is None or patience_s <= 0:
        return None
    return min(max(patience_s, _LEAST_DEADLINE_MS / 1000), MAX_DEADLINE_S)


def _number(text: str) -> float | None:
    try:
        number = float(text) if len(text) <= 40 else None
    except ValueError:
        return None
    return number if number is not None and isfinite(number) else None
