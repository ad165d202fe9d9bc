"""Traces: what became of a job, told to OpenTelemetry as spans. The one door to its packages.

They come with the extra `parallax-lb[otel]`. Without them, or without an address to tell
(`OTEL_EXPORTER_OTLP_ENDPOINT`, or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`), every tracer is `OFF`:
nothing is imported, and whoever asks `tracer.on` pays for that and no more.

Where a span belongs is said by the context (W3C's `traceparent`) that a job carries, never by what
the process happens to do: a job's spans are told by up to four processes.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from parallax import __version__

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span as OtelSpan
    from opentelemetry.trace import TracerProvider

log = logging.getLogger(__name__)

Value = str | int | float | bool

#: Where spans go, in the environment; one is enough.
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_DISABLED = "OTEL_SDK_DISABLED"

#: How long the end of a process waits for its last spans to be told (seconds).
FLUSH_S = 3.0

#: Longest value of an attribute (characters).
MOST_TEXT = 256


class Span(Protocol):
    """A part of a job's life that has begun."""

    @property
    def context(self) -> str:
        """The context for what it begins; '' where nobody is told of it."""

    def tell(self, attributes: Mapping[str, Value]) -> None:
        """More is known of it."""

    def end(
        self,
        at: float | None = None,
        attributes: Mapping[str, Value] | None = None,
        error: str = "",
    ) -> None:
        """It ended at this time (seconds since the epoch; None: now), with an error or without."""


class Tracer(Protocol):
    """Begins spans."""

    @property
    def on(self) -> bool:
        """Whether anybody is told of what is begun here."""

    def begin(
        self, name: str, parent: str = "", *, at: float | None = None, kind: str = "internal",
        attributes: Mapping[str, Value] | None = None,
    ) -> Span:  # fmt: skip
        """Begin a span at this time (seconds since the epoch; None: now).

        Its `parent` is a context; without one it is whatever span the caller is in, or none. `kind`
        is internal, server, client, producer or consumer.
        """


class _Nothing:
    """A span that nobody is told of."""

    context = ""

    def tell(self, attributes: Mapping[str, Value]) -> None:
        """See `Span`."""

    def end(
        self,
        at: float | None = None,
        attributes: Mapping[str, Value] | None = None,
        error: str = "",
    ) -> None:
        """See `Span`."""


NOTHING: Span = _Nothing()


class _Off:
    """A tracer of a process whose traces nobody wants."""

    on = False

    def begin(
        self, name: str, parent: str = "", *, at: float | None = None, kind: str = "internal",
        attributes: Mapping[str, Value] | None = None,
    ) -> Span:  # fmt: skip
        """See `Tracer`."""
        return NOTHING


OFF: Tracer = _Off()


class _Told:
    """A span of OpenTelemetry."""

    def __init__(self, span: OtelSpan) -> None:
        self._span = span

    @property
    def context(self) -> str:
        """See `Span`."""
        found = self._span.get_span_context()
        if not found.is_valid:
            return ""
        return f"00-{found.trace_id:032x}-{found.span_id:016x}-{int(found.trace_flags):02x}"

    def tell(self, attributes: Mapping[str, Value]) -> None:
        """See `Span`."""
        self._span.set_attributes(_bounded(attributes))

    def end(
        self,
        at: float | None = None,
        attributes: Mapping[str, Value] | None = None,
        error: str = "",
    ) -> None:
        """See `Span`."""
        from opentelemetry.trace import Status, StatusCode

        if attributes:
            self._span.set_attributes(_bounded(attributes))
        if error:
            self._span.set_status(Status(StatusCode.ERROR, error[:MOST_TEXT]))
        self._span.end(None if at is None else int(at * 1e9))


class OpenTelemetry:
    """A tracer that tells a provider of OpenTelemetry."""

    on = True

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry.trace import SpanKind

        self._tracer = provider.get_tracer("parallax", __version__)
        self._kinds = {kind.name.lower(): kind for kind in SpanKind}

    def begin(
        self, name: str, parent: str = "", *, at: float | None = None, kind: str = "internal",
        attributes: Mapping[str, Value] | None = None,
    ) -> Span:  # fmt: skip
        """See `Tracer`."""
        span = self._tracer.start_span(
            name, _context_of(parent), self._kinds[kind], _bounded(attributes or {}),
            start_time=None if at is None else int(at * 1e9),
        )  # fmt: skip
        return _Told(span)


def _bounded(attributes: Mapping[str, Value]) -> dict[str, Value]:
    return {
        name: value[:MOST_TEXT] if isinstance(value, str) else value
        for name, value in attributes.items()
        if value != ""
    }


def _context_of(parent: str) -> Context | None:
    """Return the context that a text tells; None: the caller's own."""
    if not parent:
        return None
    from opentelemetry import trace
    from opentelemetry.context import Context

    span = trace.NonRecordingSpan(
        trace.SpanContext(
            int(parent[3:35], 16), int(parent[36:52], 16), is_remote=True,
            trace_flags=trace.TraceFlags(int(parent[53:55], 16)),
        )
    )  # fmt: skip
    return trace.set_span_in_context(span, Context())


def ambient() -> Tracer:
    """Return a tracer for the provider that this process has set up; `OFF` if it has none.

    For libraries: whoever wants traces has imported the SDK and set a provider.
    """
    if "opentelemetry.sdk.trace" not in sys.modules:
        return OFF
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    provider = trace.get_tracer_provider()
    return OpenTelemetry(provider) if isinstance(provider, TracerProvider) else OFF


def is_wanted(environment: Mapping[str, str]) -> bool:
    """Whether the environment of a process names somebody who is to be told."""
    if environment.get(_DISABLED, "").strip().lower() == "true":
        return False
    return any(environment.get(name, "").strip() for name in ENDPOINTS)


def configured(role: str, cell: str = "") -> Tracer:
    """Return the tracer of one of our processes, as its environment says.

    It is this process' provider from then on: what is not told yet is told at its end, too.
    """
    if not is_wanted(os.environ):
        return OFF
    if (set_up := ambient()).on:
        return set_up
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log.warning("nothing is traced: the environment names a collector, and this installation "
                    "cannot tell it: pip install 'parallax-lb[otel]'")  # fmt: skip
        return OFF
    own = {"service.version": __version__, "parallax.cell": cell}
    if not os.environ.get("OTEL_SERVICE_NAME"):
        own["service.name"] = f"parallax-{role}"
    about = Resource.create({name: value for name, value in own.items() if value})
    provider = TracerProvider(resource=about, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    atexit.register(_ended, provider.shutdown)
    return OpenTelemetry(provider)


def _ended(shutdown: Callable[[], None]) -> None:
    """Tell what is not told yet. A collector that is silent keeps no process from its end."""
    last = threading.Thread(target=shutdown, name="last-spans", daemon=True)
    last.start()
    last.join(FLUSH_S)
