"""A commit takes the next read with it; what that read brings is taken later, or read once more."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.dispatch import START, Dispatching, Lease, Reading
from parallax.broker.store.intake import Intake
from parallax.broker.store.keys import Keys
from parallax.broker.store.membership import Leadership
from parallax.core.errors import Fenced, Unreachable
from parallax.core.model import Job
from parallax.scheduling.actions import Dispatch

KEYS = Keys("ahead")
NEXT = Reading(("a",), 100, 1, 100)
CAPS = {"w": 1_000}


class Leader:
    """What a leader reads and commits, by hand."""

    def __init__(self, connect: Callable[[], Link]) -> None:
        self.link, self.reading = connect(), connect()
        self.intake = Intake(self.link, KEYS)
        self.link.call("SET", KEYS.heartbeat("w"), "alive")
        lease = Leadership(self.link, KEYS, "leader", 60_000).acquire()
        assert lease is not None
        self.lease: Lease = lease
        self.dispatching = Dispatching(self.link, KEYS, self.reading)
        self.dispatching.bell_cursor = START

    def submit(self, *names: str, tenant: str = "a") -> None:
        receipts = self.intake.submit([Job(name, tenant, 1, 1) for name in names])
        assert all(receipt.accepted for receipt in receipts)

    def reads(self) -> bool:
        return self.dispatching.reads

    def read(self) -> list[str]:
        return _names(self.dispatching.read(["a"], 100, 0).arrivals.get("a", ()))

    def commit(self, *names: str, then: Reading | None = NEXT) -> Sequence[str]:
        """Send jobs to the worker where they wait now."""
        entries = {
            fields[1].split()[0].decode(): entry.decode()
            for entry, fields in self.link.call("XRANGE", KEYS.arrivals("a"), "-", "+")
        }
        sent = [Dispatch(n, "a", entries.get(n, "0-1"), "w", 1, 1.0) for n in names]
        return self.dispatching.commit(self.lease, sent, CAPS, {}, then)

    def brought(self, *, wait: bool = True) -> list[str] | None:
        """Return the names that the read under way brought; None if it is to be made anew."""
        turn = self.dispatching.brought(100, 50, wait=wait)
        return None if turn is None else _names(turn.arrivals.get("a", ()))


def _names(entries: Sequence[object]) -> list[str]:
    return [entry.fields[1].split()[0].decode() for entry in entries]  # type: ignore[attr-defined]


@pytest.fixture
def leader(connect: Callable[[], Link]) -> Leader:
    return Leader(connect)


def test_a_commit_takes_the_next_read_with_it(leader: Leader) -> None:
    leader.submit("one", "two")
    assert leader.read() == ["one", "two"]
    leader.submit("three")
    assert leader.commit("one") == ["ok"]
    assert leader.reads()
    assert leader.brought() == ["three"]
    assert not leader.reads()
    assert leader.read() == []


def test_without_a_second_link_nothing_is_read_ahead(leader: Leader) -> None:
    leader.dispatching = Dispatching(leader.link, KEYS)
    leader.submit("one")
    assert leader.read() == ["one"]
    assert leader.commit("one") == ["ok"]
    assert not leader.reads()
    assert leader.brought() is None


def test_what_is_given_up_is_read_again(leader: Leader) -> None:
    leader.submit("one")
    assert leader.read() == ["one"]
    leader.submit("two")
    leader.commit("one")
    leader.dispatching.read([], 100, 0)  # others are read meanwhile
    assert not leader.reads()
    assert leader.read() == ["two"]


def test_who_goes_back_reads_all_of_it_again(leader: Leader) -> None:
    leader.submit("one", "two")
    assert leader.read() == ["one", "two"]
    leader.submit("three")
    leader.commit("one")
    leader.dispatching.go_back("a")
    assert leader.brought() is None
    assert leader.read() == ["two", "three"]


def test_no_commit_drops_events_that_were_not_taken(leader: Leader) -> None:
    leader.submit("one")
    assert leader.read() == ["one"]
    leader.link.call("XADD", KEYS.events, "*", "one", "read before")
    assert len(leader.dispatching.read([], 100, 0).events) == 1
    leader.link.call("XADD", KEYS.events, "*", "one", "under way")
    assert leader.commit("one") == ["ok"]
    assert leader.reads()
    leader.commit(then=None)  # of balances alone, before what was read is taken
    assert leader.link.call("XLEN", KEYS.events) == 1
    turn = leader.dispatching.brought(100, 50)
    assert turn is not None
    assert [entry.fields[1] for entry in turn.events] == [b"under way"]
    leader.commit(then=None)  # the control: now it was taken
    assert leader.link.call("XLEN", KEYS.events) == 0


def test_a_read_that_waited_in_vain_is_made_anew(leader: Leader) -> None:
    leader.submit("one")
    assert leader.read() == ["one"]
    leader.dispatching.read([], 100, 0)
    assert leader.commit("one", then=Reading(("a",), 100, 0, 100)) == ["ok"]  # it does not wait
    leader.submit("two")
    assert leader.brought() is None
    assert leader.read() == ["two"]


def test_who_cannot_wait_reads_anew(leader: Leader) -> None:
    leader.submit("one")
    assert leader.read() == ["one"]
    leader.dispatching.read([], 100, 0)
    leader.commit("one", then=Reading(("a",), 100, 2_000, 100))
    leader.submit("else", tenant="b")
    leader.dispatching.brought(100, 0)  # nothing, or the bell, whichever comes first
    leader.commit(then=None)
    assert leader.brought(wait=False) in (None, [])
    assert not leader.reads()


def test_a_successor_does_not_hear_what_was_asked_before_it(leader: Leader) -> None:
    leader.submit("one", "two")
    assert leader.read() == ["one", "two"]
    leader.commit("one")
    leader.dispatching = Dispatching(leader.link, KEYS, leader.reading)
    leader.dispatching.restart()
    assert leader.read() == ["two"]
    leader.submit("three")
    assert leader.commit("two") == ["ok"]
    assert leader.brought() == ["three"]


def test_a_server_that_lost_the_scripts_gets_them_and_the_commit(leader: Leader) -> None:
    leader.submit("one")
    assert leader.read() == ["one"]
    leader.link.call("SCRIPT", "FLUSH")
    assert leader.commit("one") == ["ok"]
    assert not leader.reads()
    assert leader.link.call("XLEN", KEYS.work("w")) == 1


def test_who_does_not_lead_any_more_is_told_so(leader: Leader) -> None:
    leader.submit("one")
    assert leader.read() == ["one"]
    leader.link.call("SET", KEYS.leader, "somebody else|99")
    with pytest.raises(Fenced):
        leader.commit("one")
    assert leader.link.call("XLEN", KEYS.work("w")) == 0


def test_a_stream_that_is_none_is_set_aside_by_the_read_that_follows(server_url: str) -> None:
    leader = Leader(lambda: Link.to(server_url))  # fakeredis stumbles over such a key
    leader.link.call("DEL", KEYS.arrivals("b"))
    leader.submit("one")
    assert leader.read() == ["one"]
    leader.link.call("SET", KEYS.arrivals("b"), "no stream")
    reading = Reading(("a", "b"), 100, 1, 100)
    assert leader.commit("one", then=reading) == ["ok"]
    assert leader.brought() is None
    leader.submit("two")
    turn = leader.dispatching.read(["a", "b"], 100, 0)
    assert _names(turn.arrivals["a"]) == ["two"]


def test_a_connection_that_breaks_loses_nothing(leader: Leader) -> None:
    leader.submit("one", "two")
    assert leader.read() == ["one", "two"]
    leader.submit("three")
    assert leader.commit("one") == ["ok"]
    leader.reading.close()  # as a server does that is restarted
    with pytest.raises(Unreachable):
        leader.brought()
    assert not leader.reads()
    leader.dispatching.restart()
    assert leader.read() == ["two", "three"]
