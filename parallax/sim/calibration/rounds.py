"""Rounds of requests that measure an engine; an early end leaves something of each curve."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from parallax.core.model import check_int
from parallax.engine.profiles import Profile
from parallax.sim.calibration.fitting import HELD, Constants, Curve, curves, fitted, together
from parallax.sim.calibration.points import (
    Decode,
    Prefill,
    Timed,
    again_of,
    decode_of,
    prefill_of,
)

#: Tokens of the shortest prompt, and of the shortest "longest" that says something.
SHORTEST, LEAST_LONGEST = 16, 64
PREFILL, AGAIN, DECODE, BURST = "prefill", "again", "decode", "burst"


@dataclass(frozen=True, slots=True)
class Round:
    """Requests that are sent at once. AGAIN sends the prompt of the round before."""

    kind: str
    requests: int
    prompt_tokens: int
    output_tokens: int


def one_pass(slots: int, longest: int, output: int) -> list[Round]:
    """Return the rounds of one pass over all curves, the ends of each curve first."""
    check_int("slots", slots, 1, 100_000)
    check_int("longest prompt", longest, LEAST_LONGEST, 10**7)
    check_int("output tokens", output, 4, 100_000)
    prompts = [_prefills(length) for length in _outer_first(list(_doubled(SHORTEST, longest)))]
    batches = _outer_first(list(_doubled(1, slots)))
    decodes = [
        [Round(DECODE, n, length, output)] for n in batches for length in (SHORTEST, longest // 2)
    ]
    bursts = [[Round(BURST, 2 * slots, longest // 4, max(4, output // 2))]]
    ordered: Iterable[tuple[list[Round], ...]] = zip_longest(prompts, decodes, bursts, fillvalue=[])
    return [one for parts in ordered for part in parts for one in part]


def _prefills(length: int) -> list[Round]:
    return [Round(PREFILL, 1, length, 1), Round(AGAIN, 1, length, 1)]


def _doubled(first: int, last: int) -> Iterator[int]:
    while first < last:
        yield first
        first *= 2
    yield last


def _outer_first(values: Sequence[int]) -> list[int]:
    """Return first and last, then those between."""
    return [*dict.fromkeys((values[0], values[-1], *values[1:-1]))]


@dataclass(slots=True)
class Measured:
    """What the rounds have brought so far."""

    prefills: list[Prefill] = field(default_factory=list)
    decodes: list[Decode] = field(default_factory=list)
    bursts: list[tuple[Timed, ...]] = field(default_factory=list)
    _last: Timed | None = None  # the prompt that AGAIN repeats

    def add(self, kind: str, timed: Sequence[Timed]) -> None:
        """Note a round."""
        if kind == PREFILL:
            self._last = timed[0]
            self.prefills.append(prefill_of(timed[0]))
        elif kind == AGAIN and self._last is not None:
            self.prefills.append(again_of(self._last, timed[0]))
        elif kind == DECODE and (point := decode_of(timed)) is not None:
            self.decodes.append(point)
        elif kind == BURST:
            self.bursts.append(tuple(timed))

    @property
    def caches(self) -> bool:
        """Whether the engine found prompts again, or was never asked one again."""
        long = [one for one in self.prefills if one.prompt_tokens >= LEAST_LONGEST]
        return not long or any(one.cached_tokens > HELD * one.prompt_tokens for one in long)


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A profile, and how far it is from what was measured."""

    profile: Profile
    curves: tuple[Curve, ...]


def calibrated(
    measured: Measured, name: str, slots: int, kv_capacity: int, budget: int
) -> Calibrated:
    """Return the profile that fits best; raises InvalidInput where too little was measured."""
    constants: Constants = fitted(measured.prefills, measured.decodes, budget)
    profile = Profile(
        name, constants.cost, kv_capacity, slots, budget,
        request_ms=constants.request_ms, prefix_caching=measured.caches,
    )  # fmt: skip
    found = curves(constants, measured.prefills, measured.decodes, budget)
    return Calibrated(profile, (*found, *together(profile, measured.bursts)))
