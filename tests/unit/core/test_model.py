"""A job that cannot be is refused with field, value and what is allowed."""

from __future__ import annotations

from typing import Any

import pytest

from parallax.core.errors import InvalidInput, InvalidSettings, ParallaxError
from parallax.core.lifecycle import TERMINAL, TRANSITIONS, Outcome, State, may_follow
from parallax.core.model import Job
from parallax.core.settings import SchedulerSettings, WorkerSettings, from_mapping

GOOD: dict[str, Any] = {"id": "j1", "tenant": "acme", "prompt_tokens": 10, "max_tokens": 20}
NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("id", ["", "a b", "-x", "x" * 65, "é", None, 5, b"j", "a\n"]),
        ("tenant", ["", "a/b", "*", "a\x00", None, True]),
        ("session", [None, 0, False, "a b", "{x}"]),
        ("prompt_tokens", [-1, 1.0, "10", True, None, NAN, 10**9]),
        ("max_tokens", [0, -5, INF, "x", False, 10**9]),
        ("output_tokens", [-1, 21, 1.5, NAN]),
        ("deadline_s", [0, -1.0, NAN, INF, "5", True, 1e12]),
        ("priority", [101, -101, 0.5, None]),
        ("max_attempts", [0, 21, 1.0, True]),
    ],
)
def test_bad_values_are_refused_by_name(field: str, values: list[object]) -> None:
    for value in values:
        with pytest.raises(InvalidInput) as caught:
            Job(**(GOOD | {field: value}))
        assert caught.value.field == field
        assert caught.value.allowed
        assert field in str(caught.value)


def test_good_values_at_the_edges_are_taken() -> None:
    Job(**(GOOD | {"prompt_tokens": 0, "output_tokens": 0, "priority": -100, "max_attempts": 20}))
    Job(**(GOOD | {"id": "x" * 64, "session": "A.b_c-9", "deadline_s": 0.001}))


def test_a_long_value_is_shown_short_and_on_one_line() -> None:
    with pytest.raises(InvalidInput) as caught:
        Job(**(GOOD | {"id": "x\n" * 10_000}))
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_the_table_of_states_has_exactly_the_outcomes_as_ends() -> None:
    assert {state.value for state in TERMINAL} == {outcome.value for outcome in Outcome}
    assert set(TRANSITIONS) == set(State)
    assert all(may_follow(State.QUEUED, state) or state is State.FAILED for state in TERMINAL)
    assert not any(may_follow(end, state) for end in TERMINAL for state in State)


def test_every_error_is_of_one_family() -> None:
    from parallax.core import errors

    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and kind.__module__ == errors.__name__
    ]
    assert all(issubclass(kind, ParallaxError) for kind in kinds)


@pytest.mark.parametrize("kind", [SchedulerSettings, WorkerSettings])
def test_unknown_settings_are_refused_with_the_known_ones(kind: type) -> None:
    with pytest.raises(InvalidSettings, match="heartbeat_s"):
        from_mapping(kind, {"heartbeat": 1.0}, "here")
    assert from_mapping(kind, {"heartbeat_s": 1.0}, "here").heartbeat_s == 1.0


@pytest.mark.parametrize(
    ("field", "value"),
    [("lease_s", NAN), ("batch", 0), ("block_s", 3.0), ("window", -1), ("seed", -1)],
)
def test_settings_out_of_range_are_refused(field: str, value: object) -> None:
    with pytest.raises(InvalidInput, match=field):
        SchedulerSettings(**{field: value})  # type: ignore[arg-type]


def test_settings_are_frozen() -> None:
    with pytest.raises(AttributeError):
        SchedulerSettings().batch = 7  # type: ignore[misc]
