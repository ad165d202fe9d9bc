"""Why jobs went where they went: few decisions are looked at, all of what is kept is bounded."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest

from parallax.core.model import ClusterView, JobView, WorkerView
from parallax.policies.registry import ROUTING
from parallax.services.decisions import CANDIDATES, MOST, PER_TELL, SCORED, Decisions


def cluster(count: int) -> ClusterView:
    return ClusterView(tuple(WorkerView(f"w{n:03}", 8, free=8) for n in range(count)), 0.0)


def jobs(*names: str) -> list[JobView]:
    return [JobView(name, "acme", 10, 20, 0.0) for name in names]


def placed(decisions: Decisions, some: Sequence[JobView], workers: int, to: str = "w001") -> None:
    policy = ROUTING.build("kv_locality", {}, random=Random(0))
    decisions.asked(policy, some, [1.0] * len(some), cluster(workers))
    decisions.told([to] * len(some))


def test_the_chosen_comes_first_and_few_others_beside_it() -> None:
    decisions = Decisions()
    placed(decisions, jobs("a", "b"), workers=20, to="w013")
    first, second = decisions.recent()
    assert (first.job, second.job, first.together, first.workers) == ("a", "b", 2, 20)
    assert first.candidates[0].worker == first.chosen == "w013"
    assert len(first.candidates) == CANDIDATES
    assert all(one.score is not None and one.cached_tokens == 0 for one in first.candidates)
    assert first.policy == "KvLocality"


def test_no_more_are_looked_at_between_two_tellings_and_the_last_are_kept() -> None:
    decisions = Decisions()
    for n in range(3 * PER_TELL):
        placed(decisions, jobs(f"j{n}"), workers=2)
    assert [one.job for one in decisions.recent()] == [f"j{n}" for n in range(PER_TELL)]
    told = decisions.recent()
    for n in range(2 * MOST):
        placed(decisions, jobs(f"k{n}"), workers=2)
        decisions.recent()
    told = decisions.recent()
    assert len(told) == MOST
    assert told[-1].job == f"k{2 * MOST - 1}"


def test_a_large_cell_is_looked_at_less_often() -> None:
    decisions = Decisions()
    placed(decisions, jobs(*(f"j{n}" for n in range(PER_TELL))), workers=SCORED // 2)
    assert len(decisions.recent()) == 2
    placed(decisions, jobs("a"), workers=SCORED + 1)
    assert len(decisions.recent()) == 2


def test_what_was_not_placed_is_no_decision() -> None:
    decisions = Decisions()
    policy = ROUTING.build("round_robin", {}, random=Random(0))
    decisions.asked(policy, jobs("a"), [1.0], cluster(2))
    decisions.told([None])
    assert decisions.recent() == []


def test_a_policy_that_fails_to_say_why_places_on(caplog: pytest.LogCaptureFixture) -> None:
    class Bad:
        """A policy of somebody else's."""

        def scores(self, *_: object) -> dict[str, float]:
            raise ZeroDivisionError

    decisions = Decisions()
    for _ in range(3):
        decisions.asked(Bad(), jobs("a"), [1.0], cluster(2))  # type: ignore[arg-type]
        decisions.told(["w000"])
        assert decisions.recent() == []
    assert len(caplog.records) == 1
