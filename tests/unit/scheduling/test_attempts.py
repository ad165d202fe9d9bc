"""The books of attempts: found by job and by worker, in order, and counted by their prefixes."""

from __future__ import annotations

from random import Random

from parallax.core.cost import TokenCost
from parallax.core.model import JobView, WorkerView
from parallax.core.roles import PREFILL
from parallax.policies.registry import FAIRNESS, GATE, ORDERING
from parallax.policies.testing import job
from parallax.scheduling.attempts import Attempts
from parallax.scheduling.eligibility import ANSWER, SPLIT, Need, eligible, need_like
from parallax.scheduling.events import WorkerReported
from parallax.scheduling.fleet import Fleet
from parallax.scheduling.in_flight import FIRST, HEDGE, STOPPING, InFlight
from parallax.scheduling.line import Line


def books(*workers: str) -> Attempts:
    fleet = Fleet(GATE.build("jbsq"))
    for worker in workers:
        fleet.report(WorkerReported(worker, 4), 0.0)
    return Attempts(
        Line(FAIRNESS.build("fair_queuing"), ORDERING.build("sjf"), None), fleet, TokenCost()
    )


def sent(job: str, worker: str, number: int = 1, hashes: int = 0) -> InFlight:
    view = JobView(job, "acme", 10, 10, 0.0, prefix=tuple(range(hashes)))
    return InFlight(view, "1-0", worker, number, 30.0)


def test_a_hedge_that_is_left_becomes_the_first_and_stands_behind_the_others() -> None:
    attempts = books("w1", "w2")
    first, hedge, later = sent("a", "w1"), sent("a", "w2", 2), sent("b", "w2")
    for attempt in (first, hedge, later):
        attempts.track(attempt)
    assert [attempt.standing for attempt in (first, hedge, later)] == [FIRST, HEDGE, FIRST]
    assert attempts.other(first) is hedge
    assert attempts.other(hedge) is first
    assert attempts.of_worker("w2") == [later, hedge]
    attempts.release(first, None)
    assert attempts.first("a") is hedge
    assert attempts.other(hedge) is None
    assert attempts.of_worker("w2") == [later, hedge]
    assert attempts.of_worker("w1") == []


def test_who_stops_decides_nothing_and_is_found_until_its_end() -> None:
    attempts = books("w1")
    attempt = sent("a", "w1")
    attempts.track(attempt)
    attempts.stop_all("a")
    assert "a" not in attempts
    assert attempt.standing == STOPPING
    assert attempts.find("a", "w1", 1) is attempt
    assert attempts.find("a", "w2", 1) is None
    again = sent("a", "w1", 2)
    attempts.track(again)
    assert attempts.of_worker("w1") == [again, attempt]
    attempts.release(attempt, None)
    assert attempts.find("a", "w1", 1) is None
    assert len(attempts) == 1


def test_the_hashes_are_those_of_all_that_is_in_flight() -> None:
    """Counted as attempts come and go, and equal to the sum over all of them."""
    attempts, random, held = books("w1", "w2"), Random(1), list[InFlight]()
    for n in range(400):
        if held and random.random() < 0.5:
            attempt = held.pop(random.randrange(len(held)))
            random.choice((attempts.void, attempts.leave))(attempt)
        else:
            held.append(sent(f"j{n}", random.choice(("w1", "w2", "gone")), 1, random.randrange(9)))
            attempts.track(held[-1])
        if held and random.random() < 0.2:
            attempts.stop_all(random.choice(held).job.id)
        assert attempts.hashes == sum(len(one.job.prefix) for one in held)
        assert len(attempts) == len(held)
        for worker in ("w1", "w2", "gone"):
            assert set(attempts.of_worker(worker)) == {a for a in held if a.worker == worker}


def test_who_moved_is_its_new_workers() -> None:
    attempts = books("w1", "w2")
    attempts.track(sent("a", "w1"))
    attempts.move("a", "w2")
    assert attempts.of_worker("w1") == []
    assert [one.job.id for one in attempts.of_worker("w2")] == ["a"]
    assert attempts.find("a", "w2", 1) is not None


def test_who_may_be_given_what() -> None:
    open_one = WorkerView("w", 4, free=1)
    assert eligible(ANSWER, open_one)
    assert not eligible(ANSWER, WorkerView("w", 4, free=0))
    assert not eligible(ANSWER, WorkerView("w", 4, free=1, draining=True))
    prefill = WorkerView("p", 4, free=1, role=PREFILL)
    assert eligible(SPLIT, prefill)
    assert not eligible(ANSWER, prefill)
    copy = need_like(open_one, job())
    assert eligible(copy, WorkerView("x", 4, free=1))
    assert not eligible(copy, WorkerView("x", 4, free=1, version="v2"))
    assert not eligible(copy, WorkerView("x", 4, free=1, role="decode"))
    assert not eligible(need_like(prefill, job()), prefill)


def test_a_job_goes_to_who_serves_its_model() -> None:
    llama = WorkerView("x", 4, free=1, models=frozenset({"llama", "qwen"}))
    anything = WorkerView("y", 4, free=1)
    unknown = WorkerView("z", 4, free=1, models=frozenset({""}))  # nobody has looked at it yet
    for model, who in (("llama", [llama, anything]), ("gpt", [anything]),
                       ("", [llama, anything, unknown])):  # fmt: skip
        need = Need(model=model)
        assert [view for view in (llama, anything, unknown) if eligible(need, view)] == who
    assert eligible(need_like(llama, job(model="qwen")), llama)
    assert not eligible(need_like(llama, job(model="gpt")), llama)


def test_short_answers_make_haste_until_they_end() -> None:
    """What an attempt adds goes with it, and an answer of any length adds no more than one."""
    attempts = books("w1", "w2")
    some = [sent(f"j{n}", "w1") for n in range(3)]
    for attempt, output in zip(some, (1.0, 32.0, 1_000.0), strict=True):
        attempt.output = output
        attempts.track(attempt)
    fleet = attempts._fleet
    assert 1.0 + 1 / 8 < fleet.view("w1").haste < 1.0 + 1 / 8 + 0.001
    assert fleet.view("w2").haste == 0.0
    attempts.release(some[0], None)
    assert fleet.view("w1").haste < 0.2
    for attempt in some[1:]:
        attempts.release(attempt, None)
    assert fleet.view("w1").haste == 0.0
