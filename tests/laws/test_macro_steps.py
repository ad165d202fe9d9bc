"""Rows of steps are exact: one engine takes them whole, its twin one step at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

import pytest

from parallax.engine.batch import BatchEngine
from parallax.engine.profiles import PROFILES, Profile
from parallax.engine.request import Change, Request

CASES = 500
#: Allowed difference: rounding of one long sum against many short ones, far below 0.1 %.
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Case:
    """An engine, and what is done to it when: a request comes, or one is cancelled."""

    profile: Profile
    deeds: list[tuple[float, Request | str]]


def case(seed: int) -> Case:
    random = Random(seed)
    block = random.choice([1, 16, 32])
    profile = replace(
        random.choice(list(PROFILES.values())),
        block_size=block,
        kv_capacity=random.choice([1_600, 3_200, 64_000]),
        dram_tokens=random.choice([0, 6_400]),
        max_seqs=random.choice([1, 3, 16]),
        token_budget=random.choice([32, 256, 2_048]),
    )
    gap = random.choice([0.0, 20.0, 500.0])
    at, deeds = 0.0, list[tuple[float, Request | str]]()
    for n in range(random.randint(1, 25)):
        at += random.expovariate(1 / gap) if gap else 0.0
        deeds.append((at, request(random, n)))
        if random.random() < 0.1:
            deeds.append((at + random.uniform(0, 2_000), f"r{n}"))
    return Case(profile, sorted(deeds, key=lambda deed: deed[0]))


def request(random: Random, n: int) -> Request:
    prompt, output = random.randint(0, 800), random.randint(1, 200)
    session = random.choice(["", "", "a", "b"])
    group = random.randint(0, 2)
    shared = random.random() < 0.3
    prefix = tuple(range(group * 1_000, group * 1_000 + prompt // 32)) if shared else ()
    factor = random.choice([1.0] * 9 + [5.0])
    prefilled = output > 1 and random.random() < 0.1
    return Request(
        f"r{n}", session, prompt, output, output, prefix, 32 if shared else 16, prefilled, factor
    )


def played(case: Case, *, exact: bool) -> tuple[list[Change], BatchEngine]:
    engine = BatchEngine(case.profile, exact=exact)
    changes: list[Change] = []
    for at, deed in case.deeds:
        changes += engine.run_until(at)
        if isinstance(deed, str):
            engine.cancel(deed)
        else:
            engine.add(deed)
    return changes + engine.run_until(1e9), engine


def untimed(change: Change) -> Change:
    return replace(change, at_ms=0.0, began_ms=0.0)


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    "block", [*range(3), *(pytest.param(n, marks=pytest.mark.slow) for n in range(3, 10))]
)
def test_every_request_has_its_first_and_last_token_when_single_steps_say(block: int) -> None:
    for seed in range(block * CASES // 10, (block + 1) * CASES // 10):
        one, whole = played(case(seed), exact=False)
        other, stepped = played(case(seed), exact=True)
        assert [untimed(c) for c in one] == [untimed(c) for c in other], seed
        for a, b in zip(one, other, strict=True):
            assert a.at_ms == pytest.approx(b.at_ms, rel=TOLERANCE), seed
            assert a.began_ms == pytest.approx(b.began_ms, rel=TOLERANCE), seed
        assert whole.preemptions == stepped.preemptions
        assert whole.busy_ms == pytest.approx(stepped.busy_ms, rel=TOLERANCE)
        assert whole.kv_used == stepped.kv_used == 0.0


@pytest.mark.dear
def test_the_cases_reach_the_corners() -> None:
    """What is never exercised is never compared."""
    engines = [played(case(seed), exact=False) for seed in range(200)]
    assert sum(engine.preemptions > 0 for _, engine in engines) >= 5
    assert sum(any(c.cached_tokens for c in changes) for changes, _ in engines) >= 20


def test_a_row_that_is_not_cut_at_arrivals_would_be_caught() -> None:
    """The control: who looks at the engine only when it changes by itself makes others wait."""
    deaf = 0
    for seed in range(60):
        spec = case(seed)
        other, _ = played(spec, exact=True)
        engine = BatchEngine(spec.profile)
        changes: list[Change] = []
        for at, deed in spec.deeds:
            changes += engine.run_until(at)
            due = engine.next_change_ms()
            changes += engine.run_until(due if due is not None else at)
            engine.cancel(deed) if isinstance(deed, str) else engine.add(deed)
        changes += engine.run_until(1e9)
        times = {(c.id, c.finished): c.at_ms for c in other}
        deaf += any(
            abs(c.at_ms - times.get((c.id, c.finished), c.at_ms)) > 1e-3 * c.at_ms for c in changes
        )
        if deaf > 10:
            return
    pytest.fail(f"only {deaf} of 60 differ")
