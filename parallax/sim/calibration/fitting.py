"""Fitting the constants of an engine to what was measured of it.

A request alone sees its first token after

    request + base * (steps) + prefill * (tokens) + quad * (attention of its chunks)

and a step that gives `n` requests a token takes `base + decode * n + kv * (their context)`. Both
are linear in the constants, so all points are fitted at once, none of the constants negative, each
point weighed by the inverse of what was measured: relative errors count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, log2, sqrt
from statistics import median

from parallax.core.errors import InvalidInput
from parallax.engine.batch import BatchEngine
from parallax.engine.cost_model import StepCost
from parallax.engine.profiles import Profile
from parallax.engine.request import Request
from parallax.sim.calibration.least_squares import non_negative
from parallax.sim.calibration.points import Decode, Prefill, Timed

#: Different prompt lengths without which prompts say nothing of what a token costs.
FEWEST_LENGTHS = 2
#: A cache was at work where it held this share of a prompt that had just been asked.
HELD = 0.5
#: Lengths that are told apart while a length doubles.
_PLACES = 12


@dataclass(frozen=True, slots=True)
class Constants:
    """What is fitted: times of an engine, in milliseconds but for `kv_us`."""

    request_ms: float
    cost: StepCost


@dataclass(frozen=True, slots=True)
class Curve:
    """How far a fit is from the points of one kind: relative errors."""

    name: str
    points: int
    rms: float
    worst: float


def fitted(prefills: Sequence[Prefill], decodes: Sequence[Decode], budget: int) -> Constants:
    """Return the constants that fit best; `budget` is how many tokens a step computes at most.

    Points of the same place count as their median. Raises InvalidInput where too little is known.
    """
    lengths = {one.computed for one in prefills}
    if len(lengths) < FEWEST_LENGTHS or not decodes:
        known = f"{len(lengths)} prompt lengths, {len(decodes)} decodes"
        raise InvalidInput("measurements", known, f"at least {FEWEST_LENGTHS} and 1: measure on")
    prompts, steps = medians(prefills), medians_of_steps(decodes)
    rows = [*(_prefill_row(one, budget) for one in prompts), *map(_decode_row, steps)]
    values = [*(one.ttft_ms for one in prompts), *(one.step_ms for one in steps)]
    weights = [1.0 / max(one, 1e-6) for one in values]
    request, base, prefill, decode, kv, quad = non_negative(rows, values, weights)
    return Constants(request, StepCost(base, prefill, decode, kv, quad))


def _prefill_row(one: Prefill, budget: int) -> tuple[float, ...]:
    tokens = one.computed
    before = one.prompt_tokens - tokens
    return (1.0, ceil(tokens / budget), tokens, 0.0, 0.0, tokens * (before + tokens / 2))


def _decode_row(one: Decode) -> tuple[float, ...]:
    return (0.0, 1.0, 0.0, one.sequences, one.context_tokens / 1000, 0.0)


def medians(points: Iterable[Prefill]) -> list[Prefill]:
    """Return one point for each prompt length (about) and each length of what was cached."""
    found: dict[tuple[int, int], list[Prefill]] = defaultdict(list)
    for one in points:
        found[_place(one.computed), _place(one.cached_tokens + 1)].append(one)
    return [
        Prefill(
            round(median(one.prompt_tokens for one in many)),
            round(median(one.cached_tokens for one in many)),
            median(one.ttft_ms for one in many),
        )
        for _, many in sorted(found.items())
    ]


def _place(tokens: int) -> int:
    """Return a number that is the same for about the same length: tokenizers do not count words."""
    return round(_PLACES * log2(tokens))


def medians_of_steps(points: Iterable[Decode]) -> list[Decode]:
    """Return one point for each number of requests and (about the same) context."""
    found: dict[tuple[int, int], list[Decode]] = defaultdict(list)
    for one in points:
        found[one.sequences, _place(round(one.context_tokens / one.sequences) + 1)].append(one)
    return [
        Decode(
            many[0].sequences,
            median(one.context_tokens for one in many),
            median(one.step_ms for one in many),
        )
        for _, many in sorted(found.items())
    ]


def curves(
    constants: Constants, prefills: Sequence[Prefill], decodes: Sequence[Decode], budget: int
) -> list[Curve]:
    """Return how far the constants are from the medians that they were fitted to."""
    cost, told = constants.cost, medians(prefills)
    cold = [one for one in told if one.cached_tokens <= HELD * one.prompt_tokens]
    warm = [one for one in told if one.cached_tokens > HELD * one.prompt_tokens]
    steps = medians_of_steps(decodes)
    return [
        *_curve("prefill", [(ttft_ms(constants, one, budget), one.ttft_ms) for one in cold]),
        *_curve("cached", [(ttft_ms(constants, one, budget), one.ttft_ms) for one in warm]),
        *_curve(
            "decode",
            [
                (cost.step_ms((), one.sequences, round(one.context_tokens)), one.step_ms)
                for one in steps
            ],
        ),
    ]


def ttft_ms(constants: Constants, one: Prefill, budget: int) -> float:
    """Return the predicted time to the first token of a request that is alone."""
    told = (constants.request_ms, *_values(constants.cost))
    return sum(a * b for a, b in zip(told, _prefill_row(one, budget), strict=True))


def _values(cost: StepCost) -> tuple[float, ...]:
    return (cost.base_ms, cost.prefill_ms, cost.decode_ms, cost.kv_us, cost.quad_ms)


def _curve(name: str, pairs: Sequence[tuple[float, float]]) -> list[Curve]:
    errors = [predicted / measured - 1.0 for predicted, measured in pairs if measured > 0.0]
    if not errors:
        return []
    rms = sqrt(sum(one * one for one in errors) / len(errors))
    return [Curve(name, len(errors), rms, max(errors, key=abs))]


def together(profile: Profile, bursts: Sequence[Sequence[Timed]]) -> list[Curve]:
    """Hold whole answers of bursts against the engine's model: nothing was fitted to them."""
    pairs = [pair for burst in bursts for pair in _burst(profile, burst)]
    return _curve("bursts", pairs)


def _burst(profile: Profile, burst: Sequence[Timed]) -> list[tuple[float, float]]:
    """Return predicted and measured times of a burst's mean and last answer."""
    engine, start = BatchEngine(profile), min(one.sent_ms for one in burst)
    for n, one in enumerate(sorted(burst, key=lambda timed: timed.sent_ms)):
        engine.run_until(one.sent_ms - start + profile.request_ms)
        tokens = max(1, one.output_tokens)
        engine.add(Request(f"r{n}", "", one.prompt_tokens, tokens, tokens))
    ends = [change.at_ms for change in engine.run_until(1e12) if change.finished]
    measured = [one.end_ms - start for one in burst]
    return [(sum(ends) / len(ends), sum(measured) / len(measured)), (max(ends), max(measured))]
