"""Over any window, what is computed for each backlogged tenant follows its weight.

Whatever a tenant cancels, lets fail, or sets as sessions, deadlines, priorities and lengths: what
was computed for it is charged, finished or not. The control charges what finishes.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from parallax.core.model import Job
from parallax.core.settings import PolicyChoice
from parallax.engine.sequence import Seq
from parallax.sim.spec import FaultSpec
from parallax.sim.workers import Attempt, SimWorker
from tests.laws.market import OPEN, OUTPUT, PROMPT, Market, Shares, Trick, served

pytestmark = pytest.mark.interpreted("its market is made of classes derived from compiled ones")

WITHIN = 0.05  # of its share


def said(worker: SimWorker, seq: Seq) -> int:
    return seq.produced(worker.engine._decodes.steps)


def before_the_first_token(market: Market, worker: SimWorker, attempt: Attempt, seq: Seq) -> bool:
    return not seq.begun and seq.computed >= 0.6 * PROMPT


def before_the_last_token(market: Market, worker: SimWorker, attempt: Attempt, seq: Seq) -> bool:
    return said(worker, seq) >= 0.9 * OUTPUT


def at_any_time(market: Market, worker: SimWorker, attempt: Attempt, seq: Seq) -> bool:
    return market.random.random() < 0.02


def of_a_session(job: Job, random: Random) -> Job:
    return replace(job, session=f"s{random.randrange(300)}")


def too_late(job: Job, random: Random) -> Job:
    return replace(job, deadline_s=random.choice((0.2, 1.0, 4.0)))


def first_of_all(job: Job, random: Random) -> Job:
    return replace(job, priority=100)


def under_four_names(job: Job, random: Random) -> Job:
    return replace(job, tenant=f"cheat.{random.randrange(4)}")


def as_long_as_can_be(job: Job, random: Random) -> Job:
    return replace(job, max_tokens=1_000_000)


EARLY = Trick(stops=before_the_first_token)
LATE = Trick(stops=before_the_last_token)
RANDOM = Trick(stops=at_any_time, withdraws=0.01)
FAILING = Trick(stops=before_the_last_token, fails=True)
slow = pytest.mark.slow


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("trick", "jobs"),
    [
        pytest.param(EARLY, 1000, id="stops before the first token"),
        pytest.param(LATE, 1000, id="stops before the last token"),
        pytest.param(RANDOM, 1000, id="stops at any time", marks=slow),
        pytest.param(FAILING, 1000, id="lets all fail", marks=slow),
        pytest.param(Trick(of_a_session, at_any_time), 1500, id="sessions", marks=slow),
        pytest.param(Trick(too_late, at_any_time), 2500, id="deadlines", marks=slow),
        pytest.param(Trick(first_of_all, at_any_time), 1000, id="priorities"),
    ],
)
@pytest.mark.parametrize(
    "fairness", ["fair_queuing", pytest.param("deficit_round_robin", marks=slow)]
)
def test_no_trick_changes_a_share(
    trick: Trick, jobs: int, fairness: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    policies = replace(OPEN, fairness=PolicyChoice(fairness))
    shares = served(trick, monkeypatch, jobs=jobs, policies=policies)
    assert shares.stops > 20
    assert shares.worst() <= WITHIN


@pytest.mark.dear
@pytest.mark.parametrize("weight", [0.5, pytest.param(3.0, marks=slow)])
def test_shares_follow_weights(weight: float, monkeypatch: pytest.MonkeyPatch) -> None:
    assert served(EARLY, monkeypatch, weight=weight).worst() <= WITHIN


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    "trick",
    [EARLY, LATE, pytest.param(RANDOM, marks=slow), pytest.param(FAILING, marks=slow)],
    ids=["early", "late", "random", "failing"],
)
def test_the_control_in_which_only_what_finishes_is_charged(
    trick: Trick, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert served(trick, monkeypatch, jobs=400, forgiving=True).worst() > 4 * WITHIN


def split(monkeypatch: pytest.MonkeyPatch, *, forgiving: bool = False) -> Shares:
    routing = PolicyChoice("disaggregated", {"min_tokens": 1.0, "disturbance": 1e6})
    return served(
        Trick(stops=at_any_time, hands=True), monkeypatch, forgiving=forgiving,
        policies=replace(OPEN, routing=routing), workers=3, prefill_workers=1,
    )  # fmt: skip


@slow
def test_computed_prompts_that_are_taken_back_are_paid_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert split(monkeypatch).worst() <= WITHIN


@slow
def test_of_dead_workers_the_estimate_is_paid(monkeypatch: pytest.MonkeyPatch) -> None:
    faults = tuple(
        FaultSpec("crash", f"w000{n % 2}", 5.0 * n + 5.0, 2.0, detect_s=0.5) for n in range(30)
    )
    assert served(RANDOM, monkeypatch, faults=faults).worst() <= WITHIN


@pytest.mark.slow
def test_who_claims_the_longest_answers_waits_and_gains_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Until lengths are known its estimates hold it back; later it gets what it was owed."""
    shares = served(Trick(as_long_as_can_be), monkeypatch)
    assert shares.ahead() <= WITHIN


@pytest.mark.slow
def test_many_names_are_many_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fairness knows names: who may make up names must be stopped at the door, by its key."""
    shares = served(Trick(under_four_names), monkeypatch)
    assert shares.worst() > 2.0
    names = {f"cheat.{n}": 0.25 for n in range(4)}
    assert served(Trick(under_four_names), monkeypatch, more=names).ahead() <= WITHIN
