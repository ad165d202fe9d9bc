"""What workers tell is a closed list of words, and each text of an entry is read by itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from parallax.broker.store.codec import Report, encode
from parallax.broker.store.dispatch import Entry
from parallax.core.lifecycle import ENDS, Outcome, Told
from parallax.scheduling.events import (
    AttemptBegan,
    AttemptEnded,
    AttemptMoved,
    JobWithdrawn,
    PrefillEnded,
)
from parallax.services.inbox import reports

REPORT = encode(Report("acme", "w1", 2, 10.0, 5, 7))
LUA = Path(__file__).parents[3] / "parallax/broker/lua"


def read(*fields: bytes) -> tuple[list[object], str]:
    """Return the events of an entry, and what is wrong with it."""
    told, junk = reports(Entry("1-0", fields))
    return [event for event, _ in told], " ".join(junk)


@pytest.mark.parametrize("word", ENDS)
def test_every_end_is_understood(word: Told) -> None:
    (event,), wrong = read(b"j1", word.encode() + b" " + REPORT)
    assert isinstance(event, AttemptEnded)
    assert (event.outcome, event.estimate, wrong) == (ENDS[word], 10.0, "")


def test_what_is_no_end_is_understood() -> None:
    events, wrong = read(
        b"j1", b"withdrawn ", b"j2", b"stolen w2", b"j3", b"began w1 1",
        b"j4", b'prefilled ["acme","w1",1]', b"j5", b"reclaimed completed " + REPORT,
    )  # fmt: skip
    assert wrong == ""
    assert events[:4] == [
        JobWithdrawn("j1"), AttemptMoved("j2", "w2"), AttemptBegan("j3", "w1", 1),
        PrefillEnded("j4", "w1", 1),
    ]  # fmt: skip
    assert isinstance(events[4], AttemptEnded)
    assert (events[4].outcome, events[4].estimate) == (Outcome.COMPLETED, 10.0)


@pytest.mark.parametrize(
    "word", [b"", b"finished", b"COMPLETED", b"rejected", b"cancelled", b"reclaimed began",
             b"reclaimed", b"kept", b"\xff"],
)  # fmt: skip
def test_an_unknown_word_settles_nothing(word: bytes) -> None:
    events, wrong = read(b"j1", word + b" " + REPORT)
    assert events == []
    assert "event" in wrong
    assert "completed" in wrong, "what is allowed is said"


@pytest.mark.parametrize(
    "report", [b'["","w1",1,10.0]', b'["acme","",1,10.0]', b'["acme","w 1",1,10.0]', b"[]"]
)
def test_an_end_says_whose_it_is_and_who_made_it(report: bytes) -> None:
    events, wrong = read(b"j1", b"completed " + report)
    assert events == []
    assert "report" in wrong


@pytest.mark.parametrize("junk", [b"nonsense", b"began w1 x", b"stolen \xff", b"completed [NaN]"])
def test_junk_takes_no_neighbour_with_it(junk: bytes) -> None:
    good = b"completed " + REPORT
    events, wrong = read(b"j1", good, b"j2", junk, b"{}", good, b"j4", good)
    assert [getattr(event, "job_id", "") for event in events] == ["j1", "j4"]
    assert wrong
    events, wrong = read(b"j1", good, b"alone")
    assert len(events) == 1
    assert "pairs" in wrong


def test_whatever_scripts_write_into_events_is_on_the_list() -> None:
    words = {word.value for word in Told} | {"kept"}  # `kept` is told as `prefilled`
    for script in LUA.glob("*.lua"):
        for text in re.findall(r"events\[#events \+ \d\] =? ?(.*)", script.read_text()):
            for said in re.findall(r"'([a-z]+) ?[^']*'", text):
                assert said in words, (script.name, said)
