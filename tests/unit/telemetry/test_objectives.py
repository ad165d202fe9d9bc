"""Objectives: bounds of buckets, and counters of who kept them."""

from __future__ import annotations

import pytest

from parallax.core.errors import InvalidInput
from parallax.core.lifecycle import Outcome
from parallax.telemetry.metrics import OBJECTIVES, exposition
from parallax.telemetry.objectives import Objectives
from parallax.telemetry.scheduling import SchedulingMetrics
from tests.unit.telemetry.test_scheduling_metrics import REPORT, ended


def counted(metrics: SchedulingMetrics, name: str, objective: str) -> float:
    labels = {"tenant": "acme", "objective": objective}
    return metrics.registry.get_sample_value(f"parallax_slo_{name}_total", labels) or 0.0


def test_every_objective_has_its_label() -> None:
    assert set(Objectives().by_name()) == set(OBJECTIVES)


def test_an_objective_is_a_bound_of_the_buckets() -> None:
    metrics = SchedulingMetrics(Objectives(ttft_s=1.234))
    metrics.reported([(ended(Outcome.COMPLETED), REPORT)])
    text = exposition(metrics.registry).decode()
    assert 'parallax_ttft_seconds_bucket{le="1.234",tenant="acme"}' in text
    assert 'parallax_slo_target_seconds{objective="ttft"} 1.234' in text


@pytest.mark.parametrize(("target", "met"), [(100.0, 1.0), (0.0001, 0.0)])
def test_completed_jobs_are_judged(target: float, met: float) -> None:
    metrics = SchedulingMetrics(Objectives(target, target, target))
    metrics.reported([(ended(Outcome.COMPLETED), REPORT)])
    for objective in OBJECTIVES:
        assert counted(metrics, "met", objective) == met
        assert counted(metrics, "missed", objective) == 1.0 - met


@pytest.mark.parametrize(
    ("outcome", "missed"),
    [(Outcome.FAILED, 1.0), (Outcome.DEAD, 1.0), (Outcome.REJECTED, 1.0), (Outcome.EXPIRED, 1.0),
     (Outcome.CANCELLED, 0.0)],
)  # fmt: skip
def test_what_did_not_complete_missed_its_end(outcome: Outcome, missed: float) -> None:
    metrics = SchedulingMetrics()
    metrics.ended("acme", outcome)
    assert counted(metrics, "missed", "e2e") == missed
    assert counted(metrics, "missed", "ttft") == 0.0


def test_what_was_computed_is_counted_as_cost() -> None:
    metrics = SchedulingMetrics()
    metrics.reported([(ended(Outcome.COMPLETED), REPORT)])
    cost = REPORT.prompt_tokens - REPORT.cached_tokens + 2 * REPORT.output_tokens
    served = metrics.registry.get_sample_value("parallax_served_cost_total", {"tenant": "acme"})
    assert served == cost


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan"), float("inf"), 1e9])
def test_an_objective_that_is_none_is_refused(wrong: float) -> None:
    with pytest.raises(InvalidInput, match="--slo-tpot"):
        Objectives(tpot_s=wrong)
