"""A streamed answer without a network: its status, its comments, and clients that are not there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from parallax.broker.store.codec import Report, encode
from parallax.core.errors import NotCompleted, Refused
from parallax.core.lifecycle import Outcome
from parallax.core.reasons import Reason
from parallax.producers.client.completion import Completion
from parallax.producers.gateway.events import CHUNKS, RESPONSES, Form
from parallax.producers.gateway.leaving import ClientLeft
from parallax.producers.gateway.problems import Code, Problem
from parallax.producers.gateway.settings import GatewaySettings
from parallax.producers.gateway.streaming import Standing, Streamed
from tests.asynchronous import until

SCOPE: dict[str, Any] = {"type": "http"}


class Script:
    """Chunks that come when a test says so: what it was given, in order; nothing more ends it."""

    def __init__(self, *told: bytes | Exception, ended: Completion | None = None) -> None:
        self._told = [*told]
        self.completion = ended
        self.closed = False
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    def __aiter__(self) -> Script:
        return self

    async def __anext__(self) -> bytes:
        await self.may_go_on.wait()
        if not self._told:
            raise StopAsyncIteration
        one = self._told.pop(0)
        if isinstance(one, Exception):
            raise one
        return one

    async def aclose(self) -> None:
        self.closed = True


class Wire:
    """The two ends of a connection, as an ASGI application sees them."""

    def __init__(self, *, reads: bool = True) -> None:
        self.sent: list[dict[str, Any]] = []
        self.left = asyncio.Event()
        self._reads = reads

    async def receive(self) -> dict[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)
        if not self._reads and message["type"] == "http.response.body":
            await asyncio.Event().wait()

    @property
    def text(self) -> str:
        return b"".join(message.get("body", b"") for message in self.sent).decode()


def streamed(script: Script, form: Form = CHUNKS, **settings: float) -> Streamed:
    async def hold() -> None:
        pass

    async def status() -> Standing:
        return Standing("queued", 2)

    async def explain() -> Mapping[str, str]:
        return {"x-parallax-backend": "w1"}

    limits = GatewaySettings(**settings)  # type: ignore[arg-type]
    return Streamed(
        script, limits, hold=hold, status=status, explain=explain, headers={"x-request-id": "r"},
        form=form,
    )  # fmt: skip


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await asyncio.wait_for(test(), 60)

    asyncio.run(whole())


def test_the_first_news_is_200_and_what_follows_is_forwarded() -> None:
    async def test() -> None:
        script, wire = Script(b'{"a":1}', b'{"a":2}'), Wire()
        answer = streamed(script, head_s=60.0)
        await answer.open(wire.receive)
        await answer(SCOPE, wire.receive, wire.send)
        head = dict(wire.sent[0]["headers"])
        assert head[b"x-parallax-backend"] == b"w1"
        assert wire.text == 'data: {"a":1}\n\ndata: {"a":2}\n\ndata: [DONE]\n\n'
        assert [m["more_body"] for m in wire.sent[1:]] == [True, True, False]
        assert (script.closed, answer.left, answer.failed) == (True, False, None)

    run(test)


REJECTED = Completion(
    "j", Outcome.REJECTED, encode(Report("a", reason="saturated", retry_after_s=3.0))
)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Refused("full", 2.0), 429, Reason.TENANT_QUEUE_FULL),
        (NotCompleted("j", "rejected", ""), 429, Reason.SATURATED),
        (Problem(409, Code.STREAM_REPEATED, "again"), 409, Code.STREAM_REPEATED),
    ],
)
def test_an_error_before_any_news_is_the_status(error: Exception, status: int, code: str) -> None:
    async def test() -> None:
        script = Script(error, ended=REJECTED)
        with pytest.raises(Problem) as refused:
            await streamed(script, head_s=60.0).open(Wire().receive)
        assert (refused.value.status, refused.value.code) == (status, code)
        assert script.closed

    run(test)


SAYS, ENDS = b'{"type":"response.output_text.delta"}', b'{"type":"response.completed"}'


@pytest.mark.parametrize("well", [True, False])
def test_a_response_is_told_to_have_ended_or_to_have_failed_and_never_both(well: bool) -> None:
    failed: list[bytes | Exception] = [] if well else [NotCompleted("j", "failed", "")]
    ended = Completion("j", Outcome.FAILED, encode(Report("a", reason="stream_broken")))

    async def test() -> None:
        wire, answer = (
            Wire(),
            streamed(Script(SAYS, ENDS, *failed, ended=ended), RESPONSES, head_s=60.0),
        )
        await answer.open(wire.receive)
        await answer(SCOPE, wire.receive, wire.send)
        assert wire.text.count("response.output_text.delta") == 2  # its name, and its payload
        assert ("event: response.completed" in wire.text) is well
        assert ("event: error" in wire.text) is not well

    run(test)


def test_without_news_it_begins_with_comments_and_an_error_is_an_event() -> None:
    async def test() -> None:
        script, wire = Script(NotCompleted("j", "rejected", ""), ended=REJECTED), Wire()
        script.may_go_on.clear()
        answer = streamed(script, head_s=0.0, comment_s=0.01)
        await answer.open(wire.receive)
        sending = asyncio.ensure_future(answer(SCOPE, wire.receive, wire.send))
        await until(lambda: wire.text.count(": queued position=2\n\n") > 2, "some comments")
        script.may_go_on.set()
        await sending
        assert wire.text.rpartition("data: ")[2].count('"code":"saturated"') == 1
        assert "[DONE]" not in wire.text
        assert answer.failed is not None

    run(test)


@pytest.mark.parametrize("after_head", [True, False])
def test_who_leaves_is_not_waited_for(after_head: bool) -> None:
    async def test() -> None:
        script, wire = Script(b"{}"), Wire()
        script.may_go_on.clear()
        answer = streamed(script, head_s=0.0 if after_head else 60.0)
        opening = asyncio.ensure_future(answer.open(wire.receive))
        if after_head:
            await opening
            sending = asyncio.ensure_future(answer(SCOPE, wire.receive, wire.send))
            await until(lambda: wire.text, "a comment")
            wire.left.set()
            await sending
            assert answer.left
        else:
            wire.left.set()
            with pytest.raises(ClientLeft):
                await opening
        assert script.closed

    run(test)


def test_who_reads_nothing_has_left() -> None:
    async def test() -> None:
        script, wire = Script(*[b"{}"] * 9), Wire(reads=False)
        answer = streamed(script, slow_client_s=0.1)
        await answer.open(wire.receive)
        await answer(SCOPE, wire.receive, wire.send)
        assert (answer.left, script.closed) == (True, True)

    run(test)
