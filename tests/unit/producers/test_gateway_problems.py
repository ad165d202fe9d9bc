"""The table of errors: statuses, codes and retry signals, for whatever went wrong."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallax.broker.store.codec import Report, encode
from parallax.core.errors import (
    BrokenAnswer,
    Conflict,
    InvalidInput,
    ParallaxError,
    Refused,
    StoreFault,
    StoreFull,
    TimedOut,
    Unreachable,
)
from parallax.core.lifecycle import Outcome
from parallax.core.reasons import Reason
from parallax.producers.client.completion import Completion
from parallax.producers.gateway import events, explaining
from parallax.producers.gateway.problems import Code, Problem, problem_of, problem_of_end
from tests.examples import examples


def ended(outcome: Outcome, **fields: object) -> Completion:
    return Completion("j", outcome, encode(Report("acme", **fields)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("reason", "status", "retry"),
    [
        (Reason.TENANT_QUEUE_FULL, 429, None), (Reason.SATURATED, 429, None),
        (Reason.LARGER_THAN_BURST, 429, "false"), (Reason.HOPELESS, 504, "false"),
        (Reason.DEADLINE, 504, "false"), (Reason.CANNOT_FIT, 400, None),
        (Reason.ENGINE_FAILED, 502, None), (Reason.ATTEMPTS_USED_UP, 502, None),
        (Reason.STREAM_BROKEN, 502, None),
    ],
)  # fmt: skip
def test_reasons(reason: Reason, status: int, retry: str | None) -> None:
    problem = problem_of_end(ended(Outcome.FAILED, reason=reason.value))
    assert (problem.status, problem.code) == (status, reason.value)
    assert problem.headers().get("x-should-retry") == retry
    assert problem.message == reason.sentence


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_status_and_a_refusal_says_when_to_come_back(reason: Reason) -> None:
    problem = problem_of_end(ended(Outcome.REJECTED, reason=reason.value, retry_after_s=2.2))
    assert problem.status in {400, 429, 502, 504}
    headers = problem.headers()
    if problem.status == 429 and problem.retry is not False:
        assert (headers["retry-after"], headers["retry-after-ms"]) == ("3", "2200")


@pytest.mark.parametrize("outcome", [o for o in Outcome if o is not Outcome.COMPLETED])
def test_every_end_is_told_without_a_reason_too(outcome: Outcome) -> None:
    problem = problem_of_end(ended(outcome))
    assert problem.status in {429, 502, 503, 504}
    assert outcome.value in problem.message


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InvalidInput("max_tokens", 0, "more"), 400, Code.INVALID),
        (Refused("full", 1.0), 429, Reason.TENANT_QUEUE_FULL),
        (Conflict("j"), 409, Code.KEY_REUSED),
        (StoreFull("full"), 503, Code.STORE_FULL),
        (Unreachable("redis://:secret@h"), 503, Code.STORE_UNREACHABLE),
        (TimedOut("late"), 504, Code.TIMED_OUT),
        (BrokenAnswer("lost"), 502, Reason.STREAM_BROKEN),
        (StoreFault("-WRONGTYPE secret"), 500, Code.INTERNAL),
    ],
)
def test_errors(error: ParallaxError, status: int, code: str) -> None:
    problem = problem_of(error)
    assert (problem.status, problem.code) == (status, code)
    assert "secret" not in problem.message
    assert set(problem.document()) == {"error"}


@settings(max_examples=examples(100), deadline=None)
@given(st.floats(0, 1e9))
def test_law_nobody_is_told_to_wait_for_longer_than_the_clients_would(wait_s: float) -> None:
    headers = Problem(429, Reason.SATURATED, "x", retry_after_s=wait_s).headers()
    assert 1 <= int(headers["retry-after"]) <= 30
    assert 0 < int(headers["retry-after-ms"]) <= int(headers["retry-after"]) * 1000


@settings(max_examples=examples(100), deadline=None)
@given(st.binary())
def test_law_a_payload_is_one_event_whatever_it_holds(data: bytes) -> None:
    text = events.event(data)
    assert text.endswith(b"\n\n")
    lines = text[:-2].split(b"\n")
    assert all(line.startswith(b"data: ") and b"\r" not in line for line in lines)
    joined = b"\n".join(line.removeprefix(b"data: ") for line in lines)
    assert joined == data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


@settings(max_examples=examples(100), deadline=None)
@given(st.text())
def test_law_a_comment_is_one_line(text: str) -> None:
    assert events.comment(text).count(b"\n") == 2
    assert events.comment(text).isascii()


def test_a_failure_is_an_event_with_the_error() -> None:
    event = events.failure(Problem(502, Reason.STREAM_BROKEN, "a\nb"))
    assert json.loads(event.removeprefix(b"data: "))["error"]["code"] == "stream_broken"


@settings(max_examples=examples(100), deadline=None)
@given(st.text(max_size=200))
def test_law_an_id_comes_back_whole_or_not_at_all(text: str) -> None:
    found = explaining.request_id(text, "job-1")
    assert found in {text, "job-1"}
    assert found.isascii()
    assert found.isprintable()
