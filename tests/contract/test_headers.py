"""Every call fits what its script's header says: KEYS, ARGV and REPLY are documented as they are.

`conftest.py` looks at each call that any contract test makes (`calls_fit_their_headers`); here are
the grammar's own tests, and calls that must be found to be wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from importlib.resources import files

import pytest

from parallax.broker.link.call import Call
from parallax.broker.link.connection import Link
from parallax.broker.link.scripts import names
from parallax.broker.store.dispatch import Lease, route_call
from parallax.broker.store.intake import Ending, submit_call, terminate_call
from parallax.broker.store.keys import Keys
from parallax.broker.store.limits import Limits
from parallax.core.lifecycle import Outcome
from parallax.core.words import WORDS
from parallax.scheduling.actions import Dispatch
from tests.contract.conftest import Cell, job
from tests.contract.headers import FREE, SHAPES, Group, faults, header_of, parsed
from tests.contract.scenes.every import EVERY

KEYS = Keys("test")
SUBMIT = submit_call(KEYS, Limits(), [job("a"), job("b", "bert")], "", {"a": b"body"})
ROUTE = route_call(
    KEYS, Lease("l|1"), "1-1", [Dispatch("a", "acme", "1-0", "w1", 1, 2.5)], {"w1": 4},
    {"acme": 1.5},
)  # fmt: skip
END = terminate_call(KEYS, Limits(), [Ending("a", "acme", Outcome.CANCELLED)])


@pytest.mark.parametrize("name", names())
def test_every_header_says_what_keys_and_arguments_are(name: str) -> None:
    header = header_of(name)
    assert header.keys
    unknown = {one for one in header.names() if not one.endswith("#")} - SHAPES.keys() - FREE
    assert unknown == set(), "give them a shape in headers.py"


def test_a_header_is_read_as_it_stands() -> None:
    header = parsed("-- KEYS  work a/b | n x job\n--       | n x (x y), if flag is set\n"
                    "-- ARGV  n flag | n x (id out#)\n-- REPLY ok\n")  # fmt: skip
    assert header.keys == (
        Group("", ("work", "a/b"), None), Group("n", ("job",), None),
        Group("n", ("x", "y"), "flag is set"),
    )  # fmt: skip
    assert header.head == ("n", "flag")


@pytest.mark.parametrize("text", ["-- KEYS  a | n x (b\n-- ARGV  n\n", "-- ARGV  n\n"])
def test_what_is_no_header_is_told(text: str) -> None:
    with pytest.raises(AssertionError):
        parsed(text)


@pytest.mark.parametrize("call", [SUBMIT, ROUTE, END])
def test_calls_as_they_are_built_fit(call: Call[object]) -> None:
    assert faults(call) == []


@pytest.mark.parametrize(
    "wrong",
    [
        replace(SUBMIT, args=[*SUBMIT.args, "more"]),
        replace(SUBMIT, args=SUBMIT.args[:-1]),
        replace(SUBMIT, keys=SUBMIT.keys[:-1]),
        replace(SUBMIT, keys=[*SUBMIT.keys, KEYS.body("c")]),
        replace(SUBMIT, args=[*SUBMIT.args[:5], 0, *SUBMIT.args[6:]]),  # no bodies, it says
        replace(SUBMIT, keys=[KEYS.bell, *SUBMIT.keys[1:]]),
        replace(ROUTE, args=[ROUTE.args[0], "", *ROUTE.args[2:]]),
        replace(ROUTE, keys=[*ROUTE.keys[:-1], KEYS.job("b")]),  # of another job
        replace(ROUTE, args=[*ROUTE.args[:-4], 2, *ROUTE.args[-3:]]),  # worker 2 of 1
        replace(END, keys=[*END.keys[:8], KEYS.work("w9"), *END.keys[9:]]),
    ],
)
def test_a_call_that_does_not_fit_is_found(wrong: Call[object]) -> None:
    assert faults(wrong) != []


@pytest.mark.dear
def test_the_calls_of_every_scene_are_looked_at(
    cell: Cell, seen: set[str], connect: Callable[[], Link]
) -> None:
    for stage in EVERY.values():
        cell.link.call("FLUSHDB")
        cell.candidates.clear()
        stage(cell)()
    assert seen == set(names())


@pytest.mark.parametrize("name", names())
def test_the_words_of_a_reply_are_those_of_its_enum(name: str) -> None:
    assert documented(name) - {"fenced"} == set(WORDS[name]) - {"fenced"}


class Less(StrEnum):
    """Words of a script that has one more."""

    OK = "ok"


def test_a_word_that_no_enum_has_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WORDS, "route", Less)
    with pytest.raises(AssertionError):
        test_the_words_of_a_reply_are_those_of_its_enum("route")


def documented(name: str) -> set[str]:
    """Return the words that a script's header says it answers with."""
    text = (files("parallax.broker") / "lua" / f"{name}.lua").read_text()
    found = re.search(r"^-- REPLY(.*?)\n(?!--  )", text, re.MULTILINE | re.DOTALL)
    assert found, f"{name}.lua does not say what it replies"
    reply = re.sub(r"\n--", " ", found[1])
    words = {part.split()[0] for group in re.findall(r"\(([^)]*)\)", reply) or [reply]
             for part in group.split("|")}  # fmt: skip
    return words | set(re.findall(r"\b(fenced|alive)\b", reply))
