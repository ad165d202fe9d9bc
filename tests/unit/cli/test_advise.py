"""`parallax advise`: what it asks of the simulator, what it says, and what a budget leaves out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from parallax.sim import simulate as simulation
from parallax.sim.outcome import JobOutcome, Run
from parallax.sim.spec import RunSpec
from tests.unit.cli.invoking import Run as Cli

LOAD = 'kind = "singles"\nstages = [{ rate = 20.0, seconds = 2.0 }]\n'
WORDS = ("advise", "load.toml", "--slo-ttft", "500ms", "--jobs", "1")
SLOWER = {"kv_locality": 0.0, "round_robin": 0.3}
ENOUGH = 6  # workers


@pytest.fixture(autouse=True)
def load(run: Cli) -> None:
    Path("load.toml").write_text(LOAD)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[RunSpec]:
    """Return what was run; it takes longer on small fleets, and with some routers."""
    specs: list[RunSpec] = []

    def simulate(spec: RunSpec) -> Run:
        specs.append(spec)
        first = 0.4 * ENOUGH / spec.fleet.workers + SLOWER.get(spec.policies.routing.name, 0.2)
        jobs = [
            JobOutcome(f"j{n}", "a", "", 0.0, 100, "completed", 11, 0, 0.0, t, t + 1.0)
            for n, t in enumerate((first - 0.01 * spec.seed, 0.1))
        ]
        return Run(spec.document(), jobs, duration_s=2.0)

    monkeypatch.setattr(simulation, "simulate", simulate)
    return specs


def test_the_smallest_fleet_and_the_best_router_are_found(run: Cli, asked: list[RunSpec]) -> None:
    answer = run(*WORDS, "--threshold", "goodput>=100%", "--json")
    assert answer.code == 0, answer.err
    found = answer.document
    assert (found["workers"], found["met"]) == (5, True)
    assert found["policies"] == {
        "routing": "kv_locality", "ordering": "sjf", "admission": "thresholds",
    }  # fmt: skip
    assert found["second"]["policies"]["routing"] != "kv_locality"
    assert found["second"]["loses"]["mean"] == pytest.approx(0.5)
    assert [(one["workers"], one["meets"]) for one in found["sizes"]] == [
        (4, False), (5, True), (6, True),
    ]  # fmt: skip
    assert found["sizes"][0]["gains"]["mean"] < 0.0
    assert found["command"].startswith("parallax up --workers 5 --routing kv_locality")
    assert found["runs"] == len(asked)
    assert {len(one["seeds"]) for one in found["tried"]} == {1, 3}


def test_nothing_is_run_twice(run: Cli, asked: list[RunSpec]) -> None:
    assert run(*WORDS).code == 0
    assert len({repr(spec) for spec in asked}) == len(asked)


def test_a_goal_out_of_reach_is_told_with_a_code(run: Cli, asked: list[RunSpec]) -> None:
    answer = run(*WORDS, "--threshold", "ttft_p95<1ms", "--max-workers", "8")
    assert answer.code == 3
    assert "No fleet that was tried reaches ttft_p95<1ms" in answer.out
    assert max(spec.fleet.workers for spec in asked) == 8


def test_the_better_of_two_routers_is_taken_whatever_their_order(
    run: Cli, asked: list[RunSpec]
) -> None:
    answer = run(*WORDS, "--routing", "round_robin,kv_locality", "--ordering", "sjf")
    assert "Take 5 workers with kv_locality" in answer.out, answer.out
    assert "The second best, round_robin" in answer.out
    assert {spec.policies.ordering.name for spec in asked} == {"sjf"}


def test_a_short_budget_tries_less_and_says_so(
    run: Cli, asked: list[RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every look at the clock takes a second here."""
    now = iter(range(10_000))
    clock: Callable[[object], float] = lambda _: float(next(now))  # noqa: E731
    monkeypatch.setattr("parallax.services.clock.SystemClock.monotonic", clock)
    answer = run(*WORDS, "--budget", "30")
    assert answer.code == 0, answer.err
    assert "Note: time for" in answer.out
    whole = len(asked)
    assert run(*WORDS, "--budget", "2").code == 2
    assert len(asked) - whole < 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--slo-ttft", "500ms", "--prefill-workers", "1"), "--prefill-workers"),
        ((), "an objective"),
        (("--slo-ttft", "500ms", "--seeds", "0"), "--seeds"),
        (("--slo-ttft", "500ms", "--max-workers", "0"), "--max-workers"),
        (("--slo-ttft", "500ms", "--routing", "no_such"), "no_such"),
    ],
)
def test_what_cannot_be_advised_on_is_refused(
    run: Cli, asked: list[RunSpec], words: tuple[str, ...], said: str
) -> None:
    answer = run("advise", "load.toml", *words)
    assert (answer.code, asked) == (2, [])
    assert said in answer.err


def test_deadlines_bring_one_more_order(run: Cli, asked: list[RunSpec]) -> None:
    run(*WORDS)
    assert "least_slack" not in {spec.policies.ordering.name for spec in asked}
    asked.clear()
    Path("due.csv").write_text(
        "arrival_s,prompt_tokens,output_tokens,deadline_s\n0.0,100,10,5.0\n1.0,100,10,5.0\n"
    )
    run("advise", "due.csv", *WORDS[2:])
    assert "least_slack" in {spec.policies.ordering.name for spec in asked}


def test_seeds_of_a_trace_differ_and_those_of_a_drawn_load_do_anyway(
    run: Cli, asked: list[RunSpec]
) -> None:
    run(*WORDS)
    assert {spec.workload.jitter_s for spec in asked} == {0.0}
    asked.clear()
    Path("t.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0.0,9,9\n0.2,9,9\n")
    run("advise", "t.csv", *WORDS[2:], "--rate-scale", "10")
    assert [spec.workload.jitter_s for spec in asked] == pytest.approx([1.0] * len(asked))
    asked.clear()
    run("advise", "t.csv", *WORDS[2:], "--closed")
    assert {spec.workload.jitter_s for spec in asked} == {0.0}, "turns stay in their order"


def test_it_runs_with_the_real_simulator(run: Cli) -> None:
    answer = run(*WORDS, "--profile", "laptop", "--routing", "kv_locality,round_robin",
                 "--seeds", "2", "--max-workers", "16", "--threshold", "goodput>=90%",
                 "--ordering", "sjf", "--admission", "thresholds")  # fmt: skip
    assert answer.code in (0, 3), answer.err
    assert "Compositions on" in answer.out
    assert "Try it: parallax up" in answer.out or answer.code == 3
