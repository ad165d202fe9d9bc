"""Traces: off and never imported unless they are wanted; told to a real collector if they are."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from parallax.core.errors import InvalidInput
from parallax.core.model import Job
from parallax.core.trace import context_in, is_sampled, trace_id
from parallax.telemetry.tracing import NOTHING, OFF, is_wanted
from tests.spans import BROUGHT, TRACE, Collector, Kept

TOLD = """
import sys
from parallax.telemetry.tracing import configured
tracer = configured("gateway", "main")
tracer.begin("part", "{context}", attributes={{"parallax.tenant": "a"}}).end(error="broke")
print(tracer.on, "opentelemetry" in sys.modules)
"""


def said(context: str = "", **variables: str) -> str:
    """Return what a process with these variables says that tells of one span, and ends."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")} | variables
    command = [sys.executable, "-c", TOLD.format(context=context)]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=True
    ).stdout


def test_a_collector_is_told_at_the_end_of_a_process() -> None:
    with Collector() as collector:
        assert said(BROUGHT, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url) == "True True\n"
    ((path, request),) = collector.requests
    assert path == "/v1/traces"
    assert collector.spans() == [("parallax-gateway", "part")]
    (span,) = request.resource_spans[0].scope_spans[0].spans
    assert span.trace_id.hex() == TRACE
    assert span.status.message == "broke"


@pytest.mark.parametrize(
    "variables",
    [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"}],
)
def test_nothing_is_imported_unless_it_is_wanted(variables: dict[str, str]) -> None:
    assert said(**variables) == "False False\n"


def test_what_is_wanted() -> None:
    assert is_wanted({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://here:4318/v1/traces"})
    assert not is_wanted({"OTEL_EXPORTER_OTLP_ENDPOINT": " "})
    assert OFF.begin("any") is NOTHING
    assert NOTHING.context == ""


def test_attributes_are_bounded_and_a_context_is_that_of_its_span() -> None:
    kept = Kept()
    span = kept.tracer.begin("part", BROUGHT, attributes={"a": "x" * 1000, "b": "", "c": 0})
    assert context_in(span.context) == span.context
    assert trace_id(span.context) == TRACE
    span.end()
    assert dict(kept.one("part").attributes or {}) == {"a": "x" * 256, "c": 0}


def test_contexts() -> None:
    assert context_in(f" {BROUGHT} ") == BROUGHT
    assert context_in(BROUGHT.replace("00-", "01-", 1) + "-more") == BROUGHT
    assert is_sampled(BROUGHT)
    assert not is_sampled(BROUGHT[:-2] + "00")
    for bad in (
        None, "", "00-1", BROUGHT + "-more", BROUGHT.upper(), "ff" + BROUGHT[2:],
        BROUGHT.replace(TRACE, "0" * 32), BROUGHT.replace("-", "_"), "<b>",
    ):  # fmt: skip
        assert context_in(bad) == "", bad
    with pytest.raises(InvalidInput, match="trace"):
        Job(prompt_tokens=1, max_tokens=1, trace="00-1")
