"""Prompts of groups in a cyclic order: each once before any comes again."""

from __future__ import annotations

import pytest

from parallax.core.errors import InvalidInput
from parallax.sim.workloads import made
from parallax.sim.workloads.spec import Length, Made, Stage


def asked(order: str, seconds: float) -> list[list[tuple[int, ...]]]:
    """Return which prompts are asked for in each of two stages: 3 groups of 4."""
    spec = Made("groups", (Stage(10.0, seconds), Stage(10.0, seconds)), Length(16.0),
                system=Length(16.0), groups=3, members=4, order=order)  # fmt: skip
    jobs = list(made.jobs(spec, 3))
    return [
        [tuple(job.prefix) for at_s, job in jobs if (at_s >= seconds) == second]
        for second in (False, True)
    ]


def test_a_cyclic_order_asks_for_every_prompt_before_any_comes_again() -> None:
    first, second = asked("cyclic", 10.0)
    assert len(set(first[:12])) == 12
    assert all(prompt == first[n % 12] for n, prompt in enumerate(first))
    assert second[:12] == first[:12], "a stage begins at the head of the row"


def test_the_control_a_random_order_asks_for_some_again_sooner() -> None:
    first, second = asked("random", 10.0)
    assert len(set(first[:12])) < 12
    assert second[:12] != first[:12]


@pytest.mark.parametrize("changes", [{"kind": "singles"}, {"zipf": 1.0}, {"order": "sorted"}])
def test_an_order_that_means_nothing_is_refused(changes: dict[str, object]) -> None:
    given = {"kind": "groups", "order": "cyclic", "stages": (Stage(1.0, 1.0),)} | changes
    with pytest.raises(InvalidInput, match="order"):
        Made(**given)  # type: ignore[arg-type]
