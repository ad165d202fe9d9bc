"""A request's part of a trace: the context that it brings, and the span of its being answered."""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import Scope

from parallax.broker.api import paths
from parallax.core.trace import context_in
from parallax.producers.gateway.meaning import Meant
from parallax.telemetry.tracing import NOTHING, Span, Tracer, Value

#: Where a request says which trace it belongs to.
HEADER = "traceparent"

#: What is done at a path of the API, in the words of OpenTelemetry's conventions for generative AI.
OPERATIONS = {
    paths.CHAT: "chat", paths.COMPLETIONS: "text_completion", paths.RESPONSES: "chat",
    paths.EMBEDDINGS: "embeddings",
}  # fmt: skip

_SPAN = "parallax.span"


def begun(tracer: Tracer, scope: Scope) -> Span:
    """Begin the span of a request that asks a model; no other is traced."""
    path = str(scope["path"])
    if not tracer.on or path.removeprefix("/v1") not in OPERATIONS:
        return NOTHING
    about = {"http.request.method": str(scope["method"]), "url.path": path, "http.route": path}
    brought = context_in(Request(scope).headers.get(HEADER))
    span = tracer.begin(f"{scope['method']} {path}", brought, kind="server", attributes=about)
    scope[_SPAN] = span
    return span


def context_of(request: Request) -> str:
    """Return the context for the jobs of a request: its span's, or the one that it brought."""
    span: Span = request.scope.get(_SPAN, NOTHING)
    return span.context or context_in(request.headers.get(HEADER))


def understood(request: Request, path: str, meant: Meant) -> None:
    """Tell of a request what it means."""
    span: Span = request.scope.get(_SPAN, NOTHING)
    if span is not NOTHING:
        span.tell(_about(path, meant))


def ended(span: Span, status: int, failed: str = "") -> None:
    """The request was answered so; 499: its client had left. It `failed` after its head."""
    if span is NOTHING:
        return
    about: dict[str, Value] = {"http.response.status_code": status}
    error = failed or (f"status {status}" if status >= 500 else "")
    if error:
        about["error.type"] = failed or str(status)
    span.end(attributes=about, error=error)


def _about(path: str, meant: Meant) -> dict[str, Value]:
    job = meant.job
    return {
        "gen_ai.operation.name": OPERATIONS.get(path, ""), "gen_ai.provider.name": "parallax",
        "gen_ai.request.model": meant.model, "gen_ai.conversation.id": job.session,
        "gen_ai.request.max_tokens": job.max_tokens, "gen_ai.request.stream": job.stream,
        "parallax.tenant": job.tenant, "parallax.job.id": job.id,
        "parallax.class": meant.tier.value,
    }  # fmt: skip
