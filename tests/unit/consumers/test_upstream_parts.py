"""What decides about servers without talking to them: bodies, streams, errors, valves, kinds."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallax.consumers.upstream.asked import Asked, Served, asked
from parallax.consumers.upstream.assembly import Assembly
from parallax.consumers.upstream.backend import parsed_backend
from parallax.consumers.upstream.engine import MOST_LISTED, listed
from parallax.consumers.upstream.failure import MOST_TEXT, of_error, of_status
from parallax.consumers.upstream.kinds import facts_of, kind_of, kv_of_slots, load_of, series
from parallax.consumers.upstream.sse import EventReader, TooLong
from parallax.consumers.upstream.valve import ENOUGH, Valve
from parallax.core.errors import InvalidInput
from parallax.engine.request import Request

# -- what the user says


def test_a_backend_is_read() -> None:
    one = parsed_backend("http://h:8000/v1/,name=a,kind=vllm,slots=4,key-env=K,model=m,first-s=9s")
    assert (one.root, one.api) == ("http://h:8000", "http://h:8000/v1")
    assert (one.name, one.kind, one.slots, one.key_env, one.model) == ("a", "vllm", 4, "K", "m")
    assert one.timeouts.first_s == 9.0
    assert parsed_backend("https://h/openai/v1").root == "https://h/openai"
    assert parsed_backend("http://h:1").api == "http://h:1/v1"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("h:8000", "--backend"), ("ftp://h", "--backend"), ("http://", "--backend"),
        ("", "--backend"), ("http://h:99999", "--backend"), ("http://h?x=1", "parameters"),
        ("http://h,sots=4", "slots"), ("http://h,slots=0", "slots"), ("http://h,slots=x", "slots"),
        ("http://h,kind=vlm", "vllm"), ("http://h,name=a b", "name"),
        ("http://h,slots", "slots=VALUE"), ("http://h,first-s=0", "first"),
        ("http://h,key-env=sk-12 secret", "key-env"), ("http://u:secret@h", "password"),
    ],
)  # fmt: skip
def test_what_no_backend_can_be_is_refused_by_name(text: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as error:
        parsed_backend(text)
    assert "secret" not in str(error.value)


# -- bodies


def sent(body: Any, *, stream: bool = False, **served: Any) -> tuple[Asked, dict[str, Any]]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    made = asked(Request("j", "", 5, 50, body=data, stream=stream), Served(**served))
    return made, json.loads(made.payload)


CHAT = {"messages": [{"role": "user", "content": "hi"}]}


def test_the_body_says_where_it_goes() -> None:
    assert sent(CHAT)[0].path == "/chat/completions"
    assert sent({"prompt": "hi"})[0].path == "/completions"
    assert sent({"input": ["hi"]})[0].path == "/embeddings"


def test_no_answer_is_longer_than_its_job_may_be() -> None:
    assert sent(CHAT, kind="vllm")[1]["max_tokens"] == 50
    assert sent(CHAT, kind="openai")[1]["max_completion_tokens"] == 50
    assert sent({**CHAT, "max_tokens": 9})[1]["max_tokens"] == 9
    assert sent({**CHAT, "max_tokens": 90})[1]["max_tokens"] == 50
    assert sent({**CHAT, "max_completion_tokens": None})[1]["max_completion_tokens"] == 50


def test_what_is_not_known_goes_as_it_came() -> None:
    body = (
        b'{"messages":[{"role":"user","content":"\\u00e9"}],"big":123456789012345678901234567890,'
    )
    body += b'"x":1e-7}'
    made, _ = sent(body)
    assert b'"content":"\\u00e9"' in made.payload
    assert b"123456789012345678901234567890" in made.payload
    assert b"1e-7" in made.payload


def test_the_job_says_whether_it_streams() -> None:
    made, document = sent({**CHAT, "stream": True, "stream_options": {"include_usage": True}})
    assert (made.stream, document["stream"]) == (False, False)
    assert "stream_options" not in document
    made, document = sent({**CHAT, "stream_options": {"x": 1}}, stream=True)
    assert document["stream_options"] == {"x": 1, "include_usage": True}
    assert made.own_usage


def test_a_body_without_a_model_gets_one_that_is_served() -> None:
    assert sent(CHAT, models=("a", "b"))[1]["model"] == "a"
    assert sent(CHAT, models=("a", "b"), default="b")[1]["model"] == "b"
    assert sent({**CHAT, "model": "x"})[1]["model"] == "x"  # nobody knows what is served
    assert sent({**CHAT, "model": "l"}, kind="ollama", models=("l:latest",))[1]["model"] == "l"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"), (b"{", "body"), (b"[]", "body"), (b"{}", "messages"), (b"\xff", "body"),
        (b'{"messages":[],"model":3}', "body.model"), (b'{"messages":[],"model":"z"}', "served: a"),
        (b'{"messages":[],"max_tokens":"9"}', "body.max_tokens"),
    ],
)  # fmt: skip
def test_what_nobody_can_be_asked_is_refused_by_field(body: bytes, field: str) -> None:
    with pytest.raises(InvalidInput, match=field):
        sent(body, models=("a",))


def test_what_cannot_be_streamed_is_refused() -> None:
    with pytest.raises(InvalidInput, match="stream"):
        sent({"input": "hi"}, stream=True)


# -- streams

STREAM = (
    b": hello\r\n\r\ndata: one\n\nevent: x\ndata:two\r\ndata: more\r\n\r\n"
    b"id: 7\ndata: \n\nerror: {}\n\ndata: [DONE]\n\n"
)
PAYLOADS = [b"one", b"two\nmore", b'{"error":{}}', b"[DONE]"]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_a_stream_is_the_same_however_it_is_cut(cuts: list[int]) -> None:
    reader, found = EventReader(), []
    places = [0, *sorted(cuts), len(STREAM)]
    for start, end in pairwise(places):
        found += reader.feed(STREAM[start:end])
    assert found + reader.end() == PAYLOADS


def test_the_last_event_needs_no_empty_line() -> None:
    reader = EventReader()
    assert reader.feed(b"data: a\n\ndata: b") == [b"a"]
    assert reader.end() == [b"b"]


@pytest.mark.parametrize("data", [b"x" * 11, b"data: 12345\ndata: 678901\n"])
def test_nothing_in_a_stream_is_without_end(data: bytes) -> None:
    with pytest.raises(TooLong):
        EventReader(most=10).feed(data)


def chunk(**delta: Any) -> dict[str, Any]:
    return {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


def test_chunks_come_to_the_document_that_is_given_unstreamed() -> None:
    assembly = Assembly()
    call = {"index": 0, "id": "t1", "type": "function", "function": {"name": "f", "arguments": ""}}
    said = [
        assembly.add(one, 50)
        for one in (
            chunk(role="assistant", content=None), chunk(reasoning_content="hm"),
            chunk(content="Let "), chunk(content="me."), chunk(tool_calls=[call]),
            chunk(tool_calls=[{"index": 0, "function": {"arguments": '{"a":'}}]),
            chunk(tool_calls=[{"index": 0, "function": {"arguments": "1}"}}]),
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
        )
    ]  # fmt: skip
    assert said == [False, True, True, True, True, True, True, False]
    assert assembly.finished
    (choice,) = json.loads(assembly.document({"prompt_tokens": 1}))["choices"]
    assert choice["finish_reason"] == "tool_calls"
    message = choice["message"]
    assert (message["content"], message["reasoning_content"]) == ("Let me.", "hm")
    assert message["tool_calls"] == [{**call, "function": {"name": "f", "arguments": '{"a":1}'}}]


def test_plain_completions_are_put_together_too_and_several_choices() -> None:
    assembly = Assembly()
    for index, text in ((0, "a"), (1, "x"), (0, "b")):
        assembly.add({"choices": [{"index": index, "text": text}]}, 20)
    document = json.loads(assembly.document(None))
    assert document["object"] == "text_completion"
    assert [choice["text"] for choice in document["choices"]] == ["ab", "x"]


def test_what_is_too_long_is_not_put_together() -> None:
    assembly = Assembly(most=100)
    for _ in range(3):
        assembly.add(chunk(content="x" * 40), 50)
    assert assembly.document(None) == b""


# -- errors


@pytest.mark.parametrize(
    ("code", "again", "busy", "blames"),
    [(429, True, True, False), (503, True, True, False), (529, True, True, False),
     (500, True, False, True), (502, True, False, True), (401, True, False, True),
     (400, False, False, False), (404, False, False, False), (307, False, False, True)],
)  # fmt: skip
def test_a_status_means(code: int, again: bool, busy: bool, blames: bool) -> None:
    failure = of_status(code, "", b'{"error":{"message":"m"}}')
    assert (failure.again, failure.busy, failure.blames) == (again, busy, blames)


@pytest.mark.parametrize(
    ("retry_after", "pause_s"),
    [("2", 2.0), ("0.5", 0.5), ("-1", 0.0), ("1e9", 60.0), ("nan", None), ("Fri, 1 Jan", None)],
)
def test_when_to_come_back_is_read_and_bounded(retry_after: str, pause_s: float | None) -> None:
    assert of_status(429, retry_after, b"").pause_s == pause_s


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"error":{"message":"too long","code":400}}', "too long"), (b'{"error":"gone"}', "gone"),
        (b'{"object":"error","message":"old vllm"}', "old vllm"), (b'{"detail":"fast"}', "fast"),
        (b'{"detail":[{"loc":["body"]}]}', "loc"), (b"plain\ntext", "plain text"), (b"", "no more"),
        (b"<html>", "no more"), (b"\xff\x1b[31m" + b"x" * 9_000, "x"), (b"[" * 9_000, "["),
    ],
)  # fmt: skip
def test_what_an_error_says_is_one_short_line(body: bytes, says: str) -> None:
    why = of_status(400, "", body).why
    assert says in why
    assert len(why) < MOST_TEXT + 60
    assert why.isprintable()


def test_a_refusal_of_the_key_quotes_nothing() -> None:
    assert "sk-12" not in of_status(401, "", b'{"error":{"message":"bad key sk-12"}}').why


def test_an_error_in_a_stream_means_the_same_as_its_status() -> None:
    assert not of_error({"code": 400, "message": "too long"}).again
    assert of_error({"code": 503, "message": "m"}).busy
    assert of_error("text").again


# -- how much it may be given


def test_a_server_that_fails_is_shut_tried_and_opened() -> None:
    valve = Valve(8, missing="")
    for _ in range(ENOUGH - 1):
        valve.failed("x", 0.0)
    assert valve.ready(0.0)
    valve.failed("x", 0.0)
    assert not valve.ready(0.9)
    assert (valve.ready(1.0), valve.slots) == (True, 1)
    valve.failed("x", 1.0)
    assert (valve.ready(2.9), valve.ready(3.0)) == (False, True)  # twice as long
    valve.succeeded()
    assert valve.slots == 8


def test_the_control_failures_with_success_between_them_shut_nothing() -> None:
    valve = Valve(8, missing="")
    for _ in range(10):
        valve.failed("x", 0.0)
        valve.succeeded()
    assert valve.ready(0.0)


def test_a_busy_server_gets_less_once_a_second_and_its_slots_back_by_success() -> None:
    valve = Valve(10, missing="")
    for at in (0.0, 0.1, 0.2):
        valve.busy("b", at)
    assert valve.slots == 7
    for at in range(1, 60):
        valve.busy("b", float(at))
    assert valve.slots == 1
    for _ in range(100):
        valve.succeeded()
    assert valve.slots == 10


def test_a_server_that_is_lost_is_not_ready_until_it_was_seen() -> None:
    valve = Valve(2)
    assert not valve.ready(0.0)
    valve.seen()
    assert valve.ready(0.0)
    valve.lost("gone")
    assert (valve.ready(99.0), valve.reason) == (False, "gone")


# -- kinds

VLLM = """# HELP vllm:num_requests_running x
vllm:num_requests_running{model_name="m",engine="0"} 3.0
vllm:num_requests_running{model_name="m",engine="1"} 2.0
vllm:num_requests_waiting{model_name="m"} 7
vllm:kv_cache_usage_perc{engine="0"} 0.5
vllm:kv_cache_usage_perc{engine="1"} 0.7
vllm:cache_config_info{block_size="16",num_gpu_blocks="1000",x="a\\"b"} 1.0
vllm:odd NaN
"""


def test_the_metrics_of_vllm_are_read() -> None:
    load = load_of("vllm", VLLM)
    assert (load.running, load.waiting) == (5.0, 7.0)
    assert load.kv_used == pytest.approx(0.6)
    models = {"data": [{"id": "m", "owned_by": "vllm", "max_model_len": 4096}, {"id": 3}, 4]}
    assert kind_of(models) == "vllm"
    facts = facts_of("vllm", models, None, VLLM)
    assert (facts.models, facts.kv_capacity, facts.context) == (("m",), 16_000, 4096)


def test_models_are_listed_up_to_a_bound() -> None:
    assert listed(("a", "b,c", "d")) == "a,d"
    many = listed([f"model-{n}" for n in range(5_000)])
    assert len(many) <= MOST_LISTED
    assert many.startswith("model-0,model-1,")
    assert int(many.rpartition("-")[2]) > 2_000  # no name is cut


def test_what_others_say_of_themselves_is_read() -> None:
    props = {"total_slots": 2, "default_generation_settings": {"n_ctx": 512}}
    facts = facts_of("llamacpp", {"data": []}, props, "")
    assert (facts.slots, facts.kv_capacity, facts.context) == (2, 1024, 512)
    info = {"max_running_requests": 8, "max_total_num_tokens": 999, "context_length": 77}
    assert facts_of("sglang", None, info, "").slots == 8
    assert facts_of("tgi", None, {"max_concurrent_requests": 128}, "").slots == 128
    busy = {"n_ctx": 100, "is_processing": True, "n_prompt_tokens": 50}
    assert kv_of_slots([busy, {**busy, "is_processing": False}]) == 0.25
    assert kv_of_slots([{**busy, "n_prompt_tokens": 900}]) == 1.0


@pytest.mark.parametrize("text", ["", "junk", 'a{b="c" 1', "a 1\nb{} x\n", "\x00 5"])
def test_odd_metrics_are_passed_over(text: str) -> None:
    assert load_of("sglang", text).running is None
    assert all(name for name, _, _ in series(text))


@pytest.mark.parametrize("said", [None, [], {}, {"data": 3}, {"data": [None]}, "x"])
@pytest.mark.parametrize("kind", ["llamacpp", "vllm", "sglang", "tgi", "ollama", "openai"])
def test_odd_answers_are_no_facts(kind: str, said: Any) -> None:
    facts = facts_of(kind, said, said, "")
    assert (facts.models, facts.slots, facts.kv_capacity) == ((), None, 0)
    assert kind_of(said) == ""
