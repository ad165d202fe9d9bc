"""The inbox is a hint: what it never said is found in the records."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from types import SimpleNamespace
from typing import Any

from parallax.broker.store.codec import Report
from parallax.core.clock import ManualClock
from parallax.core.lifecycle import Outcome
from parallax.producers.client.completion import Completion, Waiting


class World:
    """Jobs of which some have ended, and an inbox that says what it is told to say."""

    def __init__(self, ended: set[str], heard: Sequence[str] = ()) -> None:
        self.clock, self.ended, self.inbox = ManualClock(), ended, list(heard)
        self.largest = 0

    def news(self, missing: set[str], block_ms: int) -> list[Completion]:
        self.clock.wait(block_ms / 1000)
        assert missing
        return [Completion(self.inbox.pop(0), Outcome.COMPLETED)] if self.inbox else []

    def records(self, names: Sequence[str]) -> list[Any]:
        self.largest = max(self.largest, len(names))
        return [
            SimpleNamespace(job_id=name, outcome=Outcome.COMPLETED, report=Report())
            if name in self.ended
            else None
            for name in names
        ]

    def answers(self, names: Sequence[str]) -> list[bytes | None]:
        return [None for _ in names]

    def waited(self, names: Sequence[str], timeout_s: float) -> list[str]:
        waiting = Waiting(self.news, self.records, self.answers, self.clock, Random(1))
        return [completion.job_id for completion in waiting.each(names, timeout_s)]


def test_those_behind_a_thousand_that_run_long_are_found() -> None:
    names = [f"j{n:04}" for n in range(3_500)]
    world = World(ended={"j0001", "j3499"})
    assert sorted(world.waited(names, timeout_s=10.0)) == ["j0001", "j3499"]
    assert world.largest <= 1_000


def test_one_is_found_though_the_inbox_is_never_silent() -> None:
    others = [f"other{n}" for n in range(200)]  # forty seconds of news
    world = World(ended={"lost"}, heard=others)
    assert world.waited([*others, "lost"], timeout_s=1.0)[:60].count("lost") == 1
