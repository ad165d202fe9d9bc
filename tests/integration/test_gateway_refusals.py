"""What a gateway refuses at the door: only what the page says, whatever is sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parallax.producers.gateway.doorkeeper import INSECURE
from parallax.producers.gateway.settings import GatewaySettings
from tests.examples import examples
from tests.integration.gateways import CHAT, PLAIN, Front, a_cell, fronted, problem

pytestmark = pytest.mark.dear

CHATS, PLAINS = "/v1/chat/completions", "/v1/completions"
#: What is answered before an empty cell: what is right waits for no worker.
DOCUMENTED = {
    (400, "invalid_value"), (400, "invalid_json"), (404, "not_found"), (404, "model_not_found"),
    (405, "method_not_allowed"), (413, "body_too_large"), (503, "no_backends"),
}  # fmt: skip


@pytest.fixture
def empty(embedded_url: str) -> Iterator[Front]:
    """Yield a gateway before a cell without workers, which waits for none."""
    limits = GatewaySettings(hold_s=0.0, max_body=2_000)
    with fronted(embedded_url, a_cell(embedded_url), limits) as front:
        yield front


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({**CHAT, "messages": []}, "messages"),
        ({**CHAT, "messages": [{"content": "no role"}]}, "messages[0]"),
        ({**CHAT, "max_tokens": 0}, "max_tokens"),
        ({**CHAT, "max_tokens": "many"}, "max_tokens"),
        ({**CHAT, "n": 17}, "n"),
        ({**CHAT, "stream": "yes"}, "stream"),
        ({**CHAT, "priority": 1.5}, "priority"),
        ({"model": "echo"}, None),
        ([], None),
        ("text", None),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_field_is_named(empty: Front, body: Any, param: str | None) -> None:
    assert problem(empty.post(CHATS, body)) == (400, "invalid_value", param)


@pytest.mark.parametrize("prompt", [["a"] * 17, [[1], 2], [], [None], {"a": 1}, ["a", 1]])
def test_a_bad_prompt_is_refused(empty: Front, prompt: Any) -> None:
    assert problem(empty.post(PLAINS, {**PLAIN, "prompt": prompt}))[:2] == (400, "invalid_value")


@pytest.mark.parametrize("prompt", ["", "a", ["a", "b"], [1, 2], [[1, 2], [3]]], ids=str)
def test_the_control_a_good_prompt_is_not(empty: Front, prompt: Any) -> None:
    answer = empty.post(PLAINS, {**PLAIN, "prompt": prompt})
    assert problem(answer) == (503, "no_backends", None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-parallax-tenant", "a b"),
        ("x-parallax-deadline-ms", "soon"),
        ("x-slo-ttft-ms", "nan"),
        ("x-gateway-priority", "high"),
        ("idempotency-key", "k" * 300),
    ],
)
def test_a_bad_header_is_named(empty: Front, name: str, value: str) -> None:
    answer = empty.asking.post(CHATS, json=CHAT, headers={name: value})
    assert problem(answer) == (400, "invalid_value", name)


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"\xff", b'{"messages": NaN}', b"[" * 1_900, b'{"a":' * 380 + b"1" + b"}" * 4,
     b'"\\ud800"'],
    ids=lambda text: text[:12].decode("ascii", "replace"),
)  # fmt: skip
def test_what_is_no_json_is_refused(empty: Front, text: bytes) -> None:
    headers = {"content-type": "application/json"}
    answer = empty.asking.post(CHATS, content=text, headers=headers)
    assert problem(answer)[0] == 400


def test_what_is_nested_too_deep_is_refused(empty: Front) -> None:
    deep: Any = "x"
    for _ in range(70):
        deep = [deep]
    assert problem(empty.post(CHATS, {**CHAT, "tools": deep})) == (400, "invalid_json", None)
    fine = [{"a": [n]} for n in range(60)]
    assert problem(empty.post(CHATS, {**CHAT, "tools": fine}))[0] == 503


def test_other_kinds_of_bodies_are_refused(empty: Front) -> None:
    for headers in {"content-type": "text/plain"}, {"content-type": "application/json",
                                                    "content-encoding": "gzip"}:  # fmt: skip
        answer = empty.asking.post(CHATS, content=b"{}", headers=headers)
        assert problem(answer)[:2] == (400, "invalid_value")


def test_a_large_body_is_refused_whether_or_not_it_says_so(empty: Front) -> None:
    large = json.dumps({**CHAT, "user": "u" * 2_500}).encode()
    headers = {"content-type": "application/json"}
    for content in large, iter([large[:1_500], large[1_500:]]):
        answer = empty.asking.post(CHATS, content=content, headers=headers)
        assert problem(answer) == (413, "body_too_large", None)


def test_other_paths_and_methods_are_refused(empty: Front) -> None:
    assert problem(empty.asking.get("/v2")) == (404, "not_found", None)
    assert problem(empty.asking.get(CHATS)) == (405, "method_not_allowed", None)


def test_too_many_headers_are_refused(empty: Front) -> None:
    many = {f"x-{n}": "v" for n in range(120)}
    assert problem(empty.asking.get("/v1/models", headers=many))[:2] == (400, "invalid_value")


def test_an_open_gateway_hears_only_its_own_machine(embedded_url: str) -> None:
    cell = a_cell(embedded_url)
    other = {"host": "evil.example"}
    with fronted(embedded_url, cell) as front:
        answer = front.asking.get("/v1/models", headers=other)
        assert problem(answer) == (403, "not_allowed", "host")
        for host in "localhost", "127.0.0.1:8080", "[::1]:80":
            assert front.asking.get("/v1/models", headers={"host": host}).status_code == 200
    with fronted(embedded_url, cell, openness=INSECURE) as front:
        assert front.asking.get("/v1/models", headers=other).status_code == 200


# -- whatever is sent

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=12,
)
FIELDS = st.sampled_from([
    "model", "messages", "prompt", "stream", "stream_options", "max_tokens", "n", "user",
    "service_tier", "priority", "prompt_cache_key", "tools", "max_completion_tokens",
])  # fmt: skip
NAMES = st.sampled_from([
    "x-parallax-tenant", "x-session-id", "x-parallax-deadline-ms", "x-slo-ttft-ms",
    "x-gateway-priority", "idempotency-key", "x-request-id", "x-stainless-read-timeout",
    "x-llm-d-inference-objective", "authorization", "content-length-of-mine",
])  # fmt: skip
#: What may stand in a header, and DEL, which may not: no blanks at its ends.
VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=255), max_size=60)


def test_what_is_no_http_is_refused_in_the_same_shape(empty: Front) -> None:
    answer = empty.asking.get("/health", headers=[(b"x-session-id", b"a\x7fb")])
    assert (answer.status_code, problem(answer)[1]) == (400, "invalid_value")
    assert empty.asking.get("/health").status_code == 200


@pytest.mark.timeout(600)  # there are many of them
@settings(
    max_examples=examples(80), deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(
    path=st.sampled_from([CHATS, PLAINS, "/v1/models", "/v1", "/ready"]),
    base=st.sampled_from([CHAT, PLAIN, {}]),
    fields=st.dictionaries(FIELDS, JUNK, max_size=3),
    headers=st.dictionaries(NAMES, VALUES, max_size=3),
    raw=st.none() | st.binary(max_size=60),
)
def test_law_whatever_is_asked_is_answered_as_documented(
    empty: Front, path: str, base: Any, fields: Any, headers: dict[str, str], raw: bytes | None
) -> None:
    content = raw if raw is not None else json.dumps({**base, **fields}).encode()
    encoded = [(name, value.encode("latin-1")) for name, value in headers.items()]
    encoded.append(("content-type", b"application/json"))
    answer = empty.asking.post(path, content=content, headers=encoded)  # type: ignore[arg-type]
    assert problem(answer)[:2] in DOCUMENTED
    assert "Traceback" not in answer.text
