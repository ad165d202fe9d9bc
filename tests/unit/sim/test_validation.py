"""Validation: what is read, what is judged, and that a wrong model would be caught."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from parallax.core.errors import InvalidInput
from parallax.sim.binding import routed
from parallax.sim.simulate import simulate
from parallax.sim.spec import FleetSpec, RunSpec, WorkloadSpec
from parallax.sim.validation import llmd, macro, mooncake, vtc
from parallax.sim.validation.check import Check, Order

SAMPLE = """# A report

### QPS = 20.0

| Experiment | Output toks/s | Requests/s | TTFT p90 (s) | TTFT mean (s) | ITL mean (s) |
|---|---:|---:|---:|---:|---:|
| precise-scheduling | 9184.5 | 20.159 | 0.600 | 0.363 | 0.021 |
| random-scheduling | 4933.1 | 18.838 | 70.273 | 25.073 | 0.024 |

### QPS = 22.0

| precise-scheduling | 9382.0 | 22.003 | 0.500 | 0.300 | 0.020 |
"""


def test_a_check_holds_within_its_bound_on_either_side() -> None:
    assert Check("c", "w", 1.2, 1.0, 0.21).holds
    assert not Check("c", "w", 1.3, 1.0, 0.21).holds
    assert not Check("c", "w", 0.7, 1.0, 0.21).holds
    assert Check("c", "w", 0.5, 1.0, 0.1).error == pytest.approx(-0.5)


def test_an_order_may_have_ties_but_no_reversals() -> None:
    names = ("a", "b", "c")
    assert Order("o", names, (3.0, 2.0, 1.0)).holds
    assert not Order("o", names, (3.0, 1.0, 2.0)).holds
    assert Order("o", names, (3.0, 2.0, 2.02), ties=0.02).holds
    assert not Order("o", names, (3.0, 2.0, 2.2), ties=0.02).holds


def test_the_published_tables_are_read(tmp_path: Path) -> None:
    (tmp_path / llmd.RESULTS).write_text(SAMPLE)
    assert llmd.table(tmp_path / llmd.RESULTS) == {
        ("precise", 20.0): (9184.5, 0.363), ("random", 20.0): (4933.1, 25.073),
        ("precise", 22.0): (9382.0, 0.300),
    }  # fmt: skip
    (tmp_path / "empty.md").write_text("nothing")
    for name in ("empty.md", "absent.md"):
        with pytest.raises(InvalidInput, match="published"):
            llmd.table(tmp_path / name)


def small_data(folder: Path, ttft_s: float) -> None:
    """Write a trace and a result of it in the formats of the artifact."""
    rows = [f"{n * 0.2:.1f},{n % 3},{20 + n},{30}" for n in range(60)]
    columns = "arrival_s,client,prompt_tokens,output_tokens"
    (folder / vtc.TRACE).write_text("\n".join([columns, *rows]))
    answers = [{"adapter_dir": f"c{n % 3}", "first_token_latency": ttft_s} for n in range(60)]
    for _, _, file in vtc.CASES:
        (folder / file).write_text(json.dumps({"result": {"responses": answers}}))


def test_a_prediction_far_from_the_measurement_is_a_miss(tmp_path: Path) -> None:
    small_data(tmp_path, 1.0)
    found = [check.predicted for check in vtc.checks(tmp_path, tmp_path)]
    small_data(tmp_path, found[0])
    assert next(vtc.checks(tmp_path, tmp_path)).holds
    small_data(tmp_path, found[0] * 2)
    assert not any(check.holds for check in vtc.checks(tmp_path, tmp_path))


def test_a_broken_result_is_refused_by_its_name(tmp_path: Path) -> None:
    small_data(tmp_path, 1.0)
    (tmp_path / vtc.CASES[0][2]).write_text("{}")
    with pytest.raises(InvalidInput, match="vtc_real_FCFS"):
        list(vtc.checks(tmp_path, tmp_path))


@pytest.mark.slow
def test_each_stage_begins_when_the_one_before_has_ended() -> None:
    stages = llmd.Stages.of("llmd_73", 0)
    short = [stage[:40] for stage in stages.jobs[1:4]]
    renamed = [
        [(at, replace(job, id=f"{n}-{job.id.partition('-')[2]}")) for at, job in stage]
        for n, stage in enumerate(short)
    ]
    few = llmd.Stages(
        renamed, [0.0] * 3, [0.0] * 3, [0] * 3, [len(stage) for stage in renamed], [0.0] * 3
    )
    spec = RunSpec(WorkloadSpec("x"), llmd.FLEET, routed("random"))
    run = simulate(spec, few.jobs[0], few.ended)
    assert {job.outcome for job in run.jobs} == {"completed"}
    assert len(run.jobs) == sum(len(stage) for stage in renamed)
    assert few.begun_s[1] == few.ended_s[0] < few.begun_s[2] == few.ended_s[1]
    assert all(few.throughput(n) > 0 for n in range(3))
    assert all(few.ttft_s(n) > llmd.FRONT_MS / 1000 for n in range(3))


def test_a_node_that_is_slower_takes_longer() -> None:
    slow, fast = mooncake.node(2.0), mooncake.node(1.0)
    assert slow.cost.step_ms([(8_192, 0)], 0, 0) > 1.9 * fast.cost.step_ms([(8_192, 0)], 0, 0)


@pytest.mark.dear
def test_single_steps_find_the_same_and_another_fleet_does_not(tmp_path: Path) -> None:
    lines = [f"{n * 0.05},{200 + 37 * (n % 11)},{20 + n % 60}" for n in range(120)]
    text = "\n".join(["arrival_s,prompt_tokens,output_tokens", *lines])
    (tmp_path / "made.csv").write_text(text)
    (found,) = macro.checks(tmp_path)
    assert found.holds
    workload = WorkloadSpec(str(tmp_path / "made.csv"))
    runs = [simulate(RunSpec(workload, FleetSpec(workers))) for workers in (1, 2)]
    assert macro.worst_of(*runs) > macro.ALLOWED, "the control"


def test_single_steps_need_traces(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="--traces"):
        list(macro.checks(tmp_path))
