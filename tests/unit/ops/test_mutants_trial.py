"""What counts as caught: a named test that failed; and what is believed of an earlier run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ops.mutants.planted import Mutant
from ops.mutants.record import Record
from ops.mutants.trial import Run, Verdict

MUTANT = Mutant("a bug", "source.py", "good", "bad", "a promise")
SEEN = Verdict(MUTANT, True, "test_it.py::test_it[a b]")


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("FAILED tests/a.py::test_x - assert 1 == 2", "tests/a.py::test_x"),
        ("FAILED tests/a.py::test_x", "tests/a.py::test_x"),
        ("FAILED tests/a.py::test_x[b c, d] - assert [1] == [2]", "tests/a.py::test_x[b c, d]"),
        ("FAILED tests/a.py::test_x[b of c]", "tests/a.py::test_x[b of c]"),
        ("ERROR tests/a.py - SyntaxError", "tests/a.py"),
        ("1 failed, FAILED is not its first word", ""),
    ],
)  # fmt: skip
def test_a_test_that_failed_is_named_with_its_parameters(line: str, name: str) -> None:
    assert Run(1, f"....F\n{line}\n1 failed").test == name


@pytest.mark.parametrize(
    ("code", "failed"), [(0, False), (1, True), (2, True), (5, False), (-1, False)]
)
def test_what_passed_or_was_not_done_in_time_has_seen_nothing(code: int, failed: bool) -> None:
    assert Run(code, "").failed == failed


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "source.py").write_text("good")
    (tmp_path / "test_it.py").write_text("assert good")
    Record(tmp_path / "record", tmp_path).add(SEEN)
    return tmp_path


def known(root: Path, mutant: Mutant = MUTANT) -> Verdict | None:
    return Record(root / "record", root).caught(mutant)


def test_what_was_caught_is_not_tried_again(root: Path) -> None:
    assert known(root) == SEEN


@pytest.mark.parametrize("file", ["source.py", "test_it.py"])
def test_it_is_when_its_file_or_its_test_is_another(root: Path, file: str) -> None:
    (root / file).write_text("changed")
    assert known(root) is None


@pytest.mark.parametrize("field", ["old", "new"])
def test_it_is_when_the_bug_is_another(root: Path, field: str) -> None:
    assert known(root, replace(MUTANT, **{field: "changed"})) is None


def test_what_lived_is_tried_again(root: Path) -> None:
    (root / "record").unlink()
    Record(root / "record", root).add(Verdict(MUTANT, False, ""))
    assert known(root) is None


def test_without_a_file_nothing_is_kept(root: Path) -> None:
    record = Record(None, root)
    record.add(SEEN)
    assert record.caught(MUTANT) is None
