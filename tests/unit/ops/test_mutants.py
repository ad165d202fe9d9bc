"""The planted bugs fit the source as it is: else they would plant nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.mutants.planted import Mutant
from ops.mutants.run import ALL

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("mutant", ALL, ids=lambda mutant: mutant.name)
@pytest.mark.sampled(60)
def test_a_planted_bug_changes_one_place(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text(encoding="utf-8")
    assert text.count(mutant.old) == 1
    assert mutant.new != mutant.old


def test_there_are_enough_of_them_over_every_script_that_moves_a_job() -> None:
    assert len(ALL) >= 150
    touched = {Path(mutant.file).stem for mutant in ALL}
    moving = {"submit", "route", "begin", "finish", "terminate", "reclaim", "repair", "steal"}
    deciding = {"worker", "outbox", "recoverer", "janitor", "takeover", "scheduler"}
    assert moving | deciding <= touched


def test_no_two_have_one_name() -> None:
    assert len({mutant.name for mutant in ALL}) == len(ALL)
