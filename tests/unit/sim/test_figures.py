"""Each figure means what the field means by it; nothing measured is None and never 0."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest

from parallax.sim.outcome import Sample
from parallax.sim.report.figures import NAMES, figures, per_tenant
from tests.unit.sim.runs import SPEC, done, lost, run_of


def test_every_name_is_there_whatever_happened() -> None:
    for run in (run_of(), run_of(done(0)), run_of(lost(0, "rejected"))):
        assert set(NAMES) == set(figures(run))


def test_of_no_jobs_nothing_is_known() -> None:
    found = figures(run_of(duration_s=0.0, samples=[]))
    assert found["jobs_offered"] == 0
    for name in ("goodput", "ttft_ms_p95", "throughput_per_s", "utilisation_mean", "queue_max"):
        assert found[name] is None


def test_latencies_count_from_the_arrival() -> None:
    found = figures(run_of(done(3, ttft_s=0.5, tokens=11, tpot_s=0.05)))
    assert found["ttft_ms_mean"] == pytest.approx(500.0)
    assert found["tpot_ms_p50"] == pytest.approx(50.0)
    assert found["e2e_ms_p99"] == pytest.approx(1_000.0)
    assert found["queue_ms_p90"] == pytest.approx(100.0)


def test_percentiles_are_observed_values() -> None:
    found = figures(run_of(*(done(n, ttft_s=(n + 1) / 1000) for n in range(100))))
    assert [round(found[f"ttft_ms_p{p}"] or 0) for p in (50, 90, 95, 99)] == [50, 90, 95, 99]


def test_an_answer_of_one_token_has_no_time_per_token_but_meets_it() -> None:
    one, slow = done(0, tokens=1), done(1, tpot_s=0.05)
    found = figures(run_of(one, slow))
    assert found["tpot_ms_mean"] == pytest.approx(50.0)  # a 0 would make it 25
    assert found["goodput"] == 1.0


@pytest.mark.parametrize(
    ("other", "good"),
    [
        (done(1), 1.0),
        (done(1, ttft_s=1.01), 0.5),
        (done(1, tpot_s=0.11), 0.5),
        (done(1, deadline_s=1.9), 0.5),
        (done(1, deadline_s=2.5), 1.0),
        (lost(1, "rejected"), 0.5),
        (lost(1, "expired"), 0.5),
        (lost(1, "failed"), 0.5),
        (lost(1, ""), 0.5),
    ],
    ids=["good", "ttft", "tpot", "late", "in time", "rejected", "expired", "failed", "unfinished"],
)
def test_goodput_is_of_what_was_offered(other: object, good: float) -> None:
    assert figures(run_of(done(0), other))["goodput"] == good  # type: ignore[arg-type]


def test_without_objectives_every_completed_job_is_good() -> None:
    spec = replace(SPEC, slo_ttft_s=inf, slo_tpot_s=inf)
    slow = done(0, ttft_s=500.0, tpot_s=9.0)
    assert figures(run_of(slow, spec=spec))["goodput"] == 1.0
    assert figures(run_of(slow))["goodput"] == 0.0


def test_rates_are_over_the_whole_run() -> None:
    found = figures(run_of(done(0), done(1, ttft_s=3.0), lost(2, "rejected")))
    assert found["throughput_per_s"] == pytest.approx(0.2)
    assert found["goodput_per_s"] == pytest.approx(0.1)
    assert found["output_tokens_per_s"] == pytest.approx(2.2)
    assert found["prompt_tokens_per_s"] == pytest.approx(20.0)


def test_hits_are_weighed_by_tokens_and_only_of_completed_jobs() -> None:
    jobs = (done(0, cached_tokens=80), done(1, prompt_tokens=300), lost(2, "failed"))
    assert figures(run_of(*jobs))["prefix_hit_ratio"] == pytest.approx(0.2)


def test_outcomes_and_counters_are_counted() -> None:
    words = ("rejected", "rejected", "expired", "failed", "")
    found = figures(run_of(done(9), *(lost(n, word) for n, word in enumerate(words))))
    assert [found[f"jobs_{word}"] for word in ("offered", "completed", "rejected")] == [6, 1, 2]
    assert [found[f"jobs_{word}"] for word in ("expired", "failed", "unfinished")] == [1, 1, 1]
    assert (found["dispatches"], found["retries"], found["steals"]) == (3.0, 1.0, 0)
    assert found["queue_max"] == 7


def test_a_counter_nobody_knew_of_is_kept() -> None:
    assert figures(run_of(counters={"surprises": 2.0}))["surprises"] == 2.0


def test_utilisation_is_of_the_workers_that_were_there() -> None:
    assert figures(run_of())["utilisation_mean"] == pytest.approx(12.0 / 20.0)
    grown = [Sample(0.0, 0, 0, 1, 0.0), Sample(5.0, 0, 0, 3, 0.0)]
    assert figures(run_of(samples=grown, worker_busy_s={"w": 5.0}))[
        "utilisation_mean"
    ] == pytest.approx(0.25)


def test_fairness_is_of_cost_and_one_tenant_with_all_is_the_control() -> None:
    even = run_of(done(0), done(1, tenant="beta"))
    assert figures(even)["jain_fairness"] == pytest.approx(1.0)
    starved = run_of(done(0), lost(1, "rejected", "beta"))
    assert figures(starved)["jain_fairness"] == pytest.approx(0.5)


def test_cached_tokens_cost_nothing() -> None:
    rows = per_tenant(run_of(done(0, cached_tokens=60), done(1, tenant="beta")))
    assert [row["cost"] for row in rows] == [40 + 22, 100 + 22]
    assert sum(float(str(row["cost_share"])) for row in rows) == pytest.approx(1.0)


def test_tenants_come_by_name_with_what_they_offered() -> None:
    rows = per_tenant(run_of(lost(0, "expired", "zoo"), done(1), lost(2, "rejected")))
    assert [row["tenant"] for row in rows] == ["acme", "zoo"]
    assert (rows[0]["jobs_offered"], rows[0]["goodput"]) == (2, 0.5)
    assert (rows[1]["jobs_completed"], rows[1]["ttft_ms_p95"]) == (0, None)
