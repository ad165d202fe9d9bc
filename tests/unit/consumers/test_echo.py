"""The engine that says the prompt again: texts, chunks, usage, and what it refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from parallax.consumers.engines.echo import EchoEngine
from parallax.consumers.engines.interface import Chunk, Done, Event, Started
from parallax.consumers.hosts import HandHost
from parallax.core.clock import ManualClock
from parallax.core.errors import InvalidInput
from parallax.engine.batch import BatchEngine
from parallax.engine.profiles import PROFILES
from parallax.engine.request import Request

PROFILE = PROFILES["laptop"]


class Scene:
    """An echo engine and the hand that turns its host."""

    def __init__(self) -> None:
        self.clock = ManualClock(100.0)
        self.engine, self.host = EchoEngine(PROFILE, 1.0, self.clock), HandHost(self.clock)
        self.engine.start(self.host)

    def ask(self, name: str, text: str, stream: bool = True, **fields: Any) -> Request:
        """Let the engine have a request for at most ten tokens."""
        document = {"messages": [{"role": "user", "content": text}]} | fields.pop("body", {})
        request = Request(
            name, "", 20, fields.pop("max_tokens", 10), stream=stream,
            body=json.dumps(document).encode(), **fields,
        )  # fmt: skip
        self.engine.add(request, self.clock.monotonic())
        return request

    def told(self) -> list[Event]:
        """Let time pass until all has ended; return what was told."""
        events: list[Event] = []
        while (due := self.host.next_due()) is not None:
            self.clock.wait(max(0.0, due - self.clock.monotonic()) + 1e-9)
            events += self.host.turn()
        return events


def contents(events: list[Event], name: str) -> list[str]:
    """Return the texts of a stream's chunks."""
    documents = [json.loads(e.data) for e in events if isinstance(e, Chunk) and e.id == name]
    assert all(d["object"] == "chat.completion.chunk" for d in documents)
    return [c["delta"]["content"] for d in documents for c in d["choices"] if c["delta"]]


def end_of(events: list[Event], name: str) -> Done:
    (done,) = [e for e in events if isinstance(e, Done) and e.id == name]
    return done


def test_a_stream_is_one_word_a_token_and_begins_anew_until_it_is_long_enough() -> None:
    scene = Scene()
    scene.ask("j", "to be or not")
    events = scene.told()
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Done)
    pieces = contents(events, "j")
    assert pieces[:2] == ["to", " be"]
    assert len(pieces) == 10
    answer = json.loads(end_of(events, "j").answer)
    assert "".join(pieces) == "to be or not to be or not to be"
    assert answer["choices"][0]["message"]["content"] == "".join(pieces)
    assert answer["usage"] == {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30}
    assert [e.output_tokens for e in events if isinstance(e, Chunk)] == [*range(1, 11), 10]


def test_chunks_come_when_the_model_says_so() -> None:
    scene = Scene()
    request = scene.ask("j", "to be or not")
    chunks = [e for e in scene.told() if isinstance(e, Chunk)]
    pure = BatchEngine(PROFILE, exact=True)
    pure.add(Request("j", "", request.prompt_tokens, 10, 10))
    times, produced = [], 0
    while (due := pure.next_change_ms()) is not None:
        changes = pure.run_until(due)
        now = 10 if any(c.finished for c in changes) else pure.output_of("j")
        times += [100.0 + due / 1000] * (now - produced)
        produced = now
    assert [c.at for c in chunks[:10]] == pytest.approx(times)


def test_a_late_look_brings_several_words_at_once_and_loses_none() -> None:
    scene = Scene()
    scene.ask("j", "a b c d e")
    scene.host.turn()
    scene.clock.wait(60.0)
    events = scene.host.turn()
    assert contents(events, "j") == ["a b c d e a b c d e"]


def test_an_answer_that_is_wanted_whole_has_no_chunks() -> None:
    scene = Scene()
    scene.ask("j", "hello there", stream=False)
    events = scene.told()
    assert not any(isinstance(e, Chunk) for e in events)
    answer = json.loads(end_of(events, "j").answer)
    assert answer["choices"][0]["message"]["content"].split()[:2] == ["hello", "there"]
    assert answer["choices"][0]["finish_reason"] == "length"


def test_streams_share_the_engine_with_what_does_not_stream() -> None:
    scene = Scene()
    scene.ask("a", "one two")
    scene.ask("b", "three four")
    scene.ask("c", "five", stream=False)
    scene.engine.add(Request("d", "", 20, 10, 10), scene.clock.monotonic())
    events = scene.told()
    assert "".join(contents(events, "a")) == "one two one two one two one two one two"
    assert "".join(contents(events, "b")).startswith("three four three")
    assert contents(events, "c") == contents(events, "d") == []
    assert end_of(events, "d").answer == b""  # without a body there is nothing to answer
    assert scene.engine._talks == scene.engine._streams == {}


@pytest.mark.parametrize(
    ("fields", "length", "reason"),
    [
        ({"body": {"max_tokens": 3}}, 3, "length"),
        ({"body": {"max_completion_tokens": 2, "max_tokens": 7}}, 2, "length"),
        ({"body": {"max_tokens": 300}}, 10, "length"),
        ({"output_tokens": 4}, 4, "stop"),
    ],
)
def test_the_length_is_what_was_asked_for(fields: dict[str, Any], length: int, reason: str) -> None:
    scene = Scene()
    scene.ask("j", "a b", **fields)
    done = end_of(scene.told(), "j")
    answer = json.loads(done.answer)
    assert done.output_tokens == length == len(answer["choices"][0]["message"]["content"].split())
    assert answer["choices"][0]["finish_reason"] == reason


def test_a_stream_tells_its_usage_where_that_is_asked_for() -> None:
    scene = Scene()
    scene.ask("j", "a b", body={"stream_options": {"include_usage": True}})
    last = [e for e in scene.told() if isinstance(e, Chunk)][-1]
    assert json.loads(last.data)["usage"]["completion_tokens"] == 10
    assert json.loads(last.data)["choices"] == []


def test_parts_of_a_message_are_read_and_a_prompt_without_words_is_answered_too() -> None:
    scene = Scene()
    parts = [{"type": "text", "text": "see"}, {"type": "image_url"}, {"type": "text", "text": "me"}]
    scene.ask("a", "", body={"messages": [{"role": "user", "content": parts}]})
    scene.ask("b", "")
    events = scene.told()
    assert contents(events, "a")[:2] == ["see", " me"]
    assert contents(events, "b")[0] == "nothing"


def test_who_is_stopped_says_no_more_and_has_consumed_what_it_said() -> None:
    scene = Scene()
    scene.ask("j", "a b", max_tokens=1_000)
    events = scene.host.turn()
    for _ in range(8):
        due = scene.host.next_due()
        assert due is not None
        scene.clock.wait(max(0.0, due - scene.clock.monotonic()) + 1e-9)
        events += scene.host.turn()
    said = len(contents(events, "j"))
    assert said > 3
    consumed = scene.engine.stop("j")
    assert consumed is not None
    assert said <= consumed.output_tokens <= said + 1
    assert scene.told() == []
    assert scene.engine.stop("j") is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{", "body"), (b"\xff", "body"), (b"[]", "body"), (b"{}", "messages"),
        (b'{"messages": "hi"}', "body.messages"), (b'{"messages": []}', "body.messages"),
        (b'{"messages": [{"content": "hi"}]}', "role"),
        (b'{"messages": [{"role": "user", "content": 7}]}', r"body.messages\[.*\].content"),
        (b'{"messages": [{"role": "user"}], "max_tokens": 0}', "body.max_tokens"),
    ],
)  # fmt: skip
def test_what_is_no_chat_is_refused_by_its_field(body: bytes, field: str) -> None:
    scene = Scene()
    with pytest.raises(InvalidInput, match=field):
        scene.engine.add(Request("j", "", 1, 10, body=body), 100.0)
    assert scene.told() == []
