"""What a request means as a job: headers before fields, and numbers brought into their range."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallax.broker.api import paths
from parallax.core.model import NAME, Job
from parallax.producers.gateway.blocks import BLOCK_TOKENS, MOST_BLOCKS, prefix_of
from parallax.producers.gateway.bodies import Asked
from parallax.producers.gateway.bodies import understood as read
from parallax.producers.gateway.meaning import Class, Meant, Speaker, meant
from parallax.producers.gateway.problems import Problem
from parallax.producers.gateway.settings import GatewaySettings
from tests.examples import examples

SETTINGS = GatewaySettings()


def asked(text: str = "hello", **fields: Any) -> Asked:
    body = {"model": "m", "messages": [{"role": "user", "content": text}], **fields}
    return read(paths.CHAT, json.dumps(body).encode())


def understood(
    headers: dict[str, str] | None = None, speaker: Speaker | None = None, **fields: Any
) -> Meant:
    return meant(headers or {}, asked(**fields), speaker or Speaker(), SETTINGS)


def job(headers: dict[str, str] | None = None, **fields: Any) -> Job:
    return understood(headers, **fields).job


def test_without_a_word_it_is_a_usual_job() -> None:
    found = job()
    assert (found.tenant, found.session, found.priority) == ("default", "", 0)
    assert (found.deadline_s, found.max_tokens) == (None, SETTINGS.max_tokens)
    assert (found.stream, found.keep) == (False, False)


@pytest.mark.parametrize(
    ("headers", "fields", "tenant"),
    [
        ({"x-parallax-tenant": "a", "x-llm-d-inference-fairness-id": "b"}, {"user": "c"}, "a"),
        ({"x-llm-d-inference-fairness-id": "b"}, {"user": "c"}, "b"),
        ({"x-gateway-inference-fairness-id": "b"}, {}, "b"),
        ({}, {"user": "c", "safety_identifier": "d"}, "d"),
        ({}, {"user": "c"}, "c"),
    ],
)
def test_the_tenant(headers: dict[str, str], fields: dict[str, Any], tenant: str) -> None:
    assert job(headers, **fields).tenant == tenant
    assert job(headers, speaker=Speaker("mine"), **fields).tenant == "mine"


@settings(max_examples=examples(100), deadline=None)
@given(st.text(min_size=1, max_size=200))
def test_law_whatever_a_user_or_a_session_is_called_it_becomes_a_name(text: str) -> None:
    found = job({"x-session-id": text}, user=text)
    assert NAME.fullmatch(found.tenant)
    assert NAME.fullmatch(found.session)
    again = job({"x-session-id": text}, user=text)
    assert (again.tenant, again.session) == (found.tenant, found.session)


@pytest.mark.parametrize(
    ("headers", "tier", "expected"),
    [
        ({}, "flex", Class.BATCH), ({}, "auto", Class.STANDARD),
        ({}, "priority", Class.INTERACTIVE),
        ({"x-llm-d-inference-objective": "batch"}, "priority", Class.BATCH),
        ({}, "what", Class.STANDARD),
    ],
)  # fmt: skip
def test_the_class_orders_within_a_tenant(
    headers: dict[str, str], tier: str, expected: Class
) -> None:
    found = understood(headers, service_tier=tier)
    assert found.tier is expected
    usual = job().priority
    sooner = {Class.BATCH: -1, Class.STANDARD: 0, Class.INTERACTIVE: 1}[expected]
    assert (found.job.priority > usual) - (found.job.priority < usual) == sooner


@settings(max_examples=examples(100), deadline=None)
@given(st.integers(-(2**53), 2**53), st.integers(-(2**53), 2**53))
def test_law_a_lower_number_is_never_later(one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert job(priority=low).priority >= job(priority=high).priority
    assert job({"x-gateway-priority": str(low)}).priority == job(priority=low).priority


@pytest.mark.parametrize(
    ("headers", "stream", "deadline_s"),
    [
        ({"x-parallax-deadline-ms": "1500", "x-slo-ttft-ms": "10"}, True, 1.5),
        ({"x-llm-d-slo-ttft-ms": "250"}, False, 0.25),
        ({"x-slo-ttft-ms": "-5"}, False, 0.001),
        ({"x-slo-ttft-ms": "1e300"}, False, 30 * 86_400.0),
        ({"x-stainless-read-timeout": "600"}, False, 600.0),
        ({"x-stainless-read-timeout": "600"}, True, None),
        ({"x-stainless-read-timeout": "soon"}, False, None),
        ({"x-stainless-read-timeout": "0"}, False, None),
    ],
)
def test_the_deadline(headers: dict[str, str], stream: bool, deadline_s: float | None) -> None:
    assert job(headers, stream=stream).deadline_s == deadline_s


def test_an_idempotency_key_names_the_job_for_its_tenant_alone() -> None:
    key = {"idempotency-key": "k/../ü"}
    first, again = understood(key, user="a"), understood(key, user="a")
    assert first.job.id == again.job.id
    assert first.repeatable
    assert first.job.keep
    assert understood(key, user="b").job.id != first.job.id
    assert job().id != job().id


@settings(max_examples=examples(100), deadline=None)
@given(st.text(max_size=400), st.text(max_size=400), st.text(max_size=400))
def test_law_prompts_share_names_as_far_as_they_agree(start: str, one: str, other: str) -> None:
    left, right = (start + one).encode(), (start + other).encode()
    names = [prefix_of("m", text) for text in (left, right)]
    same = next((n for n, (a, b) in enumerate(zip(left, right, strict=False)) if a != b),
                min(len(left), len(right)))  # fmt: skip
    agreed = next((n for n, (a, b) in enumerate(zip(*names, strict=False)) if a != b),
                  min(map(len, names)))  # fmt: skip
    assert agreed == same // (BLOCK_TOKENS * 4)


def test_a_long_prompt_has_a_bounded_prefix_and_another_model_other_names() -> None:
    text = b"x" * 1_000_000
    assert len(prefix_of("m", text)) == MOST_BLOCKS
    assert not set(prefix_of("m", text)) & set(prefix_of("n", text))


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["user", "system"]), st.text()), min_size=1, max_size=4))
def test_law_any_chat_is_a_job_whose_prefix_fits_its_prompt(said: list[tuple[str, str]]) -> None:
    messages = [{"role": role, "content": content} for role, content in said]
    found = job(messages=messages)
    assert len(found.prefix) <= found.prompt_tokens // found.prefix_block


@pytest.mark.parametrize(
    ("prompt", "tokens"), [("a" * 40, 10), (["a" * 40], 10), ([1, 2, 3], 3), ([[1, 2, 3]], 3)]
)
def test_prompts_of_completions_are_counted(prompt: Any, tokens: int) -> None:
    body = json.dumps({"prompt": prompt}).encode()
    assert meant({}, read(paths.COMPLETIONS, body), Speaker(), SETTINGS).job.prompt_tokens == tokens


@pytest.mark.parametrize("text", ["1.5", "--1", "+-1", "²", "0x1", "high"])
def test_odd_priorities_are_refused(text: str) -> None:
    with pytest.raises(Problem) as refused:
        job({"x-gateway-priority": text})
    assert (refused.value.status, refused.value.param) == (400, "x-gateway-priority")


@pytest.mark.parametrize(("text", "priority"), [("1" * 400, -100), ("-" + "9" * 400, 100)])
def test_large_priorities_are_brought_into_range(text: str, priority: int) -> None:
    assert job({"x-gateway-priority": text}).priority == priority
