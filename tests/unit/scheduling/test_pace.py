"""Who is slow: measured against what the jobs should have taken, not against their cost."""

from __future__ import annotations

from random import Random

import pytest

from parallax.core.ewma import Ewma
from parallax.core.model import Usage
from parallax.policies.registry import GATE
from parallax.policies.testing import job
from parallax.scheduling.events import WorkerReported
from parallax.scheduling.fleet import Fleet
from parallax.scheduling.in_flight import InFlight
from parallax.scheduling.pace import BAND, Pace

PREFILL_S, DECODE_S = 0.0001, 0.02  # a token of the prompt, and one of the answer


def usage(prompt: int, output: int, factor: float = 1.0) -> Usage:
    first = factor * PREFILL_S * prompt
    return Usage(prompt, output, 0, first + factor * DECODE_S * (output - 1), first)


def cost(used: Usage) -> float:
    return used.prompt_tokens + 2.0 * used.output_tokens


def measured(mixes: dict[str, tuple[int, int, float]], rounds: int = 50) -> dict[str, float]:
    """Let each worker serve its own mix of jobs, at its own speed; return who looks how slow."""
    pace, ratios, random = Pace(), {name: Ewma() for name in mixes}, Random(1)
    for n in range(rounds):
        for name, (prompt, output, factor) in mixes.items():
            used = usage(1 + random.randrange(2 * prompt), 2 + random.randrange(2 * output), factor)
            found = pace.learn(used, float(n))
            if found is not None:
                ratios[name].update(found[0], float(n), found[1])
    return {name: pace.slowness(ewma, float(rounds)) for name, ewma in ratios.items()}


def test_a_slow_worker_is_found_whatever_it_serves() -> None:
    sound = {f"w{n}": (1_000, 100, 1.0) for n in range(6)}
    found = measured({**sound, "slow": (100, 60, 4.0)})
    assert found["slow"] > 2.0
    assert {found[name] for name in sound} == {1.0}


def test_long_answers_do_not_make_a_worker_slow_though_they_cost_more_time_a_unit() -> None:
    mixes = {"prompts": (4_000, 20, 1.0), "answers": (100, 400, 1.0)}
    assert measured(mixes) == {"prompts": 1.0, "answers": 1.0}
    by_cost = [
        usage(prompt, output).service_s / cost(usage(prompt, output))
        for prompt, output, _ in mixes.values()
    ]
    assert by_cost[1] > 4 * by_cost[0], "the control: seconds per cost unit tell them apart"


@pytest.mark.parametrize("factor", [1.2, 1 / 1.2])
def test_what_load_may_explain_is_no_slowness(factor: float) -> None:
    assert 1 / BAND < factor < BAND
    found = measured({"w0": (1_000, 100, 1.0), "w1": (1_000, 100, factor)})
    assert found == {"w0": 1.0, "w1": 1.0}


def test_nothing_is_known_at_first_and_nothing_is_learnt_from_nothing() -> None:
    pace = Pace()
    assert pace.slowness(Ewma(), 0.0) == 1.0
    assert pace.learn(Usage(10, 0), 0.0) is None
    assert pace.learn(usage(100, 10), 0.0) is None, "there is nothing to compare it with"
    assert pace.learn(usage(100, 10), 1.0) is not None


def test_an_attempt_that_only_decodes_is_measured_by_its_answer() -> None:
    pace = Pace()
    pace.learn(usage(1_000, 100), 0.0)
    decoding = Usage(1_000, 50, 0, 2 * 50 * DECODE_S, None)
    found = pace.learn(decoding, 1.0)
    assert found is not None
    assert found[0] == pytest.approx(2.0)


def released(worker: str) -> InFlight:
    return InFlight(job(), "", worker, 1, 600.0)


def test_pools_are_not_compared_with_each_other() -> None:
    def seen(role: str) -> float:
        fleet = Fleet(GATE.build("jbsq"))
        fleet.report(WorkerReported("p", slots=4, role=role), 0.0)
        fleet.report(WorkerReported("d", slots=4, role="decode"), 0.0)
        for n in range(20):
            fleet.learn(released("d"), usage(500, 50), 600.0, float(n))
            fleet.learn(released("p"), usage(500, 50, factor=8.0), 600.0, float(n))
        return fleet.view("p").slowness

    assert seen("prefill") == 1.0
    assert seen("decode") > 1.5, "the control: within a pool they are"


def judged(attempts: int, seconds_later: float) -> float:
    """Return how slow a worker looks that long after so many attempts at a quarter of the pace."""
    fleet = Fleet(GATE.build("jbsq"))
    sound = [f"w{n}" for n in range(9)]
    for name in ("slow", *sound):
        fleet.report(WorkerReported(name, slots=4), 0.0)
    for n in range(360):
        fleet.learn(released(sound[n % 9]), usage(500, 50), 600.0, 10.0)
    for _ in range(attempts):
        fleet.learn(released("slow"), usage(500, 50, factor=4.0), 600.0, 10.0)
    return {w.id: w.slowness for w in fleet.open(10.0 + seconds_later)}["slow"]


def test_one_slow_attempt_says_little_and_many_say_what_they_say() -> None:
    one, five, twenty = (judged(attempts, 0.0) for attempts in (1, 5, 20))
    assert one == 1.0
    assert 1.5 < five < twenty < 4.0


def test_a_judgement_fades_though_nobody_sends_work_and_nothing_is_reported() -> None:
    """Else a worker that was slow once would be avoided for ever."""
    fresh, old, ancient = (judged(10, seconds) for seconds in (0.0, 15.0, 120.0))
    assert fresh > old > ancient == 1.0
