"""`parallax compare`: every combination once, kept when it is done, and fairly compared."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from parallax.core.errors import InvalidInput
from parallax.sim import simulate as simulation
from parallax.sim.outcome import JobOutcome, Run
from parallax.sim.spec import RunSpec
from tests.unit.cli.invoking import Answer
from tests.unit.cli.invoking import Run as Cli

TTFT_S = {"kv_locality": 0.2, "round_robin": 0.4, "power_of_two": 0.2}
WORDS = ["compare", "trace.csv", "-o", "out", "--jobs", "1"]


@pytest.fixture(autouse=True)
def trace(run: Cli) -> None:
    Path("trace.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0.0,100,10\n")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[RunSpec]]:
    """Return the specs that were run; the time to the first token depends on policy and seed."""
    specs: list[RunSpec] = []

    def simulate(spec: RunSpec) -> Run:
        specs.append(spec)
        first = TTFT_S[spec.policies.routing.name] + 0.01 * spec.seed
        job = JobOutcome("j0", "acme", "", 0.0, 100, "completed", 11, 0, 0.0, first, first + 1.0)
        return Run(spec.document(), [job], duration_s=2.0)

    monkeypatch.setattr(simulation, "simulate", simulate)
    yield specs
    assert not list(Path().rglob("*.tmp"))


def column(answer: Answer, name: str) -> dict[str, str]:
    """Return a column of the table that was printed: variant -> cell."""
    lines = [[c.strip() for c in line.split("  ") if c.strip()] for line in answer.out.splitlines()]
    index = lines[0].index(name)
    return {line[0]: line[index] for line in lines[1:]}


def test_every_combination_is_run_once(run: Cli, asked: list[RunSpec]) -> None:
    answer = run(*WORDS, "--routing", "kv_locality,round_robin", "--fairness", "fifo,fair_queuing",
                 "--load", "0.5,1,2", "--rate-scale", "10", "--seeds", "2", "--seed", "5"
                 )  # fmt: skip
    assert answer.code == 0, answer.err
    seen = [
        (s.policies.routing.name, s.policies.fairness.name, s.workload.rate_scale, s.seed)
        for s in asked
    ]
    assert len(seen) == len(set(seen)) == 2 * 2 * 3 * 2
    assert {place[2] for place in seen} == {5.0, 10.0, 20.0}
    assert {place[3] for place in seen} == {5, 6}


@pytest.mark.dear
def test_what_is_done_is_not_repeated_and_the_answer_is_the_same(
    run: Cli, asked: list[RunSpec]
) -> None:
    words = [*WORDS, "--routing", "kv_locality,round_robin", "--seeds", "2"]
    first = run(*words)
    summary = Path("out/summary.json").read_bytes()
    assert len(asked) == 4
    cells = sorted(Path("out/cells").iterdir())
    cells[0].unlink()
    cells[1].write_text('{"format": "parallax-run/1", "figu')  # a disk that was full
    again = run(*words)
    assert len(asked) == 6
    assert (again.out, again.code) == (first.out, 0)
    assert Path("out/summary.json").read_bytes() == summary
    assert "2 of them done before" in again.err


@pytest.mark.dear
def test_another_trace_or_policy_is_another_run(run: Cli, asked: list[RunSpec]) -> None:
    run(*WORDS, "--seeds", "1")
    Path("trace.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0.0,100,11\n")
    run(*WORDS, "--seeds", "1")
    run(*WORDS, "--seeds", "1", "--set", "gate.prefetch=3")
    assert len(asked) == 3


@pytest.mark.dear
def test_the_best_has_a_star_and_so_has_what_is_not_told_apart(
    run: Cli, asked: list[RunSpec]
) -> None:
    answer = run(*WORDS, "--routing", ",".join(TTFT_S), "--seeds", "3")
    cells = column(answer, "ttft_ms_p95")
    stars = {name: cell.endswith("*") for name, cell in cells.items()}
    assert stars == {
        "routing=kv_locality": True, "routing=round_robin": False, "routing=power_of_two": True,
    }  # fmt: skip
    assert cells["routing=round_robin"] == "410 ± 24.84"


def test_one_policy_with_two_parameters_is_two_variants(run: Cli, asked: list[RunSpec]) -> None:
    names = "power_of_two:choices=2,power_of_two:choices=4,round_robin"
    answer = run(*WORDS, "--routing", names, "--seeds", "1", "--show", "goodput")
    assert [spec.policies.routing.parameters for spec in asked] == [
        {"choices": "2"}, {"choices": "4"}, {},
    ]  # fmt: skip
    assert len(column(answer, "goodput")) == 3


def test_a_parameter_goes_to_those_that_have_it(run: Cli, asked: list[RunSpec]) -> None:
    names = "power_of_two,round_robin"
    assert run(*WORDS, "--routing", names, "--set", "choices=3", "--seeds", "1").code == 0
    assert [spec.policies.routing.parameters for spec in asked] == [{"choices": "3"}, {}]
    answer = run(*WORDS, "--routing", names, "--set", "nope=3", "--seeds", "1")
    assert answer.code == 2
    assert "routing.nope=3" in answer.err


@pytest.mark.sampled(1)
@pytest.mark.parametrize(("limit", "code"), [("500ms", 0), ("300ms", 3)])
def test_thresholds_hold_for_every_variant(
    run: Cli, asked: list[RunSpec], limit: str, code: int
) -> None:
    answer = run(*WORDS, "--routing", ",".join(TTFT_S), "--threshold", f"ttft_p95<{limit}")
    assert answer.code == code
    assert ("routing=round_robin: MISSED" in answer.err) is (code == 3)
    assert "routing=kv_locality: met" in answer.err


@pytest.mark.dear
def test_a_run_that_fails_does_not_stop_the_others(
    run: Cli, asked: list[RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = simulation.simulate

    def simulate(spec: RunSpec) -> Run:
        if spec.seed == 1:
            raise InvalidInput("trace.csv, line 7", "x", "a number")
        return whole(spec)

    monkeypatch.setattr(simulation, "simulate", simulate)
    answer = run(*WORDS, "--seeds", "3")
    assert answer.code == 1
    assert answer.err.count("failed: ") == 1
    assert "line 7" in answer.err
    assert len(list(Path("out/cells").iterdir())) == 2
    monkeypatch.setattr(simulation, "simulate", whole)
    assert run(*WORDS, "--seeds", "3").code == 0


def test_files_for_other_programs(run: Cli, asked: list[RunSpec]) -> None:
    answer = run(*WORDS, "--routing", "kv_locality,round_robin", "--seeds", "2", "--json")
    with Path("out/runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["variant"], row["seed"]) for row in rows] == [
        (f"routing={name}", seed) for name in ("kv_locality", "round_robin") for seed in "01"
    ]
    summary = json.loads(Path("out/summary.json").read_text())
    assert summary["variants"][0]["figures"]["ttft_ms_mean"]["mean"] == pytest.approx(205.0)
    assert [row["variant"] for row in answer.document] == [
        "routing=kv_locality", "routing=round_robin",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--load", "x"], "--load: 'x'"),
        (["--load", "0"], "--load: 0"),
        (["--seeds", "0"], "--seeds: 0"),
        (["--show", "speed"], "--show: 'speed'"),
        (["--routing", "kv_locality,nope"], "'nope'"),
        (["--threshold", "ttft<1"], "threshold"),
        (["--jobs", "-1"], "--jobs: -1"),
        (["-o", "trace.csv"], "trace.csv"),
    ],
)
def test_wrong_input_ends_with_2_before_anything_runs(
    run: Cli, asked: list[RunSpec], arguments: list[str], named: str
) -> None:
    answer = run(*WORDS, *arguments)
    assert (answer.code, asked) == (2, [])
    assert named in answer.err


@pytest.mark.dear
def test_processes_of_their_own_find_the_same(run: Cli) -> None:
    words = ["compare", "trace.csv", "--seeds", "2", "--jobs"]
    alone, pooled = run(*words, "1", "-o", "a"), run(*words, "2", "-o", "b")
    assert (alone.code, pooled.code) == (0, 0), pooled.err
    names = [sorted(path.name for path in Path(d, "cells").iterdir()) for d in "ab"]
    assert names[0] == names[1]
    for name in names[0]:
        assert Path("a/cells", name).read_bytes() == Path("b/cells", name).read_bytes()
