"""Connections on which no whole request comes are given up: when late, or too many."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallax.core.clock import ManualClock
from parallax.producers.gateway.patience import Patience, Phase, Tally
from tests.examples import examples

LIMITS = {Phase.HEAD: 20.0, Phase.REST: 5.0, Phase.IDLE: 15.0}
MOST = 3


@dataclass(eq=False)
class Peer:
    cuts: list[Phase] = field(default_factory=list)

    def cut(self, phase: Phase) -> None:
        self.cuts.append(phase)


class Door:
    def __init__(self, most: int = MOST) -> None:
        self.clock, self.why = ManualClock(), list[str]()
        self.patience = Patience(LIMITS, most, self.clock, self.why.append)

    def later(self, seconds: float) -> None:
        self.clock.wait(seconds)
        self.patience.sweep()


@pytest.mark.parametrize("phase", Phase)
def test_who_says_nothing_is_cut_at_the_end_of_its_time(phase: Phase) -> None:
    door, peer = Door(), Peer()
    door.patience.wait(peer, phase)
    door.later(LIMITS[phase] - 0.1)
    assert not peer.cuts
    door.later(0.2)
    assert (peer.cuts, door.why, len(door.patience)) == ([phase], [phase.value], 0)


def test_the_control_whose_request_came_is_not() -> None:
    door, peer = Door(), Peer()
    door.patience.wait(peer, Phase.HEAD)
    door.patience.end(peer)
    door.later(1_000)
    assert not peer.cuts
    door.patience.end(peer)  # and once more is nothing


def test_a_next_request_has_its_own_time() -> None:
    door, peer = Door(), Peer()
    for _ in range(5):
        door.patience.wait(peer, Phase.HEAD)
        door.later(15)
    assert not peer.cuts


def test_who_has_waited_longest_makes_room() -> None:
    door, peers = Door(), [Peer() for _ in range(MOST + 2)]
    for n, peer in enumerate(peers):
        door.patience.wait(peer, Phase.IDLE if n % 2 else Phase.HEAD)
        door.later(1)
    assert [bool(peer.cuts) for peer in peers] == [True, True, False, False, False]
    assert door.why == ["crowd", "crowd"]


MOVES = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from([*Phase, None]), st.floats(0, 8)), max_size=60
)


@settings(max_examples=examples(100), deadline=None)
@given(MOVES)
def test_law_nobody_waits_for_longer_than_it_may(
    moves: list[tuple[int, Phase | None, float]],
) -> None:
    door, peers = Door(), [Peer() for _ in range(6)]
    since: dict[int, tuple[Phase, float]] = {}
    for who, phase, seconds in moves:
        if phase is None:
            door.patience.end(peers[who])
            since.pop(who, None)
        else:
            door.patience.wait(peers[who], phase)
            since[who] = phase, door.clock.monotonic()
        door.later(seconds)
        for n, peer in enumerate(peers):
            if peer.cuts:
                assert since.pop(n)
                peer.cuts.clear()
        now = door.clock.monotonic()
        assert all(now - began < LIMITS[one] for one, began in since.values())
        assert len(door.patience) == len(since) <= MOST


def test_it_is_told_now_and_then_in_numbers() -> None:
    clock, said = ManualClock(), list[str]()
    tally = Tally(clock, 10, said.append)
    tally.tell()
    for why in "head", "idle", "head", "crowd":
        tally.count(why)
    tally.tell()
    told = "connections were closed on which no whole request came: "
    assert said == [told + "crowd 1, head 2"]
    tally.count("rest")
    tally.tell()
    clock.wait(11)
    tally.tell()
    assert said[1:] == [told + "rest 1"]
