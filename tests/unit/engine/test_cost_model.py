"""Step times: monotone, and a row of decodes is the sum of its steps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallax.core.errors import InvalidInput
from parallax.engine.cost_model import StepCost
from parallax.engine.profiles import PROFILES

COST = PROFILES["llama3-8b-a100"].cost


@given(st.integers(0, 200), st.integers(1, 64), st.integers(0, 100_000))
def test_a_row_of_decodes_is_the_sum_of_its_steps(steps: int, sequences: int, kv: int) -> None:
    single = sum(COST.step_ms([], sequences, kv + sequences * k) for k in range(steps))
    assert COST.decodes_ms(steps, sequences, kv) == pytest.approx(single)


@given(st.integers(1, 4_000), st.integers(0, 8_000), st.integers(0, 64))
def test_more_work_takes_longer(tokens: int, before: int, sequences: int) -> None:
    step = COST.step_ms([(tokens, before)], sequences, 100)
    assert COST.step_ms([(tokens + 1, before)], sequences, 100) > step
    assert COST.step_ms([(tokens, before + 1)], sequences, 100) > step
    assert COST.step_ms([(tokens, before)], sequences + 1, 100) > step
    assert COST.step_ms([(tokens, before)], sequences, 101) > step


def test_splitting_a_prompt_costs_a_base_more_and_the_same_attention() -> None:
    whole = COST.step_ms([(1_000, 0)], 0, 0)
    halves = COST.step_ms([(500, 0)], 0, 0) + COST.step_ms([(500, 500)], 0, 0)
    assert halves == pytest.approx(whole + COST.base_ms)


def test_constants_are_checked() -> None:
    with pytest.raises(InvalidInput, match="decode_ms"):
        StepCost(1.0, 1.0, -1.0, 1.0, 1.0)
