"""Plain completions at the engine that says the prompt again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from parallax.consumers.engines.echo import EchoEngine
from parallax.consumers.engines.interface import Chunk, Done, Event
from parallax.consumers.engines.reading import read
from parallax.consumers.hosts import HandHost
from parallax.core.clock import ManualClock
from parallax.core.errors import InvalidInput
from parallax.engine.profiles import PROFILES
from parallax.engine.request import Request


def answered(body: dict[str, Any], *, stream: bool) -> list[Event]:
    clock = ManualClock(100.0)
    engine, host = EchoEngine(PROFILES["laptop"], 1.0, clock), HandHost(clock)
    engine.start(host)
    request = Request("j", "", 20, 6, stream=stream, body=json.dumps(body).encode())
    engine.add(request, clock.monotonic())
    events: list[Event] = []
    while (due := host.next_due()) is not None:
        clock.wait(max(0.0, due - clock.monotonic()) + 1e-9)
        events += host.turn()
    return events


def test_a_completion_is_told_as_text() -> None:
    events = answered({"prompt": "to be or not", "model": "m"}, stream=True)
    chunks = [json.loads(e.data) for e in events if isinstance(e, Chunk)]
    assert {(c["object"], c["id"], c["model"]) for c in chunks} == {
        ("text_completion", "cmpl-j", "m")
    }
    assert "".join(c["choices"][0]["text"] for c in chunks) == "to be or not to be"
    assert [c["choices"][0]["finish_reason"] for c in chunks] == [None] * 6 + ["length"]
    (done,) = [e for e in events if isinstance(e, Done)]
    answer = json.loads(done.answer)
    assert answer["choices"][0]["text"] == "to be or not to be"
    assert answer["usage"]["completion_tokens"] == 6


@pytest.mark.parametrize(
    ("prompt", "text"), [("a b", "a b"), (["a b"], "a b"), ([5, 6], "token token"),
                         ([[5, 6]], "token token")],
)  # fmt: skip
def test_every_form_of_a_prompt_is_read(prompt: Any, text: str) -> None:
    chat = read(json.dumps({"prompt": prompt, "max_tokens": 3}).encode())
    assert (chat.texts, chat.max_tokens) == ((text,), 3)


@pytest.mark.parametrize("body", [b"{", b'{"prompt": 1}', b'{"prompt": "a", "max_tokens": 0}'])
def test_what_cannot_be_read_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        read(body)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b'{"prompt": "a"}', "/completions"),
        (b'{"messages": [{"role": "user"}], "prompt": "a"}', "/chat/completions"),
        (b'{"input": "a"}', "/embeddings"),
        (b'{"parallax_path": "/responses", "input": "a"}', "/responses"),
    ],
)
def test_the_fields_of_a_body_tell_its_path(body: bytes, path: str) -> None:
    assert read(body).path == path
