"""Experiments: measured twice the same, checked so that they can fail, written as a whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from parallax.core.errors import InvalidInput
from parallax.sim.experiments import catalog, h08_stealing
from parallax.sim.experiments.experiment import Experiment, Finding, Measured, Verdict
from parallax.sim.experiments.page import files, number
from tests.unit.cli.invoking import Run


@pytest.mark.parametrize("name", catalog.names())
def test_every_experiment_says_what_it_is_about(name: str) -> None:
    found = catalog.experiment(name)
    assert found.name == name
    assert len(set(found.cases)) == len(found.cases) > 0
    assert min(map(len, (found.question, found.setup, found.theory, found.practice))) > 60


def test_an_unknown_experiment_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="h1, h2"):
        catalog.experiment("h99")


def test_a_finding_holds_within_its_bounds_and_never_without_a_number() -> None:
    assert Finding("x", 1.0, 0.5, 1.5).holds
    assert not Finding("x", 1.6, 0.5, 1.5).holds
    assert not Finding("x", float("nan"), 0.5, 1.5).holds
    assert Finding("x", 1.0, high=2.0).bounds == "≤ 2"


@pytest.mark.dear
def test_a_case_measured_twice_with_one_seed_is_the_same() -> None:
    case = ("bag", "", "half", 4)
    assert h08_stealing.measure(case, 1) == h08_stealing.measure(case, 1)
    assert h08_stealing.measure(case, 1) != h08_stealing.measure(case, 2)


def toy(low: float) -> Experiment:
    """An experiment that costs nothing."""
    return Experiment(
        "toy", "A toy", "Why?", "So.", "Thus.", "Hence.",
        cases=(("one", 1), ("two", 2)),
        measure=lambda case, seed: {"value": float(case[1]) + seed},
        judge=lambda measured: Verdict([Finding("mean", measured.mean("one", 1, of="value"), low)]),
        seeds=2,
    )  # fmt: skip


def test_figures_are_means_over_seeds_and_know_the_worst() -> None:
    measured = Measured()
    for seed in range(2):
        measured.add(("one", 1), {"value": 1.0 + seed})
    assert measured.mean("one", 1, of="value") == 1.5
    assert measured.worst("one", 1, of="value") == 2.0
    assert toy(1.0).judge(measured).holds
    assert not toy(2.0).judge(measured).holds


def test_a_page_shows_what_was_expected_and_what_was_not_met() -> None:
    measured = Measured()
    measured.add(("one", 1), {"value": 1.0})
    ((name, text),) = files(toy(2.0), toy(2.0).judge(measured), 1)
    assert name == "toy.md"
    assert "| mean | 1 | ≥ 2 | **no** |" in text
    assert all(word in text for word in ("Why?", "So.", "Thus.", "Hence.", "one seed"))


def test_numbers_are_written_as_people_do() -> None:
    assert [number(v) for v in (1234.5, 0.25, 0.0, 12.0, -0.001)] == [
        "1,234", "0.25", "0", "12", "-0.001",
    ]  # fmt: skip


@pytest.fixture
def only_a_toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "names", lambda: ["toy"])
    monkeypatch.setattr(catalog, "experiment", lambda _: toy(1.0))


@pytest.mark.usefixtures("only_a_toy")
def test_the_command_checks_writes_and_says_what_it_found(run: Run) -> None:
    answer = run("experiment", "run", "--jobs", "1", "-o", "out", "--json")
    assert answer.code == 0
    assert json.loads(answer.out)[0]["verdict"] == "holds"
    assert Path("out/toy.md").exists()
    assert "A toy" in run("experiment", "list").out


@pytest.mark.usefixtures("only_a_toy")
def test_a_number_that_is_not_as_expected_ends_with_3(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "experiment", lambda _: toy(9.0))
    answer = run("experiment", "run", "toy", "--jobs", "1")
    assert answer.code == 3
    assert "MISSES" in answer.out


@pytest.mark.parametrize("words", [["nonsense"], ["toy", "--seeds", "0"], ["toy", "--jobs", "-1"]])
def test_wrong_words_are_named(run: Run, words: list[str]) -> None:
    answer = run("experiment", "run", *words)
    assert answer.code == 2
    assert any(word in answer.err for word in words)
