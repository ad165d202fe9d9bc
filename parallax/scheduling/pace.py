"""Learns from durations of attempts which workers are slower than the others of their pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from parallax.core.ewma import Ewma
from parallax.core.model import Usage

#: A worker counts as slow or fast only beyond this factor: load makes that much difference, too.
BAND = 1.5
#: A worker is taken to be like the others as firmly as if so many usual attempts had said so.
PRIOR_ATTEMPTS = 3.0


@dataclass(slots=True)
class Pace:
    """Fading means over all attempts of a pool: of workers with one role.

    Seconds per cost unit are no measure of a worker: a prompt token is computed in a hundredth of
    the time of an answer's, so whoever had more long answers would look slow. Workers are measured
    by what their jobs should have taken, phase by phase. Pools are not compared: where only prompts
    are computed they wait for each other, and where answers are given they do not.
    """

    _prefill: Ewma = field(default_factory=Ewma)  # seconds per prompt token computed
    _decode: Ewma = field(default_factory=Ewma)  # seconds per token after the first
    _ratio: Ewma = field(default_factory=Ewma)  # measured over expected
    _usual: Ewma = field(default_factory=Ewma)  # expected seconds of an attempt

    def learn(self, usage: Usage, now: float) -> tuple[float, float] | None:
        """Take note of an attempt; return measured over expected seconds, and its weight.

        None if nothing is known to compare it with.
        """
        if usage.service_s <= 0:
            return None
        expected = self._expected_s(usage)
        self._learn_phases(usage, now)
        if not expected:
            return None
        ratio = usage.service_s / expected
        self._ratio.update(ratio, now, expected)
        self._usual.update(expected, now)
        return ratio, expected

    def remember(self) -> list[Any]:
        """Return the learnt estimates."""
        return [mean.remember() for mean in self._means()]

    def recall(self, memory: Sequence[Any]) -> None:
        """Go on from what `remember` returned."""
        for mean, learnt in zip(self._means(), memory, strict=True):
            mean.recall(learnt)

    def slowness(self, measured: Ewma, now: float) -> float:
        """Return how much slower than its pool a worker with these ratios is; 1 = like others.

        The logarithm of what was measured is shrunk towards 0 by `PRIOR_ATTEMPTS`: one odd attempt
        says little, and what was measured says less the older it gets. Else a worker that nobody
        chooses, because its first attempt took long, would never show that it is like the others.
        """
        own, usual, attempt_s = measured.value, self._ratio.value, self._usual.value
        if not own or not usual or not attempt_s:
            return 1.0
        evidence = measured.weight(now) / attempt_s
        slowness = (own / usual) ** (evidence / (evidence + PRIOR_ATTEMPTS))
        return slowness if slowness > BAND or slowness * BAND < 1 else 1.0

    def _means(self) -> tuple[Ewma, ...]:
        return self._prefill, self._decode, self._ratio, self._usual

    def _expected_s(self, usage: Usage) -> float:
        """Return what it should have taken; 0 while that is unknown."""
        first = usage.prefill_s is not None
        prefill, decode = self._prefill.value, self._decode.value
        further = usage.output_tokens - first
        if (first and prefill is None) or (further > 0 and decode is None):
            return 0.0
        return first * _computed(usage) * (prefill or 0.0) + max(0, further) * (decode or 0.0)

    def _learn_phases(self, usage: Usage, now: float) -> None:
        first_s = usage.prefill_s or 0.0
        if usage.prefill_s is not None:
            tokens = _computed(usage)
            self._prefill.update(first_s / tokens, now, tokens)
        further = usage.output_tokens - (usage.prefill_s is not None)
        if further > 0:
            self._decode.update((usage.service_s - first_s) / further, now, further)


def _computed(usage: Usage) -> int:
    return max(1, usage.prompt_tokens - usage.cached_tokens)
