"""What clients of gateways ask, and how what comes is judged."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

import msgspec
import pytest

from parallax.broker.api import paths
from parallax.consumers.engines.responses import ResponseWriter
from parallax.consumers.engines.writing import ChatWriter, CompletionWriter, End, Usage, Writer
from parallax.core.digests import digest_of
from parallax.core.reasons import Reason
from parallax.drills import exchanges
from parallax.drills.exchanges import Exchange, judged
from parallax.drills.http import Leave, Reply
from parallax.drills.wishes import MOST_BODY, UNKNOWN, Manner, Wish, Wishes
from parallax.producers.gateway.bodies import REQUESTS, understood
from parallax.producers.gateway.events import CHUNKS, RESPONSES, comment
from parallax.producers.gateway.problems import Code, Problem

WRITERS: dict[str, Callable[[str, int, str], Writer]] = {
    paths.CHAT: ChatWriter, paths.COMPLETIONS: CompletionWriter, paths.RESPONSES: ResponseWriter,
}  # fmt: skip
EVERY = pytest.mark.parametrize("path", WRITERS)


def wish(path: str = paths.CHAT, manner: Manner = Manner.ONCE, **fields: Any) -> Wish:
    values: dict[str, Any] = {"stream": False, "model": "echo", "words": 3, "tokens": 5}
    return Wish("web-1-1", manner, path, **values | fields)


def end_of(one: Wish) -> End:
    return End(" ".join(one.said), "length", Usage(3, one.tokens))


def document(one: Wish) -> bytes:
    writer = WRITERS[one.path]("j1", 1, "echo")
    return writer.whole(end_of(one))


def payloads(one: Wish) -> list[bytes]:
    """The chunks of a whole answer, two words at a time."""
    writer = WRITERS[one.path]("j1", 1, "echo")
    found: list[bytes] = []
    for n in range(0, one.tokens, 2):
        text = (" " if n else "") + " ".join(one.said[n : n + 2])
        found += writer.more(text, first=n == 0)
    return found + writer.last(end_of(one))


def stream(one: Wish, chunks: list[bytes], *after: bytes) -> bytes:
    form = RESPONSES if one.path == paths.RESPONSES else CHUNKS
    return comment("queued") + b"".join(map(form.event, chunks)) + b"".join(after)


def done(one: Wish) -> bytes:
    return RESPONSES.done if one.path == paths.RESPONSES else CHUNKS.done


def reply(body: bytes, status: int = 200, *, events: bool = False, **fields: Any) -> Reply:
    kind = "text/event-stream; charset=utf-8" if events else "application/json"
    headers = {"content-type": kind, "x-parallax-job": "j1"}
    values: dict[str, Any] = {"whole": True}
    return Reply(status, headers, bytearray(body), **values | fields)


def told(one: Wish, answer: Reply, *, other: bool = False) -> Exchange:
    return judged(one, "gateway-1", (1.0, 2.0), answer, other=other)


def problem(status: int, code: str) -> bytes:
    return msgspec.json.encode(Problem(status, code, "it is so").document())


# -- wishes


def test_a_seed_draws_the_same_wishes_of_every_kind() -> None:
    drawn = [Wishes(7, Random(3)), Wishes(7, Random(3))]
    some, same = ([one.next() for _ in range(1_500)] for one in drawn)
    assert some == same
    assert {one.manner for one in some} == set(Manner)
    assert {one.path for one in some} == set(WRITERS)
    sizes = [len(one.body()) for one in some]
    assert min(sizes) < 20
    assert max(sizes) > 500_000
    assert sum(one.misshapen for one in some) < len(some) / 6


def test_bodies_have_the_length_that_was_drawn_and_are_understood() -> None:
    made = Wishes(7, Random(5))
    for one in [made.next() for _ in range(300)]:
        body = one.body()
        assert len(body) > one.size - 25  # no shorter padding can be written
        if one.size > MOST_BODY:
            continue
        if one.misshapen:
            with pytest.raises(Problem):
                understood(one.path, body)
            continue
        asked = understood(one.path, body)
        assert asked.body == one.stored()
        assert (asked.stream, asked.max_tokens) == (one.stream, one.tokens)
    assert set(WRITERS) <= set(REQUESTS)


def test_another_request_under_one_key_asks_something_else() -> None:
    one = wish(manner=Manner.OTHER, size=900)
    assert one.body() != one.body(other=True)
    assert one.headers("t")["idempotency-key"] == one.headers("t")["x-session-id"]


# -- answers


@EVERY
def test_a_whole_answer_is_one_to_what_was_asked(path: str) -> None:
    one = wish(path)
    found = told(one, reply(document(one)))
    assert (found.end, found.wrong, found.foreign) == (exchanges.End.WHOLE, "", "")
    assert found.answer == digest_of(document(one))
    assert found.body == digest_of(one.stored())


@EVERY
def test_a_whole_stream_is_too(path: str) -> None:
    one = wish(path, stream=True)
    chunks = payloads(one)
    found = told(one, reply(stream(one, chunks, done(one)), events=True))
    assert (found.end, found.wrong, found.foreign) == (exchanges.End.WHOLE, "", "")
    assert found.pieces == tuple(map(digest_of, chunks))


@EVERY
def test_a_stream_that_is_cut_off_is_a_beginning(path: str) -> None:
    one = wish(path, stream=True)
    chunks = payloads(one)
    text = stream(one, chunks[:-1])
    found = told(one, reply(text[:-9], events=True, whole=False))
    assert (found.end, found.wrong, found.foreign) == (exchanges.End.CUT, "", "")
    assert found.pieces == tuple(map(digest_of, chunks[:-2]))
    assert told(one, reply(text, events=True)).wrong  # it ended, and nobody knows how


@EVERY
def test_a_stream_may_end_with_an_error_and_nothing_may_follow(path: str) -> None:
    one = wish(path, stream=True)
    form = RESPONSES if path == paths.RESPONSES else CHUNKS
    failed = form.failure(Problem(502, Reason.STREAM_BROKEN, "it broke"))
    chunks = payloads(one)[:2]
    found = told(one, reply(stream(one, chunks, failed), events=True))
    assert (found.end, found.code, found.wrong) == (exchanges.End.ERROR, "stream_broken", "")
    assert len(found.pieces) == 2
    both = stream(one, payloads(one), done(one), failed)
    assert "more came after" in told(one, reply(both, events=True)).wrong


@EVERY
@pytest.mark.parametrize("streamed", [False, True])
def test_words_of_another_answer_are_seen(path: str, streamed: bool) -> None:
    one, another = wish(path, stream=streamed), wish(path, stream=streamed, words=2)
    text = stream(another, payloads(another), done(one)) if streamed else document(another)
    assert "word 2 of 5" in told(one, reply(text, events=streamed)).foreign
    longer = wish(path, stream=streamed, tokens=6)
    text = stream(longer, payloads(longer), done(one)) if streamed else document(longer)
    assert "word 5 of 6" in told(one, reply(text, events=streamed)).foreign


@pytest.mark.parametrize("twice", [0, 2])
def test_pieces_of_two_attempts_are_seen(twice: int) -> None:
    one = wish(stream=True)
    chunks = payloads(one)
    found = told(one, reply(stream(one, [chunks[twice], *chunks], CHUNKS.done), events=True))
    assert found.foreign


# -- errors


@pytest.mark.parametrize(
    ("one", "status", "code"),
    [
        (wish(), 503, Code.STORE_FULL),
        (wish(), 429, Reason.QUEUE_FULL),
        (wish(size=20), 400, Code.INVALID),
        (wish(size=MOST_BODY + 1), 413, Code.TOO_LARGE),
        (wish(model=UNKNOWN), 404, Code.MODEL_NOT_FOUND),
        (wish(manner=Manner.OTHER), 409, Code.KEY_REUSED),
    ],
)
def test_an_error_of_the_documented_shape_is_one(one: Wish, status: int, code: str) -> None:
    found = told(one, reply(problem(status, code), status))
    assert (found.end, found.code, found.wrong) == (exchanges.End.ERROR, code, "")


@pytest.mark.parametrize(
    ("one", "status", "body"),
    [
        (wish(), 500, problem(500, Code.INTERNAL)),
        (wish(), 400, problem(400, Code.INVALID)),
        (wish(), 401, problem(401, Code.INVALID_KEY)),
        (wish(), 404, problem(404, Code.MODEL_NOT_FOUND)),
        (wish(), 409, problem(409, Code.KEY_REUSED)),
        (wish(), 500, problem(503, Code.STORE_FULL)),
        (wish(), 503, b"Service Unavailable"),
        (wish(), 503, b'{"error":{"message":"no"}}'),
        (wish(), 503, b"[]"),
        (wish(), 200, b"{}"),
        (wish(size=20), 200, document(wish())),
    ],
)
def test_any_other_is_not(one: Wish, status: int, body: bytes) -> None:
    assert told(one, reply(body, status)).wrong


def test_who_left_and_what_came_too_late_are_said_so() -> None:
    one = wish(manner=Manner.LEAVES, leave=Leave(0.1, sends=0.5))
    left = told(one, reply(b"", 0, whole=False, left=True))
    assert (left.end, left.sent) == (exchanges.End.LEFT, False)
    assert told(wish(), reply(b"", 0, whole=False, late=True)).end is exchanges.End.LATE
    assert told(wish(), reply(b"", 0, whole=False)).end is exchanges.End.CUT
    assert told(wish(), reply(document(wish()), wrong="more came")).wrong == "more came"


def test_an_exchange_can_be_written_down() -> None:
    assert json.dumps(msgspec.to_builtins(told(wish(), reply(document(wish())))))
