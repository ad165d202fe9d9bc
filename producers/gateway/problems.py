"""Errors as the API tells them: one table from what went wrong to status, code and retry signal.

| status | when | retry |
| --- | --- | --- |
| 400 | a body, header or field that cannot be understood or served | never |
| 401, 403, 404, 413 | key; not allowed; no such path or model; body too large | never |
| 408 | the head or the body did not come in time | at once |
| 431 | the head is too large | never |
| 409 | an Idempotency-Key again, with another request or for a stream | never |
| 429 | there is capacity, and others use it | `Retry-After` |
| 502 | the engine failed, or a part of its answer is lost | by the client's own rules |
| 503 | no capacity at all: no worker, no store, shutting down | `Retry-After` |
| 504 | the deadline passed, or nothing was heard for too long | never |

The `code` is a word of `Reason` where a job was refused or ended, else one of `Code`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from math import ceil

from parallax.core.errors import (
    BrokenAnswer,
    Conflict,
    InvalidInput,
    ParallaxError,
    Refused,
    StoreFull,
    TimedOut,
    Unreachable,
)
from parallax.core.lifecycle import Outcome
from parallax.core.reasons import Reason
from parallax.core.secrets import redacted
from parallax.core.text import printable
from parallax.producers.client.completion import Completion

#: Longest time that a client is told to wait (seconds), and longest message (characters).
MOST_RETRY_S, MOST_MESSAGE = 30, 1_000


class Code(StrEnum):
    """Why a request is not answered, where no `Reason` says it."""

    INVALID = "invalid_value"
    INVALID_JSON = "invalid_json"
    INVALID_KEY = "invalid_api_key"
    NOT_ALLOWED = "not_allowed"
    NOT_FOUND = "not_found"
    METHOD = "method_not_allowed"
    MODEL_NOT_FOUND = "model_not_found"
    TOO_LARGE = "body_too_large"
    HEAD_TIMEOUT = "head_timeout"
    HEAD_TOO_LARGE = "head_too_large"
    BODY_TIMEOUT = "body_timeout"
    KEY_REUSED = "idempotency_key_reused"
    STREAM_REPEATED = "stream_not_repeatable"
    NO_BACKENDS = "no_backends"
    SHUTTING_DOWN = "shutting_down"
    GATEWAY_FULL = "gateway_full"
    STORE_FULL = "store_full"
    STORE_UNREACHABLE = "store_unreachable"
    CANCELLED = "cancelled"
    NO_ANSWER = "no_answer"
    TIMED_OUT = "timed_out"
    INTERNAL = "internal_error"


_TYPES = {
    401: "authentication_error", 403: "permission_error", 404: "not_found_error",
    429: "rate_limit_error",
}  # fmt: skip
_NEVER = frozenset({409, 504})

#: The status of a job that ended for a reason; those that are not here are refusals: 429.
_STATUS: dict[Reason, int] = {
    Reason.CANNOT_FIT: 400,
    Reason.ENGINE_FAILED: 502,
    Reason.ATTEMPTS_USED_UP: 502,
    Reason.STREAM_BROKEN: 502,
    Reason.DEADLINE: 504,
    Reason.HOPELESS: 504,
}
#: What a job that ended so is told as, if its report gives no reason.
_USUAL: dict[Outcome, tuple[int, str]] = {
    Outcome.FAILED: (502, Reason.ENGINE_FAILED),
    Outcome.DEAD: (502, Reason.ATTEMPTS_USED_UP),
    Outcome.EXPIRED: (504, Reason.DEADLINE),
    Outcome.REJECTED: (429, Reason.POLICY),
    Outcome.CANCELLED: (503, Code.CANCELLED),
}


class Problem(Exception):
    """A request cannot be answered; says so as the API does."""

    def __init__(
        self, status: int, code: str, message: str, *, param: str | None = None,
        retry_after_s: float | None = None, retry: bool | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.status, self.code, self.param = status, str(code), param
        self.message = redacted(printable(message))[:MOST_MESSAGE]
        self.retry_after_s, self.more_headers = retry_after_s, headers or {}
        self.retry = False if retry is None and status in _NEVER else retry
        super().__init__(f"{status} {code}: {self.message}")

    def document(self) -> dict[str, object]:
        """Return it as the API tells it."""
        usual = "invalid_request_error" if self.status < 500 else "server_error"
        kind = _TYPES.get(self.status, usual)
        told = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return {"error": told}

    def headers(self) -> Mapping[str, str]:
        """Return when to come back, and whether to."""
        found = dict(self.more_headers)
        if self.retry_after_s is not None:
            wait_s = min(max(self.retry_after_s, 0.001), MOST_RETRY_S)
            found |= {"retry-after": str(ceil(wait_s)), "retry-after-ms": str(ceil(wait_s * 1000))}
        if self.retry is not None:
            found["x-should-retry"] = str(self.retry).lower()
        if self.status == 401:
            found["www-authenticate"] = "Bearer"
        if self.status in {429, 503, 504}:
            found["x-llm-d-request-dropped-reason"] = self.code
        return found


def ending() -> Problem:
    """Return that a gateway answers nothing any more: it is about to end."""
    said = "this gateway is shutting down"
    return Problem(503, Code.SHUTTING_DOWN, said, retry_after_s=1.0)


def problem_of(error: ParallaxError) -> Problem:
    """Return how an error is told."""
    match error:
        case InvalidInput():
            return Problem(400, Code.INVALID, str(error), param=error.field)
        case Refused():
            return _ended(error.reason, str(error.said), error.retry_after_s)
        case Conflict():
            said = "this Idempotency-Key was used before, with another request"
            return Problem(409, Code.KEY_REUSED, said, param="idempotency-key")
        case StoreFull():
            return Problem(503, Code.STORE_FULL, str(error), retry_after_s=error.retry_after_s)
        case Unreachable():
            return Problem(503, Code.STORE_UNREACHABLE, "the store cannot be reached",
                           retry_after_s=1.0)  # fmt: skip
        case TimedOut():
            return Problem(504, Code.TIMED_OUT, str(error))
        case BrokenAnswer():
            return Problem(502, Reason.STREAM_BROKEN, str(error))
    said = "the gateway cannot go on with this request; its log says why"
    return Problem(500, Code.INTERNAL, said)


def problem_of_end(completion: Completion) -> Problem:
    """Return how the end of a job is told that did not complete."""
    report = completion.report
    known = {reason.value: reason for reason in Reason}
    reason = known.get(report.reason)
    if reason is not None and completion.outcome is not Outcome.CANCELLED:
        return _ended(reason, report.error or reason.sentence, report.retry_after_s)
    status, code = _USUAL.get(completion.outcome, (500, Code.INTERNAL))
    said = report.error or f"the job was {completion.outcome.value}"
    return Problem(status, code, said, retry=False if status == 503 else None)


def _ended(reason: Reason, said: str, retry_after_s: float | None) -> Problem:
    status = _STATUS.get(reason, 429)
    if status != 429:
        return Problem(status, reason, said)
    if reason is Reason.LARGER_THAN_BURST:  # no wait makes it smaller
        return Problem(429, reason, said, retry=False)
    return Problem(429, reason, said, retry_after_s=retry_after_s or 1.0)
