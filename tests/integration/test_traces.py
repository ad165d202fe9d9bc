"""A job's spans, from the client's request to the end of its run, whoever tells them."""

from __future__ import annotations

import pytest

from parallax.broker.link.connection import Link
from parallax.core.model import Job
from parallax.producers.client.client import Client
from parallax.telemetry.tracing import OFF
from tests.integration.cells import Cell, job
from tests.integration.gateways import CELL, CHAT, a_cell, echoing, fronted
from tests.integration.upstreams import ask, played
from tests.spans import BROUGHT, PARENT, TRACE, UNSAMPLED, Kept, id_of, parent_of, trace_of
from tests.upstream import Upstream
from tests.waiting import wait_until

LIFE = ["submit", "admission", "queue", "route", "run", "finish"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_is_one_trace_from_the_client_to_the_end(embedded_url: str, stream: bool) -> None:
    kept = Kept()
    cell = a_cell(embedded_url, echoing(), tracer=kept.tracer)
    with fronted(embedded_url, cell) as front:
        asked = {**CHAT, "stream": stream, "user": "u"}
        path = "/v1/chat/completions"
        answer = front.asking.post(path, json=asked, headers={"traceparent": BROUGHT})
        assert answer.status_code == 200
        wait_until(lambda: set(LIFE) < set(kept.names()), "all parts to be told")
    server = kept.one(f"POST {path}")
    assert {trace_of(span) for span in kept.spans} == {TRACE}
    assert parent_of(server) == PARENT
    submit = kept.one("submit")
    assert parent_of(submit) == id_of(server)
    assert {parent_of(kept.one(name)) for name in LIFE[1:]} == {id_of(submit)}
    assert server.attributes is not None
    assert server.attributes["http.response.status_code"] == 200
    assert server.attributes["gen_ai.operation.name"] == "chat"
    run = kept.one("run")
    assert run.attributes is not None
    assert run.attributes["gen_ai.usage.output_tokens"] == 6
    assert run.attributes["gen_ai.operation.name"] == "chat"
    assert run.attributes["parallax.worker"] == cell.workers[0].id
    finish = kept.one("finish")
    assert finish.attributes is not None
    assert finish.attributes["parallax.outcome"] == "completed"
    for span in kept.spans:
        assert span.start_time is not None
        assert span.end_time is not None
        assert span.start_time <= span.end_time


def test_who_does_not_want_to_see_a_trace_is_told_nothing(embedded_url: str) -> None:
    kept = Kept()
    cell = a_cell(embedded_url, echoing(), tracer=kept.tracer)
    with fronted(embedded_url, cell) as front:
        for context in UNSAMPLED, BROUGHT:  # the second shows that the first was not merely late
            headers = {"traceparent": context, "x-request-id": context}
            answer = front.asking.post("/v1/chat/completions", json=CHAT, headers=headers)
            assert answer.status_code == 200
        wait_until(lambda: set(LIFE) < set(kept.names()), "the second to be told")
    assert len(kept.spans) == 1 + len(LIFE)


def test_what_is_no_context_begins_a_trace_of_its_own(embedded_url: str) -> None:
    kept = Kept()
    cell = a_cell(embedded_url, echoing(), tracer=kept.tracer)
    with fronted(embedded_url, cell) as front:
        headers = {"traceparent": "00-<script>"}
        answer = front.asking.post("/v1/chat/completions", json=CHAT, headers=headers)
        assert answer.status_code == 200
        wait_until(lambda: set(LIFE) < set(kept.names()), "all parts to be told")
    assert parent_of(kept.one("POST /v1/chat/completions")) == ""
    assert len({trace_of(span) for span in kept.spans}) == 1


def test_a_client_goes_on_with_its_callers_trace(embedded_url: str) -> None:
    from opentelemetry.trace import use_span

    kept = Kept()
    cell = a_cell(embedded_url, tracer=kept.tracer)
    cell.worker()
    caller = kept.tracer._tracer.start_span("caller")
    with Client(embedded_url, CELL, tracer=kept.tracer) as client:
        with use_span(caller):
            receipt = client.submit(Job(prompt_tokens=3, max_tokens=4))
        cell.until_ended(receipt.job_id)
        cell.until(lambda: set(LIFE) <= set(kept.names()), "all parts to be told")
        (record,) = client.records([receipt.job_id])
    assert parent_of(kept.one("submit")) == id_of(caller)  # type: ignore[arg-type]
    assert record is not None
    assert record.trace[3:35] == trace_of(kept.one("run"))


def test_a_refusal_and_a_conflict_are_told(embedded_url: str) -> None:
    kept = Kept()
    cell = a_cell(embedded_url, tracer=kept.tracer)
    with Client(embedded_url, CELL, tracer=kept.tracer) as client:
        client.submit(Job(id="j", prompt_tokens=3, max_tokens=4, deadline_s=0.001))
        client.submit(Job(id="j", prompt_tokens=4, max_tokens=4))
        first, second = [span for span in kept.spans if span.name == "submit"]
        assert first.status.is_ok
        assert not second.status.is_ok
        cell.until_ended("j")
        cell.until(lambda: "queue" in kept.names(), "its end to be told")
    assert kept.one("queue").status.description == "expired"


@pytest.mark.parametrize("on", [False, True])
def test_the_engine_is_told_the_context_of_its_run(embedded_url: str, on: bool) -> None:
    kept = Kept()

    def scene(cell: Cell) -> None:
        ask(cell, "j", trace=BROUGHT)
        cell.until_ended("j")
        ask(cell, "none")
        cell.until_ended("none")

    with Upstream() as server:
        played(embedded_url, [server.url], scene, kept.tracer if on else OFF)
        first, second = [call.headers for call in server.calls if call.path != "/tokenize"]
    assert "traceparent" not in second
    if on:
        assert first["traceparent"] == f"00-{TRACE}-{id_of(kept.one('run'))}-01"
    else:
        assert first["traceparent"] == BROUGHT
        assert kept.spans == []


def test_an_other_trace_makes_no_other_job(embedded_url: str) -> None:
    cell = Cell(lambda: Link.to(embedded_url))
    one, other = (job("j", trace=context) for context in (BROUGHT, UNSAMPLED))
    (first,), (second,) = cell.submit(one), cell.submit(other)
    assert (first.word, second.word) == ("ok", "dup")
    record = cell.record("j")
    assert record is not None
    assert record.trace == BROUGHT
