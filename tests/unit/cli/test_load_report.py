"""From samples to figures: quantiles, shares, totals, and the verdict."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from parallax.cli.documents import Spread, TenantFigures
from parallax.cli.load_figures import HEAD, figures, row, totals
from parallax.cli.load_report import report
from parallax.core.clock import ManualClock
from parallax.core.lifecycle import Outcome
from parallax.producers.load.crashes import Crash
from parallax.producers.load.drive import Run, Sample
from parallax.producers.load.live import Live


def sample(tenant: str = "acme", **changes: Any) -> Sample:
    done = Sample(
        tenant, 0.0, 0.0, outcome=Outcome.COMPLETED, told=1, ended=5.0, wait=0.1, ttft=0.2,
        e2e=1.0, cost=10.0, output_tokens=20,
    )  # fmt: skip
    return replace(done, **changes)


def run(*samples: Sample, **fields: Any) -> Run:
    return Run({f"j{n}": one for n, one in enumerate(samples)}, **{"ended_s": 10.0, **fields})


def by_tenant(
    made: Run, weights: dict[str, float] | None = None, window: tuple[float, float] | None = None
) -> dict[str, TenantFigures]:
    return {row.tenant: row for row in figures(made, weights or {}, window)}


# -- figures


def test_quantiles_are_values_that_were_observed() -> None:
    rows = by_tenant(run(*(sample(e2e=float(n), ttft=n / 10) for n in range(1, 101))))
    assert rows["acme"].e2e_s == Spread(50.0, 95.0, 99.0)
    assert rows["acme"].ttft_s == Spread(5.0, 9.5, 9.9)


def test_one_job_is_every_quantile() -> None:
    assert by_tenant(run(sample(e2e=3.0)))["acme"].e2e_s == Spread(3.0, 3.0, 3.0)


def test_jobs_that_did_not_complete_count_as_offered_only() -> None:
    failed = sample(outcome=Outcome.FAILED, e2e=99.0, output_tokens=99)
    refused = sample(outcome=None, refused="full", told=0, ended=None, e2e=None, ttft=None)
    row = by_tenant(run(sample(), failed, refused))["acme"]
    assert (row.offered_jobs, row.completed_jobs) == (3, 1)
    assert row.e2e_s == Spread(1.0, 1.0, 1.0)
    assert (row.jobs_per_s, row.output_tokens_per_s) == (0.1, 2.0)


def test_without_completed_jobs_there_are_no_quantiles() -> None:
    row = by_tenant(run(sample(outcome=Outcome.EXPIRED)))["acme"]
    assert row.e2e_s == row.ttft_s == Spread(None, None, None)


def test_shares_are_of_the_cost_served_in_the_window() -> None:
    made = run(
        sample("gold", cost=60.0, ended=3.0),
        sample("tin", cost=20.0, ended=4.0),
        sample("tin", cost=900.0, ended=1.0),  # before the window
        sample("tin", cost=900.0, ended=9.0),  # after it
        sample("tin", cost=900.0, ended=None, outcome=None),
    )
    rows = by_tenant(made, {"gold": 3.0}, (2.0, 8.0))
    assert (rows["gold"].share, rows["tin"].share) == (0.75, 0.25)
    assert (rows["gold"].due, rows["tin"].due) == (0.75, 0.25)


def test_an_unfair_share_stands_out_from_what_is_due() -> None:
    made = run(sample("gold", cost=10.0), sample("tin", cost=90.0))
    rows = by_tenant(made, {"gold": 4.0, "tin": 1.0}, (0.0, 10.0))
    assert rows["gold"].share == 0.1
    assert rows["gold"].due == 0.8


def test_without_a_window_there_is_no_share() -> None:
    assert by_tenant(run(sample()))["acme"].share is None


def test_a_window_in_which_nothing_was_served_has_no_share() -> None:
    assert by_tenant(run(sample(ended=9.0)), window=(0.0, 1.0))["acme"].share is None


def test_tenants_come_in_order_and_all_together_last() -> None:
    rows = figures(run(sample("b"), sample("a"), sample("b")), {"b": 2.0})
    assert [(row.tenant, row.offered_jobs, row.weight) for row in rows] == [
        ("a", 1, 1.0), ("b", 2, 2.0), ("all", 3, 3.0),
    ]  # fmt: skip


def test_a_run_without_jobs_has_figures_of_nothing() -> None:
    (nothing,) = figures(Run(), {})
    assert (nothing.tenant, nothing.offered_jobs, nothing.completed_jobs) == ("all", 0, 0)
    assert nothing.e2e_s.p50 is None


def test_every_row_has_a_cell_under_every_heading() -> None:
    assert all(len(row(one)) == len(HEAD) for one in figures(run(sample()), {}))


# -- totals


def test_totals_count_every_job_once() -> None:
    outcomes = [sample(outcome=outcome) for outcome in Outcome]
    refused = sample(outcome=None, refused="full")
    summary = totals(run(*outcomes, sample(), refused, offered_s=4.0))
    assert summary["offered_jobs"] == len(Outcome) + 2
    assert summary["accepted_jobs"] == len(Outcome) + 1
    assert summary["refused_jobs"] == 1
    assert summary["outcomes"]["completed"] == 2
    assert all(summary["outcomes"][o.value] == 1 for o in Outcome if o is not Outcome.COMPLETED)
    assert (summary["offered_s"], summary["ended_s"]) == (4.0, 10.0)


def test_totals_tell_of_lost_jobs_and_of_those_that_ended_twice() -> None:
    summary = totals(run(sample(), sample(told=2), sample(told=3), lost=4))
    assert (summary["lost_jobs"], summary["finished_twice_jobs"]) == (4, 2)


# -- the verdict


@pytest.mark.parametrize(
    ("made", "kept"),
    [
        (run(sample()), True),
        (run(sample(), sample(outcome=None, refused="full", told=0)), True),
        (run(sample(), lost=1), False),
        (run(sample(told=2)), False),
        (run(sample(outcome=None, told=0, ended=None)), False),
    ],
    ids=["all well", "one refused", "one lost", "one twice", "one open"],
)
@pytest.mark.parametrize("as_json", [True, False])
def test_the_report_says_whether_every_promise_was_kept(
    embedded_url: str, capsys: pytest.CaptureFixture[str], made: Run, kept: bool, as_json: bool
) -> None:
    live = Live(embedded_url, "main", ManualClock(), crashes=[Crash("worker", 1, "worker-2")])
    assert report(made, live, as_json, None) is kept
    text = capsys.readouterr().out
    if as_json:
        document = json.loads(text)
        assert document["kept"] is kept
        assert document["killed"] == ["worker-2"]
        assert [row["tenant"] for row in document["tenants"]] == ["acme", "all"]
    else:
        assert "worker-2" in text
        assert "finished_twice_jobs" in text
