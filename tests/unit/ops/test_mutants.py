"""The planted bugs fit the source as it is: else they would plant nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.mutants.payloads import PAYLOADS
from ops.mutants.planted import MUTANTS, Mutant

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("mutant", [*MUTANTS, *PAYLOADS], ids=lambda mutant: mutant.name)
def test_a_planted_bug_changes_one_place(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text(encoding="utf-8")
    assert text.count(mutant.old) == 1
    assert mutant.new != mutant.old


def test_there_are_enough_of_them_over_every_script_that_moves_a_job() -> None:
    assert len(MUTANTS) >= 20
    touched = {Path(mutant.file).stem for mutant in MUTANTS}
    moving = {"submit", "route", "begin", "finish", "terminate", "reclaim", "repair", "steal"}
    assert moving <= touched
