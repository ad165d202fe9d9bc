"""The gate: never more on a worker than it runs, plus the prefetch."""

from __future__ import annotations

import pytest

from parallax.core.errors import InvalidInput
from parallax.policies.gating.jbsq import Jbsq
from parallax.policies.testing import worker


@pytest.mark.parametrize(("in_flight", "free"), [(0, 9), (8, 1), (9, 0), (20, 0)], ids=str)
def test_room_is_slots_and_prefetch_less_what_is_in_flight(in_flight: int, free: int) -> None:
    assert Jbsq(prefetch=1).free(worker(slots=8, in_flight=in_flight)) == free


def test_a_draining_worker_takes_nothing() -> None:
    assert Jbsq().free(worker(draining=True)) == 0


def test_the_prefetch_is_checked() -> None:
    with pytest.raises(InvalidInput, match=r"jbsq\.prefetch"):
        Jbsq(prefetch=-1)
