"""Who is believed dead, and when: a fault of the clock must not look like death."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.codec import VERSION, Registration
from parallax.broker.store.keys import Keys
from parallax.broker.store.membership import Leadership, Membership
from parallax.broker.store.rescue import Rescue
from parallax.core.settings import SchedulerSettings
from parallax.scheduling.events import WorkerLost
from parallax.services.recoverer import Recoverer

PERIOD_S = 2.0


@dataclass
class Fleet:
    """Workers that beat when they are told to, and a recoverer that looks when it is told to."""

    link: Link
    keys: Keys
    size: int

    def __post_init__(self) -> None:
        self.membership = Membership(self.link, self.keys)
        lease = Leadership(self.link, self.keys, "leader", 60_000).acquire()
        assert lease is not None
        self.lease = lease
        self.recoverer = self.made()
        self.beat(*range(self.size))
        self.recoverer.start()

    def made(self) -> Recoverer:
        settings = SchedulerSettings(heartbeat_s=PERIOD_S, poll_s=PERIOD_S / 2)
        return Recoverer(self.membership, Rescue(self.link, self.keys), settings)

    def beat(self, *workers: int) -> None:
        for n in workers:
            self.membership.beat(f"w{n}", f"life{n}", 60_000, Registration(VERSION, 4))

    def vanish(self, *workers: int) -> None:
        for n in workers:
            self.link.call("DEL", self.keys.heartbeat(f"w{n}"))

    def lost(self, now: float) -> int:
        events = self.recoverer.poll(self.lease, now)
        return sum(isinstance(event, WorkerLost) for event in events)


@pytest.fixture
def fleet(connect: Callable[[], Link]) -> Fleet:
    return Fleet(connect(), Keys("fleet"), 10)


def test_a_fifth_is_lost_at_first_sight_and_the_rest_one_period_later(fleet: Fleet) -> None:
    fleet.vanish(0, 1, 2, 3)
    assert [fleet.lost(100.0 + n) for n in range(3)] == [2, 0, 2]


def test_deaths_one_after_the_other_are_each_seen_at_once(fleet: Fleet) -> None:
    fleet.vanish(0)
    assert fleet.lost(100.0) == 1
    fleet.vanish(1)
    assert fleet.lost(101.0) == 0  # a fifth of nine is one: the budget of this period is spent
    assert fleet.lost(102.0) == 1


def test_when_all_vanish_at_once_nobody_who_lives_is_lost(fleet: Fleet) -> None:
    """The server's clock stepped: every heartbeat is over at once, and all who live beat again."""
    fleet.vanish(*range(10))
    assert [fleet.lost(100.0 + n) for n in range(2)] == [0, 0]
    fleet.beat(*range(1, 10))
    assert fleet.lost(102.0) == 1  # the one that is dead


@pytest.mark.parametrize("new_leader", [False, True])
def test_the_last_to_beat_again_are_not_lost_either(fleet: Fleet, new_leader: bool) -> None:
    """Fewer than half are missing by now, but most of them were a moment ago."""
    fleet.vanish(*range(10))
    assert fleet.lost(100.0) == 0
    fleet.beat(*range(7))
    if new_leader:
        fleet.recoverer = fleet.made()
        fleet.recoverer.start()
    assert fleet.lost(101.0) == 0
    fleet.beat(7, 8)
    assert fleet.lost(102.0) == 1  # the one that is dead


def test_a_small_fleet_that_dies_is_given_back_whole(connect: Callable[[], Link]) -> None:
    fleet = Fleet(connect(), Keys("small"), 2)
    fleet.vanish(0, 1)
    assert [fleet.lost(100.0 + n) for n in range(4)] == [1, 0, 1, 0]
    assert fleet.membership.suspects() == {}


def test_leaders_that_follow_each_other_count_on(fleet: Fleet) -> None:
    """None of them leads for a period, and all the dead are found."""
    fleet.vanish(*range(8))
    found = 0
    for n in range(4):
        fleet.recoverer = fleet.made()
        fleet.recoverer.start()
        found += fleet.lost(100.0 + n)
    fleet.lost(110.0)
    assert found == 8
    assert fleet.membership.suspects() == {}
