"""Prompts become requests of the OpenAI form, and what engines send back becomes text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallax.core.errors import InvalidInput
from parallax.producers.client.chat import (
    MOST_PROMPT,
    answer_text,
    chat,
    chunk_text,
    estimated_prompt,
    estimated_tokens,
    longest_answer,
    request,
)


def test_a_prompt_becomes_a_job_and_its_body() -> None:
    job, body = chat("Say hello", tenant="acme", session="s1")
    assert (job.tenant, job.session, job.prompt_tokens, job.max_tokens) == ("acme", "s1", 3, 64)
    assert not job.stream
    assert body == b'{"messages":[{"role":"user","content":"Say hello"}],"max_tokens":64}'


def test_a_job_that_streams_says_so_twice() -> None:
    job, body = chat("Say hello", max_tokens=5, stream=True, prompt_tokens=9, keep=True)
    assert (job.stream, job.keep, job.prompt_tokens, job.max_tokens) == (True, True, 9, 5)
    assert json.loads(body)["stream"] is True


@pytest.mark.parametrize("prompt", ["", None, b"text", "\ud800", "x" * (MOST_PROMPT + 1)])
def test_a_prompt_that_cannot_be_sent_is_refused(prompt: Any) -> None:
    with pytest.raises(InvalidInput, match="prompt"):
        chat(prompt)


@pytest.mark.parametrize("most", [0, -1, True, "5", 1.5, 10**9])
def test_a_length_that_cannot_be_is_refused(most: Any) -> None:
    with pytest.raises(InvalidInput, match="max_tokens"):
        chat("a", max_tokens=most)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("a", 1), ("abcd", 1), ("abcde", 2), ("é", 1), ("ééé", 2), ("\ud800", 1)],
)
def test_a_token_is_about_four_bytes(text: str, tokens: int) -> None:
    assert estimated_tokens(text) == tokens


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        ({}, 0),
        ({"messages": "hello"}, 0),
        ({"messages": [5, {"role": "user"}, {"content": None}]}, 0),
        ({"messages": [{"content": "abcd"}, {"content": "abcdefgh"}]}, 3),
        ({"messages": [{"content": [{"type": "text", "text": "abcd"}, {"type": "image"}]}]}, 1),
    ],
)
def test_the_prompt_of_a_request_is_what_its_messages_say(
    body: dict[str, Any], tokens: int
) -> None:
    assert estimated_prompt(body) == tokens


@pytest.mark.parametrize(
    ("body", "most"),
    [({}, None), ({"max_tokens": 5}, 5), ({"max_tokens": None}, None),
     ({"max_completion_tokens": 7, "max_tokens": 5}, 7)],
)  # fmt: skip
def test_the_newer_name_of_the_longest_answer_goes_first(
    body: dict[str, Any], most: int | None
) -> None:
    assert longest_answer(body) == most


@pytest.mark.parametrize(
    ("chunk", "text"),
    [
        (b'{"choices":[{"index":0,"delta":{"content":"hel"}}]}', "hel"),
        (b'{"id":"x","choices":[{"index":0,"delta":{"role":"assistant"}}]}', ""),
        (b'{"choices":[{"index":0,"delta":{"content":null},"finish_reason":"stop"}]}', ""),
        (b'{"choices":[],"usage":{"total_tokens":5}}', ""),
        (b'{"choices":[{"index":1,"delta":{"content":"other"}}]}', ""),
        (b'{"choices":[{"text":"plain"}]}', "plain"),
        (b'{"choices":[{"delta":{"content":5}}]}', None),
        (b'{"error":{"message":"broke"}}', None),
        (b"[DONE]", None),
        (b"", None),
        (b"\xff", None),
    ],
)
def test_the_text_of_a_chunk(chunk: bytes, text: str | None) -> None:
    assert chunk_text(chunk) == text


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b'{"choices":[{"index":0,"message":{"role":"assistant","content":"hello"}}]}', "hello"),
        (b'{"choices":[{"index":0,"message":{"content":null}}]}', ""),
        (b'{"choices":[{"index":1,"message":{"content":"b"}},{"message":{"content":"a"}}]}', "a"),
        (b'{"choices":[]}', None),
        (b'{"choices":[{"index":0}]}', None),
        (b'"hello"', None),
        (b"", None),
    ],
)
def test_the_text_of_an_answer(answer: bytes, text: str | None) -> None:
    assert answer_text(answer) == text


@given(st.text(min_size=1))
def test_any_text_is_asked_as_it_is(prompt: str) -> None:
    assert json.loads(request(prompt, 1))["messages"][0]["content"] == prompt


@given(st.binary())
def test_any_bytes_are_text_or_are_none(data: bytes) -> None:
    assert isinstance(chunk_text(data), str | None)
    assert isinstance(answer_text(data), str | None)
