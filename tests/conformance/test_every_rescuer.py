"""What every batching, hedging, stealing, rollout and scaling policy must do, whatever its name."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from parallax.core.model import BatchView, LoadView
from parallax.policies.registry import BATCHING, HEDGING, ROLLOUT, SCALING, STEALING
from parallax.policies.testing import job, worker

LOADS = [0.0, 0.3, 1.0, 7.5, 80.0]


def loaded(offered: float, workers: int, backlog: float = 0.0) -> LoadView:
    return LoadView(offered, offered, backlog, workers, workers, 1.0)


@pytest.mark.parametrize("name", list(BATCHING))
def test_batches_take_no_more_than_waits_and_never_hold_for_ever(name: str) -> None:
    policy, random = BATCHING.build(name), Random(1)
    for _ in range(500):
        waiting, running = random.randrange(1, 50), random.randrange(0, 20)
        places = random.randrange(0, 30)
        view = BatchView(waiting, running, places, random.uniform(0.0, 2.0), 100 * waiting)
        assert 0 <= policy.take(view) <= waiting
        wake = policy.wake_s(view)
        assert wake is None or wake >= 0.0
    idle = BatchView(3, 0, 8, 3_600.0, 300)
    assert policy.take(idle) > 0, "an idle engine whose jobs have waited for an hour starts them"


@pytest.mark.parametrize("name", list(HEDGING))
def test_hedges_stay_within_a_share_of_the_first_attempts(name: str) -> None:
    policy, random = HEDGING.build(name), Random(2)
    allowed = 0
    for n in range(4_000):
        delay = policy.arm(job(n), 1.0)
        assert delay is None or delay >= 0.0
        policy.observe(1.0, random.expovariate(1.0))
        allowed += delay is not None and policy.allow(0.0)
    assert allowed <= 0.5 * 4_000 + 10
    assert not policy.allow(1.0), "a full fleet does nothing twice"
    assert isinstance(policy.cancels_at_start(), bool)


@pytest.mark.parametrize("name", list(STEALING))
def test_thieves_take_what_waits_from_others_of_their_kind(name: str) -> None:
    policy, random = STEALING.build(name), Random(3)
    if hasattr(policy, "seed"):
        policy.seed(random)
    thief = worker(99, slots=2)
    for _ in range(300):
        siblings = [worker(n, slots=2, in_flight=random.randrange(0, 9)) for n in range(6)]
        chosen = policy.choose(thief, siblings, 0.0)
        if chosen is None:
            continue
        victim = next(one for one in siblings if one.id == chosen[0])
        assert 1 <= chosen[1] <= victim.in_flight - victim.slots
    strangers = [worker(1, in_flight=9, slots=1, version="v2"),
                 worker(2, in_flight=9, slots=1, role="prefill")]  # fmt: skip
    assert policy.choose(thief, strangers, 0.0) is None
    assert policy.choose(thief, [worker(3, in_flight=2, slots=2)], 0.0) is None
    assert isinstance(policy.worth(10.0, 0, 0), bool)


@pytest.mark.parametrize("name", list(ROLLOUT))
def test_rollouts_keep_sessions_together_and_end_for_good_or_bad(name: str) -> None:
    policy = ROLLOUT.build(name)
    arms = {policy.arm(job(n, session="s")) for n in range(50)}
    assert len(arms) == 1
    every = [policy.arm(job(n, session=f"s{n}")) for n in range(3_000)]
    assert set(every) == {"canary", "stable"}
    assert policy.verdict() == "undecided"
    random = Random(4)
    for _ in range(60_000):
        policy.observe("canary", random.random() < 0.5)
        policy.observe("stable", random.random() < 0.05)
        if policy.verdict() != "undecided":
            break
    assert policy.verdict() == "rollback"


@pytest.mark.parametrize("name", list(SCALING))
def test_fleets_grow_with_the_load_and_a_steady_load_is_no_swing(name: str) -> None:
    wanted = [SCALING.build(name).desired(loaded(x, 40), 0.0) for x in LOADS]
    assert wanted == sorted(wanted)
    assert wanted[0] >= 0
    assert wanted[-1] > 40, "twice what the fleet can do"
    unknown = LoadView(50.0, 50.0, 0.0, 7, 7, 0.0)
    assert SCALING.build(name).desired(unknown, 0.0) == 7, "nothing is known yet"
    calm = SCALING.build(name)
    counts = [calm.desired(loaded(10.0, 20), 15.0 * n) for n in range(40)]
    assert sum(a != b for a, b in pairwise(counts)) <= 1
