"""The endpoints of a gateway: one table, the source of its routes and its OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from parallax.broker.api import paths


@dataclass(frozen=True, slots=True)
class Spec:
    """A path, and what stands behind it. `name` is also its label in metrics."""

    method: str
    path: str
    name: str
    summary: str
    asks: str = ""  # the path of the API whose requests it takes
    json: bool = True  # whether its answer is JSON
    keyed: bool = True  # whether it wants an API key, where there are keys
    statuses: tuple[int, ...] = ()  # of errors, besides those that every path has


#: Errors of whatever becomes a job.
_JOB = (400, 401, 403, 404, 408, 409, 413, 429, 502, 503, 504)
_LOOK = (401, 403)


def _job(path: str, name: str, summary: str, prefix: str = "/v1") -> Spec:
    return Spec("POST", prefix + path, name, summary, path, statuses=_JOB)


SPECS: tuple[Spec, ...] = (
    _job(paths.CHAT, "chat", "Answer a chat, whole or streamed."),
    _job(paths.COMPLETIONS, "completions", "Go on with a text, whole or streamed."),
    _job(paths.RESPONSES, "responses", "Make a response, whole or streamed; it is not kept."),
    _job(paths.EMBEDDINGS, "embeddings", "Embed texts."),
    _job(paths.TOKENIZE, "tokenize", "Take a text apart, where the engine does that.", ""),
    Spec("GET", "/v1/models", "models", "List the models that workers serve.",
         statuses=(*_LOOK, 503)),
    Spec("GET", "/v1/models/{model:path}", "model", "Tell of one model.",
         statuses=(*_LOOK, 404, 503)),
    Spec("GET", "/health", "health", "Tell that this process answers.", keyed=False),
    Spec("GET", "/ready", "ready", "Tell whether a request would be answered now.", keyed=False,
         statuses=(503,)),
    Spec("GET", "/metrics", "metrics", "Tell counts and times, for Prometheus.", json=False,
         statuses=(*_LOOK, 503)),
    Spec("GET", "/openapi.json", "openapi", "Describe all of this.", keyed=False),
)  # fmt: skip

#: What each status of an error means.
MEANINGS: Mapping[int, str] = {
    400: "a body, header or field that cannot be understood or served",
    401: "no API key, or none that is good",
    403: "another tenant, model or scope than the key's",
    404: "no such model",
    405: "another method",
    408: "the body did not come in time",
    409: "an Idempotency-Key again, with another request or for a stream",
    413: "the body is too large",
    429: "there is capacity, and others use it; or the key's rate is used up",
    500: "a fault of the gateway",
    502: "the engine failed, or a part of its answer is lost",
    503: "no capacity at all: no worker, no store, shutting down",
    504: "the deadline passed, or nothing was heard for too long",
}
