"""The error answers of the dashboard: one shape, one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response

from parallax.core.errors import (
    Conflict,
    InvalidInput,
    ParallaxError,
    Refused,
    StoreFull,
    TimedOut,
    Unreachable,
)
from parallax.core.secrets import redacted

_STATUS = {
    "unauthorized": 401, "forbidden": 403, "not_found": 404, "method": 405, "conflict": 409,
    "too_large": 413, "invalid": 422, "no_text": 422, "bad_json": 400, "busy": 429,
    "unreachable": 503, "unavailable": 503, "internal": 500,
}  # fmt: skip
_AGAIN = {"busy": "2", "unreachable": "2", "unavailable": "5"}


class Problem(Exception):
    """A request cannot be answered as it was meant: a code for programs, a sentence for people."""

    def __init__(self, code: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.field = code, message, field

    def document(self) -> dict[str, Any]:
        """Return it as the API tells it."""
        told = {"code": self.code, "message": redacted(self.message), "field": self.field}
        return {"error": told}


def told(problem: Problem) -> Response:
    """Return the answer that tells a problem."""
    headers = {"retry-after": _AGAIN[problem.code]} if problem.code in _AGAIN else None
    return document(problem.document(), _STATUS[problem.code], headers)


def problem_of(error: ParallaxError) -> Problem:
    """Return what an error of ours means to a browser."""
    if isinstance(error, InvalidInput):
        return Problem("invalid", str(error), error.field)
    if isinstance(error, Conflict):
        return Problem("conflict", str(error))
    if isinstance(error, Unreachable | TimedOut):
        return Problem("unreachable", str(error))
    if isinstance(error, StoreFull | Refused):
        return Problem("unavailable", str(error))
    return Problem("internal", str(error))


def document(
    content: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:  # fmt: skip
    """Return an answer in JSON."""
    return Response(msgspec.json.encode(content), status, headers, "application/json")
