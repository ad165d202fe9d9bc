"""Advice: the choice follows from figures alone; what seeds do not tell apart changes nothing."""

from __future__ import annotations

from math import log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallax.sim.advice import (
    KEPT,
    Plan,
    alike,
    answer,
    chosen,
    fully_measured,
    means,
    next_sizes,
    plan,
    promising,
    second,
    smallest,
)
from parallax.sim.report.figures import Figure


def runs(*goodput: float, ttft: float = 100.0) -> dict[int, dict[str, Figure]]:
    """Return runs of seeds 0, 1, ... with these goodputs."""
    return {
        seed: {"goodput": value, "ttft_ms_p95": ttft + seed} for seed, value in enumerate(goodput)
    }


# -- which composition


def test_what_is_better_in_every_seed_is_chosen_wherever_it_stands() -> None:
    found = {"default": runs(0.90, 0.95, 0.92), "better": runs(0.93, 0.98, 0.95)}
    assert chosen(found) == "better"
    assert chosen(dict(reversed(found.items()))) == "better"


def test_what_seeds_do_not_tell_apart_leaves_the_first() -> None:
    luck = {"default": runs(0.90, 0.95, 0.92), "lucky": runs(0.99, 0.95, 0.89)}
    assert chosen(luck) == "default"
    assert chosen(dict(reversed(luck.items()))) == "lucky", "the order decides, not the mean"


def test_of_equal_goodput_the_first_token_decides() -> None:
    found = {"default": runs(1.0, 1.0, ttft=300.0), "quick": runs(1.0, 1.0, ttft=200.0)}
    assert chosen(found) == "quick"
    slower = {"default": runs(1.0, 1.0, ttft=300.0), "slow": runs(0.9, 0.9, ttft=200.0)}
    assert chosen(slower) == "default"


def test_nothing_is_chosen_from_nothing() -> None:
    with pytest.raises(ValueError, match="nothing"):
        chosen({})


def test_the_second_best_is_none_that_did_the_same() -> None:
    found = {"a": runs(1.0, 0.9), "twin": runs(1.0, 0.9), "b": runs(0.5, 0.6), "c": runs(0.7, 0.8)}
    assert alike(found["a"], found["twin"])
    assert chosen(found) == "a"
    assert second(found, "a") == "c"
    assert second({"a": runs(1.0), "twin": runs(1.0)}, "a") is None


def test_a_figure_that_was_never_measured_is_no_choice() -> None:
    nothing = {0: {"goodput": None, "ttft_ms_p95": None}}
    assert chosen({"nothing": nothing, "some": runs(0.1)}) == "some"
    assert means(nothing) == {"goodput": None, "ttft_ms_p95": None}


GOODPUTS = st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0, 1).map(runs), min_size=1)


@given(GOODPUTS, st.integers(1, 6))
def test_promising_are_the_first_and_the_best_and_no_more(found: dict[str, object], n: int) -> None:
    kept = promising(found, n)  # type: ignore[arg-type]
    assert len(kept) <= n
    assert kept[0] == next(iter(found)), "the default is always among them"
    order = list(found)
    assert kept == sorted(kept, key=order.index)
    if n > 1:
        goodput = {name: one[0]["goodput"] for name, one in found.items()}  # type: ignore[index]
        assert max(goodput.values()) == max(goodput[name] for name in kept)


def test_only_what_has_every_seed_is_compared() -> None:
    found = {"a": runs(0.9, 0.9), "b": runs(1.0)}
    assert list(fully_measured(found, [0, 1])) == ["a"]
    assert list(fully_measured(found, [0, 1, 2])) == ["a"], "those with most seeds"
    assert list(fully_measured({"b": runs(1.0)}, [0, 1])) == ["b"]


# -- how many workers


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 300))
def test_the_smallest_that_meets_the_goal_is_found_in_few_questions(
    least: int, start: int, most: int
) -> None:
    asked: list[int] = []

    def meets(size: int) -> bool:
        asked.append(size)
        return size >= least

    assert smallest(meets, start, most) == (least if least <= most else None)
    assert len(set(asked)) == len(asked) <= 2 * log2(max(2, most)) + 2
    assert all(1 <= size <= most for size in asked)


def test_a_goal_that_comes_and_goes_is_met_from_where_it_stays() -> None:
    assert answer({5: True, 6: False, 7: True, 8: True}) == 7
    assert answer({5: True, 6: False}) is None
    assert answer({}) is None


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_sizes_are_looked_at_until_the_answer_and_its_neighbours_are_known(
    least: int, at: int, most: int
) -> None:
    at = min(at, most)
    meets: dict[int, bool] = {}
    for _ in range(100):
        wanted = next_sizes(meets, at, most)
        if not wanted:
            break
        meets |= {size: size >= least for size in wanted}
    assert all(1 <= size <= most for size in meets)
    if least > most:
        assert answer(meets) is None
        assert most in meets
    else:
        assert answer(meets) == least
        assert meets.keys() >= {least - 1, least, least + 1} & set(range(1, most + 1))


# -- how much is tried


@given(st.floats(0, 500), st.integers(1, 40), st.integers(1, 10))
def test_a_plan_is_paid_for_and_no_smaller_than_it_must_be(
    affordable: float, combinations: int, seeds: int
) -> None:
    found = plan(affordable, combinations, seeds)
    assert 1 <= found.first <= combinations
    assert 1 <= found.kept <= min(KEPT, found.first)
    assert min(2, seeds) <= found.seeds <= max(1, seeds)
    smallest_there_is = plan(0.0, combinations, seeds)
    assert found.runs <= max(affordable, smallest_there_is.runs)
    whole = Plan(combinations, min(KEPT, combinations), seeds)
    if affordable >= whole.runs:
        assert found == whole
    assert plan(affordable + 10, combinations, seeds).runs >= found.runs or found.seeds < seeds
