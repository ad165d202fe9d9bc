"""A drill offers no more than can be ended."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, cast

import pytest

from parallax.broker.store.intake import Receipt
from parallax.core.clock import ManualClock
from parallax.core.model import Job
from parallax.core.words import Submitted
from parallax.drills import load
from parallax.drills.load import Load
from parallax.drills.shape import Shape
from parallax.producers.client.client import Client


class Accepting:
    """Accepts every job, and never says that one has ended."""

    def submit(self, jobs: Sequence[Job], bodies: object) -> list[Receipt]:
        return [Receipt(job.id, Submitted.OK, "0-1") for job in jobs]

    def notices(self, _block_ms: int) -> list[Any]:
        return []

    def cancel(self, _name: str) -> str:
        return "late"


def offered(seconds: int) -> Load:
    clock = ManualClock()
    made = Load(cast("Client", Accepting()), clock, Random(1), 100.0, 1, Shape(cancels=0.0))
    for _ in range(seconds * 10):
        made.step()
        clock.wait(0.1)
    return made


def test_nothing_is_offered_while_too_much_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "MOST_OPEN", 200)
    assert 200 <= len(offered(30).accepted) < 200 + 2 * load.BATCH


def test_the_rate_is_kept_while_there_is_room() -> None:
    assert len(offered(15).accepted) == pytest.approx(1_500, rel=0.02)
