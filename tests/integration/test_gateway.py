"""The gateway over real sockets: answers, streams, what it says about them, and who leaves."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from parallax.core.lifecycle import Outcome, State
from parallax.core.settings import Policies, PolicyChoice
from parallax.producers.gateway.settings import GatewaySettings
from tests.integration.cells import StuckEngine, jobs
from tests.integration.gateways import (
    CHAT,
    ECHOED,
    PLAIN,
    Front,
    a_cell,
    chunks_of,
    echoing,
    events_of,
    fronted,
    problem,
    texts_of,
)
from tests.waiting import wait_until

pytestmark = pytest.mark.dear


@pytest.fixture
def front(embedded_url: str) -> Iterator[Front]:
    with fronted(embedded_url, a_cell(embedded_url, echoing())) as front:
        yield front


@pytest.fixture
def stuck(embedded_url: str) -> Iterator[Front]:
    """Yield a gateway whose engine ends nothing until it is let go."""
    settings = GatewaySettings(head_s=0.0, comment_s=0.01)
    with fronted(embedded_url, a_cell(embedded_url, StuckEngine(1)), settings) as front:
        yield front


# -- answers


def test_a_chat_is_answered_as_one_document(front: Front) -> None:
    answer = front.chat()
    assert answer.status_code == 200
    document = answer.json()
    assert document["object"] == "chat.completion"
    assert document["model"] == "echo"
    assert document["choices"][0]["message"] == {"role": "assistant", "content": ECHOED}
    assert document["usage"]["completion_tokens"] == 6


def test_a_completion_is_answered_as_one_document(front: Front) -> None:
    document = front.post("/v1/completions", PLAIN).json()
    assert document["object"] == "text_completion"
    assert document["choices"][0]["text"] == ECHOED
    assert document["usage"]["completion_tokens"] == 6


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("/v1/chat/completions", CHAT, "chat.completion.chunk"),
        ("/v1/completions", PLAIN, "text_completion"),
    ],
)
@pytest.mark.parametrize("usage", [True, False])
def test_a_stream_is_told_as_it_is_made(
    front: Front, path: str, body: dict[str, Any], kind: str, usage: bool
) -> None:
    answer = front.post(path, {**body, "stream": True, "stream_options": {"include_usage": usage}})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    chunks = chunks_of(answer.text)
    assert {chunk["object"] for chunk in chunks} == {kind}
    assert texts_of(chunks) == ECHOED
    told = [chunk["usage"] for chunk in chunks if chunk.get("usage")]
    assert [one["completion_tokens"] for one in told] == ([6] if usage else [])


def test_an_answer_says_who_gave_it(front: Front) -> None:
    answer = front.asking.post(
        "/v1/chat/completions", json=CHAT,
        headers={"x-request-id": "mine-7", "x-parallax-tenant": "acme", "x-session-id": "s 1"},
    )  # fmt: skip
    headers = answer.headers
    assert headers["x-request-id"] == "mine-7"
    assert headers["x-parallax-backend"].startswith("w-")
    assert (headers["x-parallax-attempts"], headers["x-parallax-class"]) == ("1", "standard")
    assert int(headers["x-parallax-queue-ms"]) >= 0
    record = front.cell.record(headers["x-parallax-job"])
    assert record is not None
    assert record.tenant == "acme"
    assert record.session.startswith("session-")


def test_what_was_said_before_is_found_in_a_cache_and_by_no_other_tenant(front: Front) -> None:
    long = [{"role": "user", "content": "word " * 200}]
    found = [
        int(front.post("/v1/chat/completions", {**CHAT, "messages": long},
                       x_parallax_tenant=tenant).headers["x-parallax-cache"])
        for tenant in ("acme", "bob", "acme")
    ]  # fmt: skip
    assert found[:2] == [0, 0]
    assert found[2] > 100


# -- what there is


def test_models_are_those_that_workers_serve(front: Front) -> None:
    wait_until(lambda: front.asking.get("/v1/models").json()["data"], "the worker to be known")
    listed = front.asking.get("/v1/models").json()
    assert [(one["id"], one["object"]) for one in listed["data"]] == [("echo", "model")]
    assert front.asking.get("/v1/models/echo").json() == listed["data"][0]
    assert problem(front.asking.get("/v1/models/no/such")) == (404, "model_not_found", "model")
    unknown = front.chat(model="gpt-9")
    assert problem(unknown) == (404, "model_not_found", "model")
    assert "echo" in unknown.json()["error"]["message"]


def test_health_readiness_and_metrics(front: Front) -> None:
    assert front.asking.get("/health").json() == {"status": "ok"}
    wait_until(lambda: front.asking.get("/ready").status_code == 200, "it to be ready")
    front.chat()
    text = front.asking.get("/metrics").text
    assert 'parallax_gateway_requests_total{kind="chat",result="200"} 1.0' in text


def test_without_a_worker_nothing_is_ready(embedded_url: str) -> None:
    with fronted(embedded_url, a_cell(embedded_url), GatewaySettings(hold_s=0.0)) as front:
        assert problem(front.asking.get("/ready")) == (503, "no_backends", None)
        for answer in front.chat(), front.chat(stream=True):
            assert problem(answer) == (503, "no_backends", None)
            assert answer.headers["retry-after"] == "5"
        assert front.jobs() == []


def test_a_request_waits_for_a_worker_to_come(embedded_url: str) -> None:
    cell = a_cell(embedded_url)
    with fronted(embedded_url, cell, GatewaySettings(head_s=0.0, comment_s=0.01)) as front:
        body = {**CHAT, "stream": True}
        with front.asking.stream("POST", "/v1/chat/completions", json=body) as answer:
            lines = answer.iter_lines()
            assert next(lines) == ": waiting for a worker"
            cell.worker(echoing())
            assert texts_of(chunks_of("\n".join(lines))) == ECHOED


# -- while it waits


def test_a_stream_that_waits_says_its_place(stuck: Front) -> None:
    body = {**CHAT, "model": "noop", "stream": True}
    with (
        stuck.asking.stream("POST", "/v1/chat/completions", json=body) as first,
        stuck.asking.stream("POST", "/v1/chat/completions", json=body) as second,
    ):
        told = {line for line, _ in zip(second.iter_lines(), range(200), strict=False)}
        assert [line for line in told if line.startswith((": queued position=", ": assigned"))]
        assert next(first.iter_lines()).startswith(": ")


def test_a_place_is_counted_as_they_came(stuck: Front) -> None:
    stuck.cell.submit(*jobs(20, tenants="a"))
    wait_until(lambda: stuck.cell.state("j0") is State.RUNNING, "one of them to run")
    body, headers = {**CHAT, "model": "noop", "stream": True}, {"x-parallax-tenant": "a"}
    with stuck.asking.stream(
        "POST", "/v1/chat/completions", json=body, headers=headers
    ) as answer:  # fmt: skip
        told = (re.fullmatch(r": queued position=(\d+)", line) for line in answer.iter_lines())
        place = next(int(found[1]) for found in told if found)
    assert 2 <= place <= 20


def test_what_fails_after_the_head_is_an_event_and_no_done_follows(stuck: Front) -> None:
    body = {**CHAT, "model": "noop", "stream": True}
    with stuck.asking.stream("POST", "/v1/chat/completions", json=body) as answer:
        assert answer.status_code == 200
        (engine,) = (worker._engine for worker in stuck.cell.workers)
        engine.stuck = False  # type: ignore[attr-defined]  # it ends without having said anything
        events = events_of("\n".join(answer.iter_lines()))
    assert json.loads(events[-1])["error"]["code"] == "stream_broken"
    assert "[DONE]" not in events


# -- who leaves


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_cancels_its_job(stuck: Front, stream: bool) -> None:
    with sent(stuck, {**CHAT, "model": "noop", "stream": stream}):
        wait_until(stuck.jobs, "the job to be there")
        (job,) = stuck.jobs()
    wait_until(lambda: stuck.cell.outcome(job) is Outcome.CANCELLED, "the job to be cancelled")
    wait_until(lambda: not stuck.jobs(), "no job to be open")


def test_one_that_can_be_repeated_goes_on(embedded_url: str) -> None:
    engine = StuckEngine(1)
    with fronted(embedded_url, a_cell(embedded_url, engine)) as front:
        with sent(front, {**CHAT, "model": "noop"}, "idempotency-key: k"):
            wait_until(front.jobs, "the job to be there")
            (job,) = front.jobs()
        left = 'parallax_gateway_requests_total{kind="chat",result="499"} 1.0'
        wait_until(lambda: left in front.asking.get("/metrics").text, "it to have left")
        engine.stuck = False
        wait_until(lambda: front.cell.outcome(job) is Outcome.COMPLETED, "it to complete")


@contextmanager
def sent(front: Front, body: dict[str, Any], *headers: str) -> Iterator[None]:
    """Send a request on a connection of its own; leave without having read an answer."""
    data = json.dumps(body).encode()
    lines = [
        "POST /v1/chat/completions HTTP/1.1", "host: localhost", "content-type: application/json",
        f"content-length: {len(data)}", *headers, "", "",
    ]  # fmt: skip
    with socket.create_connection((front.asking.base_url.host, front.asking.base_url.port)) as wire:
        wire.sendall("\r\n".join(lines).encode() + data)
        yield


# -- the same again


def test_the_same_request_again_is_the_same_job(front: Front) -> None:
    first, again = (
        front.post("/v1/chat/completions", CHAT, idempotency_key="once") for _ in range(2)
    )
    assert first.headers["x-parallax-job"] == again.headers["x-parallax-job"]
    assert first.json() == again.json()
    other = front.post("/v1/chat/completions", {**CHAT, "max_tokens": 5}, idempotency_key="once")
    assert problem(other) == (409, "idempotency_key_reused", "idempotency-key")
    assert other.headers["x-should-retry"] == "false"


def test_a_key_is_its_tenants_own(front: Front) -> None:
    asked = [
        front.post("/v1/chat/completions", CHAT, idempotency_key="once", x_parallax_tenant=tenant)
        for tenant in ("acme", "bob")
    ]
    assert [one.status_code for one in asked] == [200, 200]
    assert len({one.headers["x-parallax-job"] for one in asked}) == 2


def test_a_stream_is_told_once(front: Front) -> None:
    body = {**CHAT, "stream": True}
    first = front.post("/v1/chat/completions", body, idempotency_key="once")
    assert texts_of(chunks_of(first.text)) == ECHOED
    again = front.post("/v1/chat/completions", body, idempotency_key="once")
    assert problem(again) == (409, "stream_not_repeatable", "idempotency-key")


@pytest.mark.parametrize("stream", [True, False])
def test_what_came_to_nothing_may_be_asked_again(stuck: Front, stream: bool) -> None:
    body = {**CHAT, "model": "noop", "stream": stream}
    cancelled: list[str] = []
    for _ in range(2):
        with sent(stuck, body, "idempotency-key: k"):
            wait_until(stuck.jobs, "the job to be there")
            (job,) = stuck.jobs()
            stuck.cell.cancel(job)
            wait_until(lambda: not stuck.jobs(), "the job to be over")
        cancelled.append(job)
    assert cancelled[1] == f"{cancelled[0]}.1"


# -- what is refused by the scheduler


def test_a_full_queue_is_429_and_says_when_to_come_back(embedded_url: str) -> None:
    policies = Policies(admission=PolicyChoice("thresholds", {"max_cost_per_tenant": 2.0}))
    cell = a_cell(embedded_url, StuckEngine(1), policies=policies)
    with fronted(embedded_url, cell) as front:
        for stream in (False, True):
            answer = front.chat(model="noop", stream=stream)
            assert problem(answer) == (429, "tenant_cost_full", None)
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.headers["retry-after-ms"].isdigit()


def test_a_deadline_that_passes_is_504_and_not_retried(stuck: Front) -> None:
    stuck.cell.submit(*jobs(20, tenants="a"))
    wait_until(lambda: stuck.cell.state("j0") is State.RUNNING, "one of them to run")
    late = stuck.post("/v1/chat/completions", {**CHAT, "model": "noop"},
                      x_parallax_deadline_ms="50", x_parallax_tenant="a")  # fmt: skip
    assert problem(late) == (504, "deadline", None)
    assert late.headers["x-should-retry"] == "false"


def test_an_engine_that_only_imitates_work_is_told_of(embedded_url: str) -> None:
    engine = StuckEngine(1)
    engine.stuck = False
    with fronted(embedded_url, a_cell(embedded_url, engine)) as front:
        assert problem(front.chat(model="noop")) == (502, "no_answer", None)


def test_who_shuts_down_takes_nothing_new(front: Front) -> None:
    front.gateway.draining = True
    answer = front.chat()
    assert problem(answer) == (503, "shutting_down", None)
    assert answer.headers["retry-after"] == "1"
