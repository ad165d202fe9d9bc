"""Answers and their pieces: who is told what, in which order, and how long it is there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from parallax.broker.store.attempts import Finish, decode_assignment
from parallax.broker.store.relay import Chunk, InOrder, Piece, decode_piece, pages_of, relay_call
from parallax.broker.store.results import Notice
from parallax.core.errors import BrokenAnswer, InvalidInput
from parallax.producers.client.completion import Completion
from tests.contract.conftest import Cell, job, report

SHORT, LONG = b"an answer", b"a long answer " * 200
#: Milliseconds: for how long news can be followed, and a record can be read.
FOLLOWED, RECORDED = 60_000, 600_000


def finish(cell: Cell, attempt: Any, answer: bytes, verdict: str = "completed") -> str:
    end = Finish(attempt, verdict, report(attempt), answer)
    return cell.attempts().finish([end])[0][0]


def begun(cell: Cell, reply: str | None = "inbox", **fields: Any) -> Any:
    cell.join()
    return cell.begun(job(**fields), reply=reply)


def heard(cell: Cell, reply: str = "inbox") -> list[Notice]:
    return cell.results.follow(reply, "", 0)[1]


def left(cell: Cell, key: str) -> int:
    """Return how long a key is kept, in ms; -2 if it is not there."""
    return int(cell.link.call("PTTL", key))


def kept(cell: Cell) -> int:
    """Return how long the answer is kept."""
    return left(cell, cell.keys.answer("j1"))


def apart(cell: Cell) -> None:
    """Let records be read for longer than news can be followed."""
    cell.limits = replace(cell.limits, out_ttl_ms=FOLLOWED, record_ttl_ms=RECORDED)


@pytest.mark.parametrize("answer", [SHORT, LONG])
def test_an_answer_is_told_just_before_the_end_and_once(cell: Cell, answer: bytes) -> None:
    attempt = begun(cell)
    for word in ("ok", "again"):
        assert finish(cell, attempt, answer) == word
    assert [(n.word, n.data) for n in heard(cell)][:1] == [("answer", answer)]
    again = heard(cell)  # the reply may have been lost: reading takes nothing away
    assert [n.word for n in again] == ["answer", "completed"]
    assert [end.answer for end in Completion.told(again)] == [answer]
    assert len(cell.link.call("XRANGE", cell.keys.out("inbox"), "-", "+")) == 1


@pytest.mark.parametrize("answer", [SHORT, LONG])
@pytest.mark.parametrize("keep", [False, True])
def test_an_answer_that_was_taken_goes_with_the_next_read_unless_it_is_to_be_kept(
    cell: Cell, answer: bytes, keep: bool
) -> None:
    assert finish(cell, begun(cell, keep=keep), answer) == "ok"
    cursor, notices = cell.results.follow("inbox", "", 0)
    taken = [notice.job_id for notice in notices if notice.apart]
    assert taken == (["j1"] if answer is LONG and not keep else [])
    assert (kept(cell) > 0) == (keep or answer is LONG)
    cell.results.follow("inbox", cursor, 0, taken=taken)
    assert (kept(cell) > 0) == keep


def test_a_long_answer_that_nobody_reads_goes_with_the_stream(cell: Cell) -> None:
    apart(cell)
    assert finish(cell, begun(cell), LONG) == "ok"
    assert 0 < kept(cell) <= FOLLOWED
    assert 0 < left(cell, cell.keys.out("inbox")) <= FOLLOWED < left(cell, cell.keys.job("j1"))


@pytest.mark.parametrize("answer", [SHORT, LONG])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("reply", ["inbox", ""])
def test_what_is_to_be_kept_is_there_as_long_as_the_record(
    cell: Cell, answer: bytes, stream: bool, reply: str
) -> None:
    apart(cell)
    attempt = begun(cell, reply, keep=True, stream=stream)
    assert finish(cell, attempt, answer) == "ok"
    assert FOLLOWED < kept(cell) <= RECORDED
    assert FOLLOWED < left(cell, cell.keys.job("j1")) <= RECORDED
    told = heard(cell) if reply else []
    assert [n.data for n in told if n.word == "answer"] == ([] if stream or not reply else [answer])
    assert cell.results.answers(["j1", "j2"]) == [answer, None]  # reading takes nothing away
    assert kept(cell) > FOLLOWED


@pytest.mark.parametrize("fields", [{}, {"stream": True}])
def test_what_nobody_waits_for_and_nobody_keeps_is_stored_nowhere(
    cell: Cell, fields: dict[str, bool]
) -> None:
    attempt = begun(cell, "inbox" if fields else "", **fields)
    assert finish(cell, attempt, LONG) == "ok"
    assert kept(cell) == -2
    assert [n.word for n in heard(cell)] == (["completed"] if fields else [])


@pytest.mark.parametrize("verdict", ["failed", "retry"])
def test_only_a_job_that_completed_has_an_answer(cell: Cell, verdict: str) -> None:
    finish(cell, begun(cell, keep=True), LONG, verdict)
    assert kept(cell) == -2
    assert "answer" not in [n.word for n in heard(cell)]


def test_the_answer_of_who_comes_too_late_is_told_to_nobody(cell: Cell) -> None:
    first, second = cell.doubled(job(keep=True))
    end = Finish(second, "completed", report(second, "w2"), b"of the second")
    assert cell.attempts("w2").finish([end])[0][0] == "ok"
    assert finish(cell, first, b"of the first") == "late"
    assert cell.results.answers(["j1"]) == [b"of the second"]


@pytest.mark.dear
def test_what_belongs_together_is_told_in_one_entry(cell: Cell) -> None:
    """An entry has room for a hundred words: of an answer and its end none has only one."""
    cell.join()
    attempts = []
    for n in range(99):
        attempts.append(cell.begun(job(f"j{n}"), reply="inbox"))
        cell.link.call("DEL", cell.keys.work("w1"))
    ends = [
        Finish(a, "completed", report(a), b"" if n % 3 else SHORT) for n, a in enumerate(attempts)
    ]
    assert {word for word, _ in cell.attempts().finish(ends)} == {"ok"}
    entries = cell.link.call("XRANGE", cell.keys.out("inbox"), "-", "+")
    assert len(entries) == 2
    for _, fields in entries:
        words = [text.partition(b" ")[0] for text in fields[1::2]]
        assert words[-1] == b"completed"
        assert words[0] != b"completed" or fields[0] != b"j0"
    assert len(Completion.told(heard(cell))) == 99


# -- pieces --------------------------------------------------------------------------------------


def test_pieces_come_in_order_with_any_bytes(cell: Cell) -> None:
    attempt = begun(cell, None, stream=True)
    parts = [b"one", b" two \x00\xff", b"", b"\r\n\r\n"]
    chunks = [Chunk(attempt, n, part) for n, part in enumerate(parts)]
    assert cell.attempts().relay(chunks[:1]) == ["ok"]
    assert cell.attempts().relay(chunks[1:]) == ["ok"] * 3
    assert [n.piece for n in heard(cell, "j1")] == [
        Piece(1, n, part) for n, part in enumerate(parts)
    ]
    assert cell.link.call("PTTL", cell.keys.out("j1")) > 0


def test_a_job_of_its_own_stream_has_each_piece_once_named_by_attempt_and_place(
    cell: Cell,
) -> None:
    attempt = begun(cell, None, stream=True)
    chunks = [Chunk(attempt, n, b"x") for n in range(3)]
    for some in (chunks[:2], chunks[:2], chunks):
        cell.attempts().relay(some)
    finish(cell, attempt, b"xxx")
    entries = [entry for entry, _ in cell.link.call("XRANGE", cell.keys.out("j1"), "-", "+")]
    assert entries[:3] == [b"1-1", b"1-2", b"1-3"]
    assert [n.word for n in heard(cell, "j1")] == ["chunk"] * 3 + ["completed"]


def test_a_stream_that_holds_something_else_takes_pieces_all_the_same(cell: Cell) -> None:
    attempt = begun(cell, None, stream=True)
    cell.attempts().progress([(attempt, "first", 1)])
    cell.attempts().relay([Chunk(attempt, n, b"x") for n in range(2)])
    assert [n.word for n in heard(cell, "j1")] == ["first", "chunk", "chunk"]


def test_an_inbox_gets_one_entry_of_all_jobs_and_its_reader_drops_what_is_sent_twice(
    cell: Cell,
) -> None:
    cell.join()
    attempts = [cell.begun(job(f"j{n}", stream=True), reply="inbox") for n in range(2)]
    chunks = [Chunk(a, n, b"%d" % n) for n in range(2) for a in attempts]
    for _ in range(2):  # the first reply was lost
        assert cell.attempts().relay(chunks) == ["ok"] * 4
    assert len(cell.link.call("XRANGE", cell.keys.out("inbox"), "-", "+")) == 2
    for name in ("j0", "j1"):
        order = InOrder()
        read = [order.take(n.piece) for n in heard(cell) if n.job_id == name]
        assert read == [b"0", b"1", None, None]


def test_the_scheduler_is_told_that_an_attempt_began_by_its_first_piece(cell: Cell) -> None:
    attempt = begun(cell, stream=True)
    for n in (0, 0, 1):
        cell.attempts().relay([Chunk(attempt, n, b"x")])
    assert cell.events() == ["j1 began"]


def test_of_what_nobody_waits_for_the_first_piece_claims_and_nothing_is_stored(cell: Cell) -> None:
    attempt = begun(cell, "", stream=True)
    assert cell.attempts().relay([Chunk(attempt, 0, b"x")]) == ["ok"]
    assert not [key for key in cell.link.call("KEYS", "*") if b"out:" in key]


def test_many_pieces_go_in_parts_of_bounded_size() -> None:
    attempt: Any = None
    chunks = [Chunk(attempt, n, b"x" * (400_000 if n % 2 else 3_000_000)) for n in range(4)]
    sizes = [[chunk.sequence for chunk in some] for some in pages_of(chunks)]
    assert sizes == [[0], [1], [2], [3]]
    small = [Chunk(attempt, n, b"x") for n in range(1000)]
    assert [len(some) for some in pages_of(small)] == [1000]
    assert list(pages_of([])) == []


def test_one_call_sends_all_pieces_and_asks_once_for_each_attempt(cell: Cell) -> None:
    attempt = begun(cell, stream=True)
    call = relay_call(cell.keys, cell.limits, "w1", [Chunk(attempt, n, b"x") for n in range(9)])
    assert len(call.keys) == 3  # events, whom to tell, and the job
    assert cell.link.do(call) == ["ok"] * 9


@pytest.mark.parametrize("piece", [Piece(2, 1, b""), Piece(1, 2, b""), Piece(2, 5, b"")])
def test_a_gap_or_another_attempt_is_an_error_to_the_reader(piece: Piece) -> None:
    order = InOrder()
    assert order.take(Piece(1, 0, b"a")) == b"a"
    with pytest.raises(BrokenAnswer):
        order.take(piece)


def test_what_begins_in_the_middle_is_an_error_too() -> None:
    with pytest.raises(BrokenAnswer):
        InOrder().take(Piece(1, 1, b"b"))


@pytest.mark.parametrize(
    "text", [b"", b"1", b"1 2", b"x 0 data", b"1 -1 data", b"1 99999999999999999 d"]
)
def test_junk_is_no_piece(text: bytes) -> None:
    with pytest.raises(InvalidInput):
        decode_piece(text)


# -- bodies --------------------------------------------------------------------------------------


def test_whoever_begins_is_given_the_body_of_that_job_and_no_other(cell: Cell) -> None:
    cell.join()
    bodies = {"j0": b"of j0", "j2": b"of j2 \x00"}
    jobs = [job(f"j{n}", stream=n == 2, keep=n == 1) for n in range(3)]
    for one, receipt in zip(jobs, cell.intake.submit(jobs, "", bodies), strict=True):
        assert cell.route(one, receipt.detail, cell.lead()) == "ok"
    held = [decode_assignment(entry) for entry in cell.entries()]
    running, *_ = cell.attempts().begin(held, with_bodies=True)
    assert [a.body for a in running] == [b"of j0", b"", b"of j2 \x00"]
    assert [(a.stream, a.keep) for a in running] == [(False, False), (False, True), (True, False)]
