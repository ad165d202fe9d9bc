"""Calibration: a planted engine is found again from noisy times, and nothing else is found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallax.core.errors import InvalidInput
from parallax.engine.batch import BatchEngine
from parallax.engine.cost_model import StepCost
from parallax.engine.profiles import Profile
from parallax.engine.request import Request
from parallax.sim.calibration.fitting import Constants, curves, fitted, ttft_ms
from parallax.sim.calibration.least_squares import non_negative
from parallax.sim.calibration.points import Decode, Prefill, Timed
from parallax.sim.calibration.rounds import AGAIN, Calibrated, Measured, calibrated, one_pass

BUDGET = 256
PLANTED = Constants(7.0, StepCost(5.0, 0.4, 0.8, 4.0, 2e-4))


def planted(
    noise: float, random: Random, constants: Constants = PLANTED
) -> tuple[list[Prefill], list[Decode]]:
    """Return times of an engine with these constants, each off by a random share."""

    def told(ms: float) -> float:
        return ms * max(0.1, random.gauss(1.0, noise))

    prefills = [
        Prefill(n, n // 2 * half, 1.0) for n in (16, 64, 200, 500, 1_000) for half in (0, 1)
    ]
    decodes = [Decode(n, n * context, 1.0) for n in (1, 2, 4, 8) for context in (32, 300, 600)]
    return (
        [replace(p, ttft_ms=told(ttft_ms(constants, p, BUDGET))) for p in prefills * 9],
        [
            replace(d, step_ms=told(constants.cost.step_ms((), d.sequences, int(d.context_tokens))))
            for d in decodes * 9
        ],
    )


def close(found: Constants, share: float) -> bool:
    """Whether what constants predict is what the planted ones predict, within a share."""
    prefills, decodes = planted(0.0, Random(0))
    return all(abs(one.worst) <= share for one in curves(found, prefills, decodes, BUDGET))


@pytest.mark.parametrize("seed", range(5))
def test_planted_constants_are_found_through_noise(seed: int) -> None:
    found = fitted(*planted(0.08, Random(seed)), BUDGET)
    assert close(found, 0.10)
    assert found.request_ms == pytest.approx(PLANTED.request_ms, rel=0.5)
    assert found.cost.base_ms == pytest.approx(PLANTED.cost.base_ms, rel=0.25)
    assert found.cost.prefill_ms == pytest.approx(PLANTED.cost.prefill_ms, rel=0.25)
    assert found.cost.kv_us == pytest.approx(PLANTED.cost.kv_us, rel=0.25)


def test_without_noise_every_constant_is_the_planted_one() -> None:
    found = fitted(*planted(0.0, Random(0)), BUDGET)
    assert found.request_ms == pytest.approx(7.0)
    for name in ("base_ms", "prefill_ms", "decode_ms", "kv_us", "quad_ms"):
        assert getattr(found.cost, name) == pytest.approx(getattr(PLANTED.cost, name), rel=1e-3)


def test_control_another_engine_or_shuffled_times_are_told_apart() -> None:
    other = replace(PLANTED, cost=replace(PLANTED.cost, prefill_ms=0.6))
    assert not close(fitted(*planted(0.08, Random(1), other), BUDGET), 0.10)
    prefills, decodes = planted(0.0, Random(1))
    times = [one.ttft_ms for one in prefills]
    Random(1).shuffle(times)
    mixed = [replace(p, ttft_ms=ms) for p, ms in zip(prefills, times, strict=True)]
    found = fitted(mixed, decodes, BUDGET)
    assert not close(found, 0.10)
    (prefill, *_) = curves(found, mixed, decodes, BUDGET)
    assert prefill.rms > 0.3, "a bad fit says so"


def test_too_little_is_refused() -> None:
    prefills, decodes = planted(0.0, Random(0))
    with pytest.raises(InvalidInput, match="1 prompt lengths"):
        fitted([prefills[0]], decodes, BUDGET)
    with pytest.raises(InvalidInput, match="0 decodes"):
        fitted(prefills, [], BUDGET)


# -- the solver


def best(matrix: np.ndarray, target: np.ndarray, found: np.ndarray) -> bool:
    """Whether no other coefficients that are not negative are better (Karush, Kuhn, Tucker)."""
    slope = matrix.T @ (matrix @ found - target)
    size = 1e-6 * (1.0 + np.abs(matrix).sum(axis=0) * (1.0 + np.abs(target).max()))
    return bool(
        (found >= 0).all()
        and (slope >= -size).all()
        and (np.abs(slope[found > 0]) <= size[found > 0]).all()
    )


@given(st.integers(0, 10**6), st.integers(1, 5))
def test_no_coefficients_that_are_not_negative_are_better(seed: int, columns: int) -> None:
    random = np.random.default_rng(seed)
    matrix, target = random.normal(size=(12, columns)), random.normal(size=12)
    found = non_negative(matrix.tolist(), target.tolist(), [1.0] * 12)
    assert best(matrix, target, np.array(found))


def test_control_cutting_off_what_is_negative_is_not_best() -> None:
    random = np.random.default_rng(3)
    verdicts = []
    for _ in range(50):
        matrix, target = random.normal(size=(12, 4)), random.normal(size=12)
        cut = np.maximum(np.linalg.lstsq(matrix, target, rcond=None)[0], 0.0)
        verdicts.append(best(matrix, target, cut))
    assert not all(verdicts)


# -- a whole engine, round by round

ENGINE = Profile(
    "planted", StepCost(4.0, 0.3, 0.9, 5.0, 1e-4), 40_000, max_seqs=4, token_budget=512,
    request_ms=3.0,
)  # fmt: skip


def lived(profile: Profile, asked: Sequence[Request]) -> list[Timed]:
    """Let the engine's model answer these requests, all sent at once."""
    engine = BatchEngine(profile, exact=True)
    for request in asked:
        engine.add(request)
    pieces: dict[str, list[float]] = {request.id: [] for request in asked}
    told: dict[str, Timed] = {}
    while (due := engine.next_change_ms()) is not None:
        changes = engine.run_until(due)
        at = due + profile.request_ms
        for name, said in pieces.items():
            said.extend([at] * (engine.output_of(name) - len(said)))
        for change in changes:
            if change.finished:
                times = pieces[change.id]
                times += [at] * (change.output_tokens - len(times))
                cached, output = change.cached_tokens, change.output_tokens
                told[change.id] = Timed(0.0, tuple(times), at, change.prompt_tokens, cached, output)
    return [told[request.id] for request in asked]


def measured(profile: Profile) -> Calibrated:
    """Calibrate the model of an engine as a server is."""
    found = Measured()
    for one in one_pass(profile.max_seqs, 1_000, 24):
        asked = [
            Request(f"r{n}", "", one.prompt_tokens, one.output_tokens, one.output_tokens)
            for n in range(one.requests)
        ]
        if one.kind == AGAIN:
            names = tuple(range(one.prompt_tokens // 16))
            asked = [replace(asked[0], id=f"a{n}", prefix=names) for n in range(2)]
            engine_saw = lived(replace(profile, max_seqs=1), asked)
            first, second = engine_saw
            wait = first.end_ms - profile.request_ms
            found.add(one.kind, [replace(second, sent_ms=wait)])
        else:
            found.add(one.kind, lived(profile, asked))
    return calibrated(found, "planted", profile.max_seqs, profile.kv_capacity, profile.token_budget)


def test_a_whole_engine_is_found_and_its_bursts_are_foretold() -> None:
    found = measured(ENGINE)
    assert found.profile.prefix_caching
    assert found.profile.request_ms == pytest.approx(ENGINE.request_ms, rel=0.15)
    assert found.profile.cost.base_ms == pytest.approx(ENGINE.cost.base_ms, rel=0.1)
    assert found.profile.cost.decode_ms == pytest.approx(ENGINE.cost.decode_ms, rel=0.1)
    assert {one.name for one in found.curves} == {"prefill", "cached", "decode", "bursts"}
    assert all(abs(one.worst) < 0.02 for one in found.curves)


def test_an_engine_without_a_cache_is_known_as_one() -> None:
    assert not measured(replace(ENGINE, prefix_caching=False)).profile.prefix_caching
