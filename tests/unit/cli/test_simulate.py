"""`parallax simulate`: options become the spec they say, and the same command the same bytes."""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf
from pathlib import Path

import pytest

from parallax.core.settings import PolicyChoice
from parallax.sim import simulate as simulation
from parallax.sim.outcome import JobOutcome, Run
from parallax.sim.spec import FaultSpec, RunSpec
from tests.unit.cli.invoking import Run as Cli

TRACE = "arrival_s,prompt_tokens,output_tokens\n" + "".join(
    f"{n * 0.2:.1f},{100 + n},{10 + n % 7}\n" for n in range(60)
)


@pytest.fixture(autouse=True)
def trace(run: Cli) -> None:
    Path("trace.csv").write_text(TRACE)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[RunSpec]:
    """Return the specs that were asked for, of runs that take 200 ms to the first token."""
    specs: list[RunSpec] = []

    def simulate(spec: RunSpec, _: object) -> Run:
        specs.append(spec)
        job = JobOutcome(
            "j0", "acme", "", 0.0, 100, "completed", 11, 0, 0.0, 0.2, 1.2, worker="w0000"
        )
        return Run(spec.document(), [job], duration_s=2.0)

    monkeypatch.setattr(simulation, "simulate", simulate)
    return specs


def test_options_become_the_spec(run: Cli, asked: list[RunSpec]) -> None:
    answer = run(
        "simulate", "trace.csv", "--workers", "16", "--profile", "laptop",
        "--routing", "power_of_two:choices=2", "--set", "choices=3", "--fairness", "fifo",
        "--set", "gate.prefetch=2", "--rate-scale", "2", "--limit", "5", "--seed", "9",
        "--slo-ttft", "300ms", "--slo-tpot", "0.05s", "--fault", "crash:w3@60s+30s",
        "--fault", "slow:w1*4@500ms",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    (spec,) = asked
    assert (spec.fleet.workers, spec.fleet.profile) == (16, "laptop")
    assert spec.policies.routing == PolicyChoice("power_of_two", {"choices": "3"})
    assert spec.policies.fairness == PolicyChoice("fifo")
    assert spec.policies.gate == PolicyChoice("jbsq", {"prefetch": "2"})
    assert (spec.workload.rate_scale, spec.workload.limit, spec.seed) == (2.0, 5, 9)
    assert (spec.slo_ttft_s, spec.slo_tpot_s) == pytest.approx((0.3, 0.05))
    assert spec.faults == (
        FaultSpec("crash", "w0003", 60.0, 30.0),
        FaultSpec("slow", "w0001", 0.5, inf, 4.0),
    )


def test_what_is_not_said_is_as_in_the_spec_file(run: Cli, asked: list[RunSpec]) -> None:
    Path("run.toml").write_text(
        'workload = "trace.csv"\nseed = 4\n[fleet]\nworkers = 8\nblock_size = 32\n'
        '[policies]\nrouting = { name = "power_of_two", parameters = { choices = 4 } }\n'
    )
    assert run("simulate", "--spec", "run.toml").code == 0
    assert run("simulate", "--spec", "run.toml", "--workers", "2", "--routing", "round_robin"
               ).code == 0  # fmt: skip
    plain, other = asked
    assert (plain.fleet.workers, plain.fleet.block_size, plain.seed) == (8, 32, 4)
    assert plain.policies.routing.parameters == {"choices": 4}
    changed = replace(plain, fleet=replace(plain.fleet, workers=2))
    policies = replace(plain.policies, routing=PolicyChoice("round_robin"))
    assert other == replace(changed, policies=policies)


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("threshold", "code"),
    [("ttft_p95<300ms", 0), ("ttft_p95<100ms", 3), ("goodput>=100%", 0), ("queue_max<1", 3)],
)
def test_a_missed_threshold_ends_with_3(
    run: Cli, asked: list[RunSpec], threshold: str, code: int
) -> None:
    answer = run("simulate", "trace.csv", "--threshold", threshold, "--threshold", "retries<1")
    assert answer.code == code
    assert f"{'met' if code == 0 else 'MISSED'}: {threshold}" in answer.err
    assert "met: retries<1" in answer.err


@pytest.mark.sampled(8)
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "WORKLOAD: None"),
        (["none.csv"], "none.csv"),
        (["trace.csv", "--routing", "nope"], "'nope'"),
        (["trace.csv", "--routing", "power_of_two:choices"], "--routing: 'power_of_two:choices'"),
        (["trace.csv", "--batching", "nope"], "'nope'"),
        (["trace.csv", "--scaling", "nope"], "'nope'"),
        (["trace.csv", "--set", "choices"], "--set: 'choices'"),
        (["trace.csv", "--set", "nope.choices=3"], "--set: 'nope.choices=3'"),
        (["trace.csv", "--set", "choices=3"], "'choices'"),
        (["trace.csv", "--set", "scaling.target=3"], "name the policy: --scaling NAME"),
        (["trace.csv", "--workers", "0"], "fleet.workers: 0"),
        (["trace.csv", "--rate-scale", "nan"], "workload.rate_scale: nan"),
        (["trace.csv", "--slo-ttft", "300"], "--slo-ttft: '300'"),
        (["trace.csv", "--slo-ttft", "0ms"], "slo_ttft_s: 0.0"),
        (["trace.csv", "--fault", "crash"], "--fault: 'crash' is not allowed; KIND:WORKER"),
        (["trace.csv", "--fault", "fire:w1@1s"], "fault: 'fire'"),
        (["trace.csv", "--fault", "slow:w1*1.2.3@1s"], "then @WHEN"),
        (["trace.csv", "--fault", "crash:w1@1"], "--fault: '1'"),
        (["trace.csv", "--threshold", "speed>1"], "threshold: 'speed>1'"),
        (["--spec", "none.toml"], "none.toml"),
        (["--spec", "trace.csv"], "must be readable JSON"),
        (["trace.csv", "-o", "no/such/dir/run.json"], "no/such/dir/run.json"),
    ],
)
def test_wrong_input_ends_with_2_and_one_line(
    run: Cli, asked: list[RunSpec], arguments: list[str], named: str
) -> None:
    answer = run("simulate", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert named in answer.err
    assert len(answer.err.splitlines()) == 1


# -- with the simulator itself


@pytest.mark.dear
def test_the_same_command_gives_the_same_bytes_and_another_seed_does_not(run: Cli) -> None:
    words = ["simulate", "trace.csv", "--workers", "2", "--routing", "power_of_two"]
    for name, more in (("a", []), ("b", []), ("c", ["--seed", "1"])):
        answer = run(*words, "-o", f"{name}.json", "--csv", f"{name}.csv", *more)
        assert answer.code == 0, answer.err
    for suffix in ("json", "csv"):
        assert Path(f"a.{suffix}").read_bytes() == Path(f"b.{suffix}").read_bytes()
    assert Path("a.csv").read_bytes() != Path("c.csv").read_bytes()


@pytest.mark.dear
def test_a_record_can_be_run_again(run: Cli) -> None:
    run("simulate", "trace.csv", "--workers", "2", "--seed", "3", "-o", "a.json")
    assert run("simulate", "--spec", "a.json", "-o", "b.json").code == 0
    assert Path("a.json").read_bytes() == Path("b.json").read_bytes()


def test_the_record_names_what_it_depends_on(run: Cli) -> None:
    answer = run("simulate", "trace.csv", "--json", "-o", "a.json")
    origin = json.loads(Path("a.json").read_text())["provenance"]
    assert len(origin["inputs"]["trace.csv"]) == len(origin["source_sha256"]) == 64
    assert {"parallax", "python"} <= set(origin["versions"])
    assert answer.document["jobs_completed"] == 60
    assert len(list(Path().glob(".*.tmp"))) == 0
