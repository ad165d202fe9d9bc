"""The engine `openai` before a server that does as it is told: answers, errors, breaks, cancels."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable

import pytest

from parallax.consumers.engines.interface import Condition
from parallax.consumers.upstream.engine import UpstreamEngine
from parallax.core.errors import InvalidInput
from tests.unit.consumers.upstream_hosts import CHAT, Told, ask, living, request
from tests.upstream import USAGE, WORDS, Reply, Upstream, bytes_of, cut, stall, status
from tests.waiting import wait_until

Scene = Callable[[UpstreamEngine, Told, Upstream], Awaitable[None]]


def play(scene: Scene, *script: Reply, settings: str = "", key: str = "") -> None:
    """Let a scene be played with a server that is ready, and does this with what it is asked."""

    async def played(server: Upstream) -> None:
        async with living(server.url + settings, key=key) as (engine, told):
            await told.until(lambda: engine.ready, "the server to be seen")
            await asyncio.wait_for(scene(engine, told, server), 30.0)

    with Upstream() as server:
        server.script.extend(script)
        asyncio.run(played(server))


def text_of(chunks: list[bytes]) -> str:
    deltas = [json.loads(chunk)["choices"] for chunk in chunks]
    return "".join(c["delta"].get("content", "") for choices in deltas for c in choices)


def test_a_stream_is_passed_on_as_it_comes_and_its_usage_is_read() -> None:
    async def scene(engine: UpstreamEngine, told: Told, server: Upstream) -> None:
        ask(engine, request())
        done = await told.end()
        assert text_of(told.chunks()) == "".join(WORDS)
        assert (done.error, done.output_tokens, done.prompt_tokens) == ("", 4, 7)
        assert done.cached_tokens == 3
        assert len(told.started()) == 1
        assert not any(b'"usage"' in chunk for chunk in told.chunks())  # nobody asked for it
        assert server.calls[0].body["stream_options"] == {"include_usage": True}
        assert json.loads(done.answer)["choices"][0]["message"]["content"] == "".join(WORDS)

    play(scene)


def test_who_asks_for_the_usage_gets_it() -> None:
    async def scene(engine: UpstreamEngine, told: Told, server: Upstream) -> None:
        body = CHAT[:-1] + b',"stream_options":{"include_usage":true}}'
        ask(engine, request(body=body))
        await told.end()
        assert json.loads(told.chunks()[-1])["usage"] == USAGE

    play(scene)


def test_a_whole_answer_comes_as_it_is() -> None:
    async def scene(engine: UpstreamEngine, told: Told, server: Upstream) -> None:
        ask(engine, request(stream=False))
        done = await told.end()
        assert json.loads(done.answer)["choices"][0]["message"]["content"] == "".join(WORDS)
        assert (done.output_tokens, done.prompt_tokens, done.cached_tokens) == (4, 7, 3)
        assert server.calls[0].body["stream"] is False
        assert told.chunks() == []

    play(scene)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize("stream", [True, False])
def test_a_busy_server_is_asked_again_and_given_less(code: int, stream: bool) -> None:
    async def scene(engine: UpstreamEngine, told: Told, server: Upstream) -> None:
        before = engine.slots
        ask(engine, request(stream=stream))
        done = await told.end()
        assert done.error == ""
        assert len(server.calls) == 3
        assert told.condition.slots < before
        assert told.condition.ready

    play(scene, status(code), status(code, Retry_After="0"))


def test_a_server_that_stays_busy_gives_the_request_back_with_its_reason() -> None:
    async def scene(engine: UpstreamEngine, told: Told, server: Upstream) -> None:
        ask(engine, request())
        done = await told.end()
        assert done.again
        assert "busy (429: slow down)" in done.error
        assert len(server.calls) == 1  # it is to come back later than a request may stay

    play(scene, status(429, "slow down", Retry_After="30"), settings=",busy-s=2")


@pytest.mark.parametrize("code", [400, 404, 422])
def test_what_a_server_refuses_has_failed_with_its_words(code: int) -> None:
    async def scene(engine: UpstreamEngine, told: Told, server: Upstream) -> None:
        ask(engine, request())
        done = await told.end()
        assert not done.again
        assert f"({code}): too\\nlong" in done.error or f"({code}): too long" in done.error
        assert engine.ready

    play(scene, status(code, "too\nlong"))


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (status(500, "oops"), r"failed \(500: oops\)"),
        (cut(0), "the connection broke|before the end"),
        (bytes_of(b"data: nonsense\n\n"), "no JSON"),
        (bytes_of(b"\xff\xfe\x00 what is this\n\n"), "before the end"),
        (bytes_of(b"data: [1]\n\n"), "no answer"),
        (bytes_of(), "before the end"),
        (bytes_of(b'data: {"error":{"message":"no memory","code":500}}\n\n'), "no memory"),
        (bytes_of(b"data: " + b"x" * (5 << 20)), "more than"),
    ],
    ids=["500", "cut", "garbage", "bytes", "list", "nothing", "error", "endless line"],
)
def test_what_goes_wrong_before_the_first_token_may_be_tried_again(reply: Reply, says: str) -> None:
    async def scene(engine: UpstreamEngine, told: Told, server: Upstream) -> None:
        ask(engine, request())
        done = await told.end()
        assert done.again
        assert re.search(says, done.error), done.error
        assert told.chunks() == []
        assert len(server.calls) == 1  # and not here: whoever dispatches decides where

    play(scene, reply)


@pytest.mark.parametrize("reply", [status(200), bytes_of(b"{")], ids=["error in 200", "no JSON"])
def test_a_whole_answer_that_is_none_may_be_tried_again(reply: Reply) -> None:
    async def scene(engine: UpstreamEngine, told: Told, server: Upstream) -> None:
        ask(engine, request(stream=False))
        assert (await told.end()).again

    play(scene, reply)


def test_a_stream_that_breaks_says_what_came_and_that_no_more_does() -> None:
    async def scene(engine: UpstreamEngine, told: Told, server: Upstream) -> None:
        ask(engine, request())
        done = await told.end()
        assert text_of(told.chunks()) == "to be"
        assert done.error
        assert (done.output_tokens, done.prompt_tokens) == (2, 5)

    play(scene, cut(2))


def test_a_stream_without_its_last_line_is_whole_if_it_said_why_it_ends() -> None:
    line = (
        b'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}\r\n\r\n'
    )

    async def scene(engine: UpstreamEngine, told: Told, server: Upstream) -> None:
        ask(engine, request())
        assert (await told.end()).error == ""

    play(scene, bytes_of(b": hello\r\n\r\n", line[:20], line[20:]))


@pytest.mark.parametrize("words", [0, 2])
def test_stop_closes_the_connection_at_once(words: int) -> None:
    async def scene(engine: UpstreamEngine, told: Told, server: Upstream) -> None:
        ask(engine, request())
        await told.until(lambda: len(told.chunks()) == words, "the words")
        await asyncio.to_thread(wait_until, lambda: server.calls, "the request to come")
        consumed = engine.stop("j")
        assert consumed is not None
        assert (consumed.prompt_tokens, consumed.output_tokens) == (5, words)
        await asyncio.to_thread(wait_until, lambda: server.left, "the connection to be closed")
        assert told.ends() == []
        assert engine.stop("j") is None

    play(scene, stall(words))


def test_a_request_that_was_stopped_may_come_back_at_once() -> None:
    async def scene(engine: UpstreamEngine, told: Told, server: Upstream) -> None:
        ask(engine, request())
        engine.stop("j")
        ask(engine, request())
        assert (await told.end()).error == ""
        assert len(told.ends()) == 1

    play(scene)


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("settings", "words", "says"),
    [("first-s", 0, "no token within"), ("between-s", 2, "nothing more came for"),
     ("whole-s", 2, "took longer than")],
)  # fmt: skip
def test_a_server_that_stalls_is_left(settings: str, words: int, says: str) -> None:
    async def scene(engine: UpstreamEngine, told: Told, server: Upstream) -> None:
        ask(engine, request())
        assert says in (await told.end()).error

    play(scene, stall(words), settings=f",{settings}=0.4")


@pytest.mark.dear
def test_three_failures_in_a_row_shut_it_and_one_success_opens_it_again() -> None:
    async def scene(engine: UpstreamEngine, told: Told, server: Upstream) -> None:
        for n in range(3):
            ask(engine, request(f"r{n}"))
            await told.end(f"r{n}")
        shut = [e for e in told.events if isinstance(e, Condition) and not e.ready]
        assert "failed (500" in shut[-1].why
        await told.until(lambda: told.condition.ready, "it to be tried again")
        assert told.condition.slots == 1
        ask(engine, request())
        await told.end()
        await told.until(lambda: told.condition.slots > 1, "all of its slots")

    play(scene, *[status(500)] * 3)


@pytest.mark.dear
def test_a_server_that_is_gone_harms_no_request_and_is_found_when_it_is_back() -> None:
    async def scene(engine: UpstreamEngine, told: Told, server: Upstream) -> None:
        server.down()
        ask(engine, request())
        done = await told.end()
        assert (done.again, done.untouched) == (True, True)
        assert not told.condition.ready
        server.up()
        await told.until(lambda: told.condition.ready, "it to be back")
        ask(engine, request("k"))
        assert (await told.end("k")).error == ""

    play(scene)


def test_a_model_that_is_not_served_is_refused_with_those_that_are() -> None:
    async def scene(engine: UpstreamEngine, told: Told, server: Upstream) -> None:
        with pytest.raises(InvalidInput, match=r"body.model: 'nope' .* served: tiny"):
            ask(engine, request(body=CHAT.replace(b"tiny", b"nope")))
        assert server.calls == []

    play(scene)


def test_the_key_goes_to_the_server_and_nowhere_else() -> None:
    async def scene(server: Upstream, key: str) -> None:
        async with living(server.url, key=key) as (engine, told):
            if key == server.key:
                await told.until(lambda: engine.ready, "the server to be seen")
            else:
                await told.until(lambda: "key" in told.condition.why, "the refusal")
                assert "hunter2" not in told.condition.why
            assert "hunter2" not in repr(engine)
            assert not any("hunter2" in str(value) for value in engine.describe().values())

    with Upstream(key="hunter2") as server:
        asyncio.run(scene(server, "hunter2"))
        asyncio.run(scene(server, "hunter3"))


def test_many_requests_at_once_end_once_each() -> None:
    async def scene(engine: UpstreamEngine, told: Told, server: Upstream) -> None:
        names = [f"r{n}" for n in range(60)]
        for n, name in enumerate(names):
            ask(engine, request(name, stream=n % 2 == 0))
        for name in names:
            assert (await told.end(name)).error == ""
        assert all(len(told.ends(name)) == 1 for name in names)

    play(scene)
