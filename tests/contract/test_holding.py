"""Who holds a job: Python and the scripts read the same out of a record."""

from __future__ import annotations

from importlib.resources import files

import pytest

from parallax.broker.store.attempts import decode_assignment
from parallax.broker.store.holding import SYSTEM, Holding, decode_holding, signature_of
from parallax.core.lifecycle import State
from tests.contract.conftest import Cell, job

#: Runs `parsed` and `split`, with '' for what they do not return.
READ = """
local state, holder, started = parsed(ARGV[1])
local who, attempt, entry = split(holder)
return {state or '', who or '', attempt or '', entry or '', started or ''}
"""
KNOWN = [
    (b"queued queue/0/1-2", Holding(State.QUEUED, "queue", 0, "1-2")),
    (b"assigned w1/2/1-2", Holding(State.ASSIGNED, "w1", 2, "1-2")),
    (b"running w-1.a/2/1-2 1500", Holding(State.RUNNING, "w-1.a", 2, "1-2", 1.5)),
    (b"prefilled w1/1/1-2 1500", Holding(State.PREFILLED, "w1", 1, "1-2", 1.5)),
    (b"completed w1/1/1-2 1500 2500", Holding(State.COMPLETED, "w1", 1, "1-2", 1.5, 2.5)),
    (b"completed w1/1/1-2 0 2500", Holding(State.COMPLETED, "w1", 1, "1-2", None, 2.5)),
]
JUNK = [
    b"", b"queued", b"queued queue", b"queued queue/0", b"queued queue/x/1-2", b"queued queue/0/1",
    b"running \xff/1/1-2 5", b"7 w1/1/1-2", b"assigned w1/1/1-2" * 2,
]  # fmt: skip


def lua_reads(cell: Cell, text: bytes) -> list[bytes]:
    common = (files("parallax.broker") / "lua" / "common.lua").read_text()
    found: list[bytes] = cell.link.call("EVAL", common + READ, 0, text)
    return found


@pytest.mark.parametrize(("text", "holding"), KNOWN)
def test_both_read_the_same(cell: Cell, text: bytes, holding: Holding) -> None:
    assert decode_holding(text) == holding
    state, who, attempt, entry, started = (part.decode() for part in lua_reads(cell, text))
    assert (state, signature_of(who, attempt, entry)) == (holding.state, holding.signature)
    assert int(started or 0) / 1000 == (holding.started or 0)


def test_what_no_worker_ended_is_held_by_the_system(cell: Cell) -> None:
    text = b"cancelled system 1500 2500"
    assert decode_holding(text) == Holding(State.CANCELLED, SYSTEM, 0, "", 1.5, 2.5)
    assert lua_reads(cell, text) == [b"cancelled", b"", b"", b"", b"1500"]


@pytest.mark.parametrize("text", JUNK)
def test_neither_takes_junk_for_a_holder(cell: Cell, text: bytes) -> None:
    assert decode_holding(text) is None
    assert lua_reads(cell, text)[1] == b"" or b"\xff" in text or text.count(b"w1") == 2


@pytest.mark.parametrize("text", [None, b"over w1/1/1-2", b"unheard w1/1/1-2"])
def test_what_is_over_or_unheard_of_is_held_by_nobody(text: bytes | None) -> None:
    assert decode_holding(text) is None


def test_who_holds_a_job_is_a_worker_or_none() -> None:
    held = {text: decode_holding(text) for text, _ in KNOWN}
    assert [one.worker for one in held.values() if one] == ["", "w1", "w-1.a", "w1", "w1", "w1"]
    assert [one.is_over for one in held.values() if one] == [False] * 4 + [True] * 2


def test_an_attempt_shows_what_its_record_says(cell: Cell) -> None:
    cell.join()
    cell.assigned(job())
    assignment = decode_assignment(cell.entries()[0])
    holding = decode_holding(cell.link.call("HGET", cell.keys.job("j1"), "at"))
    assert holding is not None
    assert holding.signature == assignment.signature("w1")
