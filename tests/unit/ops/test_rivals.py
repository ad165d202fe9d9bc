"""The bench of rivals: who is first, what is halved, which fleets, and cells that stay."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from ops.bench import rivals
from ops.bench.contests import FLEETS, MODELS, SHOWN, Contest, Measured, critical, model_of
from ops.bench.entrants import CONSTANTS, DEFAULT, ENTRANTS
from parallax.core.model import Job
from parallax.core.settings import Policies
from parallax.policies.registry import ROUTING
from parallax.scheduling.scheduler import build_scheduler
from parallax.sim.spec import FleetSpec, WorkloadSpec

SMALL = Contest("small", WorkloadSpec("load.toml"), FleetSpec(4, "laptop"), 1.0, 0.5, (0.1, 10.0))


def seeds(*goodput: float) -> list[Measured]:
    """Return runs of these goodputs."""
    nothing: Measured = dict.fromkeys(SHOWN, 0.0)
    return [{**nothing, "goodput": value} for value in goodput]


def test_the_default_is_first_or_tied_unless_another_is_better_for_certain() -> None:
    mine = seeds(0.90, 0.95, 0.92)
    assert rivals.first_or_tied({DEFAULT: mine, "worse": seeds(0.8, 0.9, 0.85)})
    assert rivals.first_or_tied({DEFAULT: mine, "lucky": seeds(0.99, 0.95, 0.90)})
    assert not rivals.first_or_tied({DEFAULT: mine, "better": seeds(0.91, 0.96, 0.93)})
    assert rivals.ahead({DEFAULT: mine, "better": seeds(0.91, 0.96, 0.93)}).keys() == {"better"}


def test_a_lead_counts_only_over_seeds_that_both_have() -> None:
    runs = {DEFAULT: seeds(0.9, 0.1), "one": seeds(0.9)}
    assert rivals.first_or_tied(runs)


@pytest.mark.parametrize("group", ENTRANTS)
def test_every_entrant_can_be_built(group: str) -> None:
    assert ENTRANTS[group][DEFAULT] == Policies()
    for policies in ENTRANTS[group].values():
        build_scheduler(policies, 0)


def test_each_constant_is_halved_and_doubled_and_there_is_no_other() -> None:
    built = ROUTING.build("kv_locality", {})
    entrants = ENTRANTS["constants"]
    assert set(CONSTANTS) == set(ROUTING.parameters("kv_locality")) - {"blocks", "load"}
    for name in CONSTANTS:
        value = getattr(built, name)
        changed = [entrants[f"{name} {word}"].routing.parameters for word in ("half", "double")]
        assert changed == [{name: value / 2}, {name: value * 2}]


def test_fleets_differ_as_they_say() -> None:
    def spec(name: str) -> object:
        return FLEETS[name](SMALL).spec(Policies(), 1.0, 0)

    assert spec("equal") == replace(SMALL.spec(Policies(), 1.0, 0))
    faults = FLEETS["speeds"](SMALL).spec(Policies(), 1.0, 0).faults
    assert [(one.worker, one.factor, one.at_s) for one in faults] == [
        ("w0000", 2.0, 0.0), ("w0002", 2.0, 0.0),
    ]  # fmt: skip
    assert FLEETS["wide"](SMALL).fleet.workers == 16
    assert FLEETS["pools"](SMALL).fleet.prefill_workers == 1
    assert FLEETS["models"](SMALL).fleet.models_of(1) == (MODELS[1],)
    assert FLEETS["stragglers"](SMALL).fleet.straggler_share > 0.0


def test_jobs_that_share_a_prefix_share_a_model() -> None:
    one = Job("a", prefix=(1, 2), prompt_tokens=40, max_tokens=1)
    other = Job("b", prefix=(1, 3), prompt_tokens=40, max_tokens=1)
    assert model_of(one) == model_of(other)
    tenants = {model_of(Job("j", f"t{n}", 1, 1)) for n in range(20)}
    assert tenants == set(MODELS)


LOAD = 'kind = "singles"\nprompt = { mean = 300 }\nstages = [{ rate = 5.0, seconds = 4.0 }]\n'


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Contest:
    """Return a contest that costs little, and make it the only one."""
    file = tmp_path / "load.toml"
    file.write_text(LOAD)
    contest = replace(SMALL, workload=WorkloadSpec(str(file), limit=20))
    monkeypatch.setattr(rivals, "contests", lambda *_: [contest])
    return contest


def test_deadlines_and_models_reach_the_jobs(small: Contest) -> None:
    due = replace(FLEETS["models"](small), due=True)
    jobs = [job for _, job in due.jobs(due.spec(Policies(), 1.0, 0))]
    assert {job.model for job in jobs} <= set(MODELS)
    assert len({job.deadline_s for job in jobs}) == 1
    assert all(job.deadline_s is None for _, job in small.jobs(small.spec(Policies(), 1.0, 0)))


def test_the_load_sought_is_where_the_goodput_falls(small: Contest) -> None:
    assert critical(small, Policies(), 1.1, 2) is None, "out of reach at any load"
    assert (critical(small, Policies(), -1.0, 3) or 0.0) > 3.0, "reached at every load"


def test_cells_that_are_done_stay_and_are_not_done_again(
    small: Contest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    played = rivals.played

    def counted(task: rivals.Task) -> Measured:
        asked.append(task[2])
        return played(task)

    monkeypatch.setattr(rivals, "played", counted)
    monkeypatch.setattr(rivals, "sought", lambda given: given[1])
    words = [str(tmp_path), "--jobs", "1", "--who", f"{DEFAULT},ray_pow2", "--load", "0.9,1.2x",
             "-o", str(tmp_path / "cells.json")]  # fmt: skip

    def run(*more: str) -> dict[str, dict[str, object]]:
        answer = CliRunner().invoke(rivals.main, [*words, *more], catch_exceptions=False)
        assert answer.exit_code == 0, answer.output
        found: dict[str, dict[str, object]] = json.loads(answer.output.splitlines()[-1])
        return found

    first = run("--seeds", "1")
    assert first.keys() == {"small, 0.9", "small, 1.2x"}
    assert first["small, 1.2x"]["load"] == pytest.approx(1.08)
    assert len(asked) == 4
    assert run("--seeds", "1") == first
    assert len(asked) == 4
    run("--seeds", "2")
    assert len(asked) == 8


def test_an_entrant_that_nobody_knows_is_refused(small: Contest, tmp_path: Path) -> None:
    answer = CliRunner().invoke(rivals.main, [str(tmp_path), "--who", "nobody"])
    assert answer.exit_code == 2
    assert "nobody" in answer.output
    assert "parallax" in answer.output
