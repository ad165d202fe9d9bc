"""The profiles: near the roofline they were drawn from, with the memory their cards have."""

from __future__ import annotations

import pytest

from parallax.core.errors import InvalidInput
from parallax.engine.profiles import PROFILES, profile_named

#: Step times in ms of a roofline (weights read, GEMMs, attention, communication): decodes of 1, 32
#: and 128 sequences with 1,024 tokens of context each; prompts of 512, 2,048 and 8,192 tokens.
ROOFLINE = {
    "llama3-8b-a100": ((11.4, 14.7, 26.8), (39.0, 156.0, 717.0)),
    "llama3-8b-h100": ((7.3, 9.3, 15.8), (13.0, 50.0, 227.0)),
    "llama3-70b-a100-tp4": ((27.1, 29.6, 42.1), (99.0, 393.0, 1_680.0)),
    "llama3-70b-h100-tp4": ((17.6, 19.2, 24.6), (37.0, 138.0, 581.0)),
}
#: GiB of all cards, bytes of weights, bytes of KV cache per token, cards.
MEMORY = {
    "llama3-8b-a100": (80, 2 * 8.03e9, 131_072, 1),
    "llama3-8b-h100": (80, 2 * 8.03e9, 131_072, 1),
    "llama3-70b-a100-tp4": (320, 2 * 70.55e9, 327_680, 4),
    "llama3-70b-h100-tp4": (320, 2 * 70.55e9, 327_680, 4),
    "qwen3-32b-h100-tp2": (160, 2 * 32.76e9, 262_144, 2),
}
GIB = 2**30


@pytest.mark.parametrize("name", ROOFLINE)
def test_decodes_are_as_long_as_the_roofline_says(name: str) -> None:
    cost, (decodes, _) = PROFILES[name].cost, ROOFLINE[name]
    *few, many = [cost.step_ms([], batch, 1_024 * batch) for batch in (1, 32, 128)]
    assert few == pytest.approx(decodes[:2], rel=0.05)
    assert few != pytest.approx([1.1 * ms for ms in decodes[:2]], rel=0.05), "the control"
    assert many == pytest.approx(decodes[2], rel=0.18), "where GEMMs begin to count"


@pytest.mark.parametrize("name", ROOFLINE)
def test_prompts_are_and_short_ones_are_too_long_rather_than_too_short(name: str) -> None:
    """A straight line cannot follow the knee where reading weights and computing take as long."""
    cost, (_, prompts) = PROFILES[name].cost, ROOFLINE[name]
    short, middle, long = (cost.step_ms([(n, 0)], 0, 0) for n in (512, 2_048, 8_192))
    assert (middle, long) == pytest.approx(prompts[1:], rel=0.13)
    assert 1.0 <= short / prompts[0] <= 1.6


@pytest.mark.parametrize("name", MEMORY)
def test_the_cache_is_what_the_weights_leave(name: str) -> None:
    gib, weights, per_token, cards = MEMORY[name]
    other = 5.5 + (0.15 if cards == 1 else 0.6 * cards)  # activations, and what the runtime takes
    room = (0.9 * gib - other) * GIB - weights
    assert PROFILES[name].kv_capacity == pytest.approx(room / per_token, rel=0.03)


def test_an_unknown_profile_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="llama3-8b-a100"):
        profile_named("gpu")
