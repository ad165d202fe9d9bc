"""Stealing policies: from whom, how much, and what for."""

from __future__ import annotations

from random import Random

from parallax.policies.stealing.affinity_gain import AffinityGain
from parallax.policies.stealing.longest_victim import LongestVictim
from parallax.policies.stealing.never import NeverSteal
from parallax.policies.stealing.steal_half import StealHalf
from parallax.policies.stealing.victims import undelivered
from parallax.policies.testing import worker

THIEF = worker(0)
FULL, FULLER = worker(1, in_flight=11), worker(2, in_flight=15)


def test_what_runs_is_not_to_be_taken() -> None:
    assert [undelivered(w) for w in (THIEF, worker(3, in_flight=8), FULL)] == [0, 0, 3]


def test_the_longest_line_gives_half_rounded_up() -> None:
    for policy in (LongestVictim(), AffinityGain(), StealHalf(choices=9)):
        assert policy.choose(THIEF, [FULL, FULLER], 0.0) == ("w2", 4)
        assert policy.choose(THIEF, [FULL], 0.0) == ("w1", 2)


def test_nobody_with_enough_to_take_means_nothing_is_taken() -> None:
    for policy in (LongestVictim(threshold=8), AffinityGain(threshold=8), StealHalf(threshold=8)):
        assert policy.choose(THIEF, [FULL, FULLER], 0.0) is None
        assert policy.choose(THIEF, [], 0.0) is None


def test_another_pool_or_version_is_left_alone() -> None:
    others = [worker(1, in_flight=30, role="prefill"), worker(2, in_flight=30, version="new")]
    for policy in (LongestVictim(), AffinityGain(), StealHalf()):
        assert policy.choose(THIEF, others, 0.0) is None


def test_steal_half_sees_only_those_it_draws() -> None:
    siblings = [worker(n, in_flight=9) for n in range(1, 9)] + [worker(9, in_flight=99)]
    policy = StealHalf(choices=2)
    policy.seed(Random(1))
    seen = {policy.choose(THIEF, siblings, 0.0) for _ in range(100)}
    assert ("w9", 46) in seen
    assert len(seen) > 3


def test_a_job_is_worth_moving_when_its_wait_beats_its_cache() -> None:
    policy = AffinityGain(s_per_token=0.001, move_s=0.01)
    assert policy.worth(1.0, 0, 0)
    assert not policy.worth(1.0, 1_000, 0)
    assert policy.worth(1.0, 1_000, 500)
    assert not policy.worth(0.01, 0, 0)
    assert LongestVictim().worth(0.0, 10_000, 0)  # the control does not care


def test_never_is_never() -> None:
    assert NeverSteal().choose(THIEF, [FULLER], 0.0) is None
    assert not NeverSteal().worth(9.0, 0, 0)
