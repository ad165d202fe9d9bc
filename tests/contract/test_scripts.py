"""Every answer word of every script, each asked for twice: the second call answers like the first.

A lost reply makes the client send a script again, so an answer that changes on repetition is a bug
even if nobody lost a reply yet. The scenes are in `scenes/`, a file for each family of scripts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.resources import files

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.link.scripts import names
from tests.contract.conftest import Cell, job
from tests.contract.scenes.every import REPEATS, SCENES, SECOND_ONLY


@pytest.mark.parametrize(("name", "word"), sorted(set(SCENES) - SECOND_ONLY))
@pytest.mark.sampled(35)
def test_script_answers_and_answers_the_same_again(cell: Cell, name: str, word: str) -> None:
    ask = SCENES[name, word](cell)
    assert ask() == word
    assert ask() == REPEATS.get((name, word), word)


@pytest.mark.parametrize(("name", "word"), sorted(SECOND_ONLY))
def test_words_that_answer_a_repetition(cell: Cell, name: str, word: str) -> None:
    ask = SCENES[name, word](cell)
    ask()
    assert ask() == word


def test_every_word_in_every_header_has_a_scene() -> None:
    documented = set()
    for name in names():
        text = (files("parallax.broker") / "lua" / f"{name}.lua").read_text()
        header = re.search(r"^-- REPLY(.*?)\n(?!--  )", text, re.MULTILINE | re.DOTALL)
        assert header, f"{name}.lua does not say what it replies"
        reply = re.sub(r"\n--", " ", header.group(1))
        for group in re.findall(r"\(([^)]*)\)", reply) or [reply]:
            documented |= {(name, part.split()[0]) for part in group.split("|")}
        documented |= {(name, word) for word in re.findall(r"\b(fenced|alive)\b", reply)}
    assert documented - set(SCENES) == set()
    assert set(SCENES) - documented == set()


def test_a_link_sends_the_script_again_when_the_cache_was_flushed(
    connect: Callable[[], Link], cell: Cell
) -> None:
    cell.submit(job("a"))
    cell.link.call("SCRIPT", "FLUSH")
    assert [receipt.word for receipt in cell.submit(job("b"))] == ["ok"]
