"""An answer as it is made: every chunk once, in order; or one clear error, and no job left behind.

The door tells what a test planned, on a clock that is moved by hand.
"""

from __future__ import annotations

import pytest

from parallax.broker.store.results import Notice, Record
from parallax.core.errors import (
    BrokenAnswer,
    Conflict,
    NotCompleted,
    ParallaxError,
    TimedOut,
    Unreachable,
)
from parallax.core.lifecycle import Outcome
from parallax.core.words import Cancelled, Submitted
from tests.unit.producers.doors import BODY, ENDED, JOB, Door, chunk, end

FIRST = Notice("j1", "first", b"")


def test_chunks_come_in_their_order_and_then_the_end() -> None:
    door = Door([FIRST, chunk(0, b"hel lo")], [], [chunk(1, b""), chunk(2, b"world"), end()])
    stream = door.stream()
    assert door.submitted == [([JOB], True, {"j1": BODY})]
    before = stream.completion
    assert before is None
    assert list(stream) == [b"hel lo", b"", b"world"]
    assert stream.completion is not None
    assert stream.completion.outcome is Outcome.COMPLETED
    assert stream.completion.report.output_tokens == 2
    assert door.cursors == ["", "1", "2"]
    assert door.cancels == []
    assert list(stream) == []


def test_a_chunk_that_was_sent_twice_is_given_once() -> None:
    door = Door([chunk(0, b"a"), chunk(0, b"a")], [chunk(0, b"a"), chunk(1, b"b")], [end()])
    assert list(door.stream()) == [b"a", b"b"]


@pytest.mark.parametrize(
    "told",
    [
        [chunk(1)],
        [chunk(0), chunk(2)],
        [chunk(0), chunk(1, attempt=2)],
        [Notice("j1", "chunk", b"1 0")],
        [Notice("j1", "chunk", b"")],
        [Notice("j1", "chunk", b"one 0 x")],
        [end()],  # with two tokens that nobody saw
    ],
    ids=["no beginning", "a gap", "another attempt", "no bytes", "nothing", "a word", "no chunk"],
)
def test_an_answer_with_a_part_missing_is_an_error(told: list[Notice]) -> None:
    door = Door([*told, end()] if told[-1].word == "chunk" else told)
    stream = door.stream()
    with pytest.raises(BrokenAnswer, match="job j1"):
        list(stream)
    assert door.cancels == ([] if stream.completion else ["j1"])


def test_an_answer_of_no_tokens_is_whole() -> None:
    assert list(Door([end(output_tokens=0)]).stream()) == []


@pytest.mark.parametrize("outcome", [one for one in Outcome if one is not Outcome.COMPLETED])
def test_an_end_that_is_not_completed_is_an_error(outcome: Outcome) -> None:
    door = Door([chunk(0, b"a")], [end(outcome, error="so it was", reason="stream_broken")])
    stream, seen = door.stream(), list[bytes]()
    with pytest.raises(NotCompleted, match=f"job j1: {outcome}: so it was"):
        seen.extend(stream)
    assert next(stream, None) is None
    assert stream.completion is not None
    assert stream.completion.report.reason == "stream_broken"
    assert door.cancels == []  # it has ended


def test_a_job_that_is_not_accepted_is_no_stream() -> None:
    door = Door(word=Submitted.CONFLICT)
    with pytest.raises(Conflict):
        door.stream()
    assert door.cancels == []


# -- leaving --------------------------------------------------------------------------------------


def test_who_leaves_a_loop_cancels_the_job() -> None:
    door = Door([chunk(0, b"a"), chunk(1, b"b")])
    for _ in door.stream():
        break
    assert door.cancels == ["j1"]


def test_who_closes_it_or_leaves_a_with_cancels_the_job_once() -> None:
    door = Door([chunk(0, b"a"), chunk(1, b"b")])
    with door.stream() as stream:
        assert next(stream) == b"a"
        stream.close()
    assert door.cancels == ["j1"]
    assert stream.cancelled == "ok"
    assert next(stream, None) is None


def test_who_leaves_before_the_first_chunk_cancels_the_job() -> None:
    door = Door()
    door.stream().close()
    assert door.cancels == ["j1"]
    door.stream()  # nobody has it
    assert door.cancels == ["j1", "j1"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_error_on_the_way_cancels_the_job(error: type[BaseException]) -> None:
    door = Door([chunk(0, b"a"), chunk(1, b"b")])

    def taken() -> None:
        for _ in door.stream():
            raise error

    with pytest.raises(error):
        taken()
    assert door.cancels == ["j1"]


def test_who_leaves_at_the_end_cancels_nothing() -> None:
    door = Door([chunk(0, b"a"), end()])
    with door.stream() as stream:
        assert list(stream) == [b"a"]
    assert (door.cancels, stream.cancelled) == ([], "")


@pytest.mark.parametrize("answer", [Cancelled.LATE, Cancelled.UNKNOWN, Unreachable("nobody there")])
def test_a_cancellation_raises_nothing(answer: Cancelled | ParallaxError) -> None:
    door = Door([chunk(0)])
    door.cancelled = answer
    stream = door.stream()
    stream.close()
    assert stream.cancelled == (answer if isinstance(answer, str) else "silent")


# -- silence --------------------------------------------------------------------------------------


def test_nobody_waits_for_ever() -> None:
    door = Door([chunk(0, b"a")])
    stream = door.stream(timeout_s=30.0)
    assert next(stream) == b"a"
    with pytest.raises(TimedOut, match="no news for 30 s of job j1"):
        next(stream)
    assert 30.0 <= door.clock.now() < 31.0
    assert door.cancels == ["j1"]


def test_who_takes_chunks_slowly_has_not_waited_meanwhile() -> None:
    door = Door([chunk(0, b"a")], [], [chunk(1, b"b"), end()])
    stream = door.stream(timeout_s=30.0)
    next(stream)
    door.clock.wait(3_600.0)
    assert list(stream) == [b"b"]


def test_redis_may_fall_silent_for_a_while() -> None:
    gone = Unreachable("gone")
    door = Door([chunk(0, b"a")], gone, gone, [chunk(1, b"b"), end()])
    assert list(door.stream()) == [b"a", b"b"]


@pytest.mark.parametrize("record", [ENDED, None], ids=["has ended", "is gone"])
def test_a_job_that_has_ended_in_silence_is_not_waited_for(record: Record | None) -> None:
    door = Door([chunk(0, b"a")], record=record)
    with pytest.raises(BrokenAnswer, match="does not tell how"):
        list(door.stream(timeout_s=30.0))
    assert door.clock.now() < 3.0


def test_what_was_told_before_the_record_was_looked_at_is_read() -> None:
    door = Door([chunk(0, b"a")], *[[]] * 5, [chunk(1, b"b"), end()], record=ENDED)
    assert list(door.stream()) == [b"a", b"b"]


def test_silence_of_redis_after_the_look_proves_nothing() -> None:
    gone = Unreachable("gone")
    door = Door([chunk(0, b"a")], *[[]] * 5, gone, gone, [chunk(1, b"b"), end()], record=ENDED)
    assert list(door.stream()) == [b"a", b"b"]
