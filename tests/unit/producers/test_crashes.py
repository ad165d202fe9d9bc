"""Which process a live run kills, and when: as people write it."""

from __future__ import annotations

import pytest

from parallax.core.errors import InvalidInput
from parallax.producers.load.crashes import Crash, kill, parsed_crashes


@pytest.mark.parametrize(
    ("text", "victim", "after"),
    [
        ("worker", "worker", 500),
        ("worker@", "worker", 500),
        ("scheduler@30%", "scheduler", 300),
        ("server@0", "server", 0),
        ("worker@2000", "worker", 2000),
    ],
)
def test_crashes_are_read(text: str, victim: str, after: int) -> None:
    assert parsed_crashes([text], 1000) == [Crash(victim, after)]


@pytest.mark.parametrize("text", ["", "redis", "worker@x", "worker@-1", "worker@5%%", "@5"])
def test_bad_crashes_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="--kill"):
        parsed_crashes([text], 1000)


def test_a_percentage_needs_a_total() -> None:
    with pytest.raises(InvalidInput, match="--kill"):
        parsed_crashes(["worker@10%"], None)
    assert parsed_crashes(["worker@10"], None) == [Crash("worker", 10)]


def test_a_system_that_others_started_is_not_harmed() -> None:
    with pytest.raises(InvalidInput, match="only a system started by this command"):
        kill(None, "worker")
