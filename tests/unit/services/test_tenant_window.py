"""A turn costs the same however many tenants there are, and each of them has its turn."""

from __future__ import annotations

from collections import Counter
from math import ceil
from typing import Any, cast

import pytest

from parallax.broker.store.dispatch import Dispatching
from parallax.core.settings import SchedulerSettings
from parallax.services.tenant_window import LOOKS, MAX_STREAMS, TenantWindow

MANY = 20_000


class Memory:
    """How many jobs of each tenant are held; counts how often anybody asks."""

    def __init__(self) -> None:
        self.jobs: Counter[str] = Counter()
        self.long: Counter[str] = Counter()
        self.asked = 0

    def bytes_left(self, tenant: str, tenants: int) -> int:
        return 0 if self.long[tenant] else 1

    def held(self, tenant: str) -> int:
        self.asked += 1
        return self.jobs[tenant]


class Streams:
    """Stands in for the store."""

    bell_cursor = ""

    def __init__(self, active: list[str]) -> None:
        self.members = active
        self.retired: list[str] = []

    def active(self, cursor: str) -> tuple[str, list[str]]:
        start = int(cursor)
        following = start + 500
        return str(following if following < len(self.members) else 0), self.members[start:following]

    def bell_end(self) -> str:
        return "9-9"

    def retire(self, tenants: list[str]) -> list[str]:
        self.retired += tenants
        return tenants

    def unread(self, tenants: list[str]) -> dict[str, int]:
        return dict.fromkeys(tenants, 7)


def made(tenants: int, **settings: Any) -> tuple[TenantWindow, Memory, Streams]:
    memory, streams = Memory(), Streams([f"t{n}" for n in range(tenants)])
    window = TenantWindow(
        cast(Dispatching, streams), SchedulerSettings(**settings), memory.held, memory.bytes_left
    )
    return window, memory, streams


def filled(tenants: int, **settings: Any) -> tuple[TenantWindow, Memory, Streams]:
    window, memory, streams = made(tenants, **settings)
    for name in streams.members:
        window.add(name, 0.0)
    return window, memory, streams


@pytest.mark.parametrize("full", [False, True])
def test_a_turn_looks_at_a_bounded_number_of_tenants(full: bool) -> None:
    window, memory, streams = filled(MANY)
    for name in streams.members if full else ():
        memory.jobs[name] = 1
    window.page(0.0)
    memory.asked = 0
    for _ in range(50):
        assert len(window.page(0.0)) <= MAX_STREAMS
    assert memory.asked <= 50 * LOOKS


def test_everybody_is_read_within_one_round() -> None:
    window, _, streams = filled(MANY)
    seen: set[str] = set()
    for _ in range(ceil(MANY / MAX_STREAMS) + 1):
        seen.update(window.page(0.0))
    assert seen == set(streams.members)


def test_who_is_new_is_read_in_the_next_turn() -> None:
    window, _, _ = filled(MANY)
    for _ in range(ceil(MANY / MAX_STREAMS)):
        window.page(0.0)
    window.add("newcomer", 0.0)
    assert "newcomer" in window.page(0.0)


def test_one_with_room_is_found_among_many_without() -> None:
    window, memory, streams = filled(MANY)
    memory.jobs.update(dict.fromkeys(streams.members, 1))
    memory.jobs["t17777"] = 0
    rounds = [window.page(0.0) for _ in range(ceil(MANY / LOOKS) + ceil(MANY / MAX_STREAMS) + 1)]
    assert any("t17777" in page for page in rounds)


def test_few_tenants_are_all_read_in_their_order() -> None:
    window, memory, _ = filled(5, window=3)
    memory.jobs["t3"] = 3
    assert window.page(0.0) == ["t0", "t1", "t2", "t4"]
    assert window.backlogs() == {"t3": 4}
    assert window.backlogs() == {}  # it is measured when it is met again


def test_who_has_no_room_for_long_prefixes_is_read_once_it_has_no_jobs() -> None:
    window, memory, _ = filled(3)
    memory.long.update(("t0", "t1"))
    memory.jobs["t1"] = 1
    assert window.page(0.0) == ["t0", "t2"]


def test_the_idle_are_let_go_and_those_with_jobs_are_not() -> None:
    window, memory, streams = filled(4, idle_s=5.0)
    memory.jobs["t1"] = 1
    window.add("t2", 9.0)
    window.page(10.0)
    window.let_go(10.0)
    assert streams.retired == ["t0", "t3"]
    assert [name in window for name in streams.members] == [False, True, True, False]


def test_who_comes_back_before_it_is_let_go_stays() -> None:
    window, _, streams = filled(1, idle_s=5.0)
    window.page(10.0)
    window.add("t0", 10.0)
    window.let_go(10.0)
    assert streams.retired == []


def test_falling_behind_again_means_reading_again() -> None:
    window, _, streams = made(1_200)
    window.fell_behind()
    window.survey(0.0)
    streams.members = [*streams.members[:500], "late", *streams.members[500:]]
    streams.members[0] = "later"  # on a page that was read before
    window.fell_behind()
    for _ in range(5):
        assert window.behind
        window.survey(0.0)
    assert not window.behind
    assert "late" in window
    assert "later" in window


@pytest.mark.parametrize(("tenants", "share"), [(1, 2_048), (100, 163), (MANY, 1)])
def test_all_share_the_memory(tenants: int, share: int) -> None:
    window, _, _ = filled(tenants)
    assert window.share == share
