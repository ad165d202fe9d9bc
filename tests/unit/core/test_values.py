"""Values: as cheap as a class with slots, as equal and hashable as a frozen dataclass."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest

from parallax.core.model import JobView
from parallax.scheduling.events import AttemptBegan

BEGAN = AttemptBegan("j", "w", 1)


def test_a_value_is_what_its_fields_are() -> None:
    assert replace(BEGAN, attempt=1) == BEGAN
    assert hash(AttemptBegan("j", "w", 1)) == hash(BEGAN)
    assert replace(BEGAN, attempt=2) != BEGAN


def test_a_value_has_no_further_fields() -> None:
    with pytest.raises(AttributeError):
        BEGAN.more = 1  # type: ignore[attr-defined]


def test_what_policies_keep_is_guarded_at_run_time() -> None:
    view = JobView("j", "t", 1, 1, 0.0)
    with pytest.raises(FrozenInstanceError):
        view.priority = 1  # type: ignore[misc]
