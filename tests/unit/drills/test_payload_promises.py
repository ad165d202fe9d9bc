"""The promises about bodies and answers: for each there is evidence that breaks it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from parallax.broker.store.results import Notice
from parallax.core.digests import digest_of
from parallax.core.lifecycle import State
from parallax.drills.bodies import Bodies
from parallax.drills.evidence import Evidence
from parallax.drills.hearing import Heard, Hearing
from parallax.drills.invariants import violations
from tests.unit.drills.test_invariants import GOOD, PAYLOADS, line, record


def heard(*pieces: str, attempt: int = 1) -> Heard:
    """Return what was heard of a stream, a letter for each piece."""
    found = Heard()
    for n, piece in enumerate(pieces):
        found.take(Notice("j1", "chunk", f"{attempt} {n} {piece}".encode()))
    return found


def pieces(*letters: str, **fields: Any) -> list[dict[str, Any]]:
    return [
        line("relayed", sequence=n, piece=digest_of(letter.encode()), **fields)
        for n, letter in enumerate(letters)
    ]


ENDS = [x for x in GOOD.lines if x["what"] != "asked"]
#: One job with a body and an answer that is kept.
WHOLE = replace(
    GOOD,
    bodies={"j1": "b0d7"},
    answers={"j1": "a05e"},
    kept={"j1": "a05e"},
    lines=[
        *(x for x in ENDS if x["what"] != "began"),
        line("began", bytes=7, body="b0d7"),
        line("asked", verdict="completed", tokens=7, answer="a05e"),
    ],
)
#: One job that streamed.
STREAM = replace(
    GOOD, streams=frozenset({"j1"}), pieces={"j1": heard("a", "b")},
    lines=[*GOOD.lines, *pieces("a", "b")],
)  # fmt: skip


def began(**fields: Any) -> Evidence:
    return replace(WHOLE, lines=[*WHOLE.lines, line("began", **fields)])


BROKEN: list[tuple[str, Callable[[], Evidence]]] = [
    ("I21", lambda: began(bytes=7, body="another")),
    ("I21", lambda: began(bytes=0)),
    ("I22", lambda: replace(WHOLE, answers={"j1": "another"})),
    ("I22", lambda: replace(WHOLE, answers={"j1": ""})),
    ("I22", lambda: replace(WHOLE, answers={})),
    ("I22", lambda: replace(WHOLE, kept={"j1": "another"})),
    ("I22", lambda: replace(WHOLE, kept={"j1": ""})),
    ("I22", lambda: replace(STREAM, answers={"j1": "a05e"})),
    ("I22", lambda: replace(WHOLE, records={"j1": record(state=State.FAILED)})),
    ("I23", lambda: replace(STREAM, pieces={"j1": heard("a")})),
    ("I23", lambda: replace(STREAM, pieces={})),
    ("I23", lambda: replace(STREAM, pieces={"j1": heard("b", "a")})),
    ("I23", lambda: replace(STREAM, pieces={"j1": heard("a", "b", "c")})),
    ("I23", lambda: replace(STREAM, pieces={"j1": heard("a", "b", attempt=2)})),
    ("I23", lambda: replace(STREAM, pieces={"j1": Heard(wrong="part 3 came where 2 was due")})),
]


@pytest.mark.parametrize("good", [WHOLE, STREAM])
def test_good_evidence_breaks_nothing(good: Evidence) -> None:
    assert violations(good) == {}


@pytest.mark.parametrize(("name", "spoil"), BROKEN)
def test_evidence_that_breaks_a_promise_is_seen(name: str, spoil: Callable[[], Evidence]) -> None:
    assert name in violations(spoil())


def test_every_promise_can_be_broken() -> None:
    assert {name for name, _ in BROKEN} == PAYLOADS


@pytest.mark.parametrize("spoil", [
    lambda: replace(STREAM, pieces={"j1": heard("a")}, records={"j1": record(state=State.FAILED)}),
    lambda: replace(STREAM, lines=[*STREAM.lines, *pieces("x", worker="w2")]),
    lambda: replace(STREAM, streams=frozenset({"j1"}), pieces={}, lines=GOOD.lines),
    lambda: began(bytes=7),
])  # fmt: skip
def test_what_breaks_off_or_says_nothing_breaks_nothing(spoil: Callable[[], Evidence]) -> None:
    assert not violations(spoil()).keys() & PAYLOADS


def test_damaged_jobs_are_left_out() -> None:
    left = replace(WHOLE, answers={"j1": "another"}, pieces={"j1": heard("x")}).without({"j1"})
    for some in (left.answers, left.kept, left.bodies, left.pieces):
        assert not some


def test_pieces_are_heard_once_each_and_a_gap_is_noted() -> None:
    hearing = Hearing()
    told = [Notice("j1", "chunk", data) for data in (b"1 0 a", b"1 0 a", b"1 1 b", b"1 3 d")]
    hearing.hear([*told, Notice("odd", "chunk", b"1 0 a"), Notice("j1", "completed", b"")], {"j1"})
    assert hearing.streams["j1"].pieces == [digest_of(b"a"), digest_of(b"b")]
    assert "part 3" in hearing.streams["j1"].wrong
    assert (hearing.told["j1"], set(hearing.streams)) == (1, {"j1"})


def test_bodies_are_chats_of_the_length_that_was_drawn() -> None:
    bodies, random = Bodies(), Random(1)
    made = [f"j{n}" for n in range(200) if bodies.make(f"j{n}", random, 100_000, 0.3)]
    assert 60 < len(made) < 140
    for name in made:
        body = bodies.of(name)
        assert len(body) == bodies.lengths[name]
        assert json.loads(body)["messages"][0]["role"] == "user"
    assert bodies.of("never") == b""
