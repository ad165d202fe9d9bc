"""Who is slower than the others of its pool, learnt from what attempts took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from parallax.core.ewma import Ewma
from parallax.core.model import Usage

#: A worker counts as slow or fast only beyond this factor: load makes that much difference, too.
BAND = 1.5


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
        return ratio, expected

    def remember(self) -> list[Any]:
        """Return what was learnt."""
        return [mean.remember() for mean in (self._prefill, self._decode, self._ratio)]

    def recall(self, memory: Sequence[Any]) -> None:
        """Go on from what `remember` returned."""
        for mean, learnt in zip((self._prefill, self._decode, self._ratio), memory, strict=True):
            mean.recall(learnt)

    def slowness(self, measured: Ewma) -> float:
        """Return how much slower than its pool a worker with these ratios is; 1 = like others."""
        own, usual = measured.value, self._ratio.value
        if not own or not usual:
            return 1.0
        slowness = own / usual
        return slowness if slowness > BAND or slowness * BAND < 1 else 1.0

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
