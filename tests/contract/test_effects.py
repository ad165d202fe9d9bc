"""Every scene of every script, and larger ones: what exactly does it write, and what once more?

An answer says what a script means to have done; here is what it did. `effects.json` holds it for
each scene: a write that is dropped, a field with another's value, a time to live that is missing or
something told twice is a difference. After a change that is meant, write it anew and read the diff:

    PARALLAX_EFFECTS=write python -m pytest tests/contract/test_effects.py
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path

import pytest

from tests.contract.conftest import Cell
from tests.contract.effects import difference, stored, told
from tests.contract.scenes.every import EVERY

FILE = Path(__file__).with_name("effects.json")
WRITES = os.environ.get("PARALLAX_EFFECTS") == "write"
Effects = dict[str, dict[str, dict[str, list[str]]]]


@cache
def known() -> Effects:
    found: Effects = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    return found


@pytest.mark.sampled(50)
@pytest.mark.parametrize("name", sorted(EVERY))
def test_a_script_writes_this_and_nothing_else_and_once(cell: Cell, name: str) -> None:
    ask = EVERY[name](cell)
    before = stored(cell.link)
    answers = {"answer": [told(ask())]}
    between = stored(cell.link)
    found = {
        "once": answers | difference(before, between),
        "and again": {"answer": [told(ask())]} | difference(between, stored(cell.link)),
    }
    if WRITES:
        text = json.dumps(known() | {name: found}, indent=1, sort_keys=True)
        FILE.write_text(text + "\n", encoding="utf-8")
        known.cache_clear()
    assert found == known()[name]


#: Hints that may be given twice, and what is counted each time somebody comes too late.
REPEATED = {
    "finish late", "finish stale", "repair vanished", "stop ok", "stop of two attempts",
    "relay ok", "relay of two jobs to an inbox",
    "progress ok", "progress of one that is watched, and of one that is not",
    "repair of what is there: waiting, running, computed",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(EVERY.keys() - REPEATED))
def test_asked_for_once_more_it_changes_nothing(name: str) -> None:
    assert known()[name]["and again"].keys() == {"answer"}


def test_every_scene_is_known_and_no_other() -> None:
    assert known().keys() == EVERY.keys()


def test_a_difference_says_what_went_and_what_came(cell: Cell) -> None:
    cell.link.call("SET", "{x}a", "1", "PX", 60_000)
    cell.link.call("XADD", "{x}s", "*", "j", "x")
    before = stored(cell.link)
    cell.link.call("PERSIST", "{x}a")
    cell.link.call("XADD", "{x}s", "*", "j", "x")
    cell.link.call("SADD", "{x}c", "2")
    assert difference(before, stored(cell.link)) == {
        "{x}a": ["- string, for a while", "+ string, for ever"],
        "{x}c": ["+ set, for ever", "+ 2"],
        "{x}s": ["+ j x"],
    }
    assert difference(before, before) == {}
