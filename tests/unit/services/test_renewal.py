"""Replacing processes one by one: at most one is away at a time, and a bad one stops the rest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallax.core.clock import ManualClock
from parallax.services.processes import Processes
from parallax.services.renewal import PATIENCE_S, Renewal


@dataclass
class Children:
    """Processes as a renewal sees them: each takes some steps to end, and some to serve."""

    steps: dict[str, int]
    broken: frozenset[str] = frozenset()
    children: dict[str, bool] = field(default_factory=dict)  # whether each serves
    away: dict[str, int] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.children = dict.fromkeys(self.steps, True)

    def staying(self) -> list[str]:
        return list(self.children)

    def renew(self, name: str) -> bool:
        if name not in self.children:
            return False
        self.children[name], self.away[name] = False, self.steps[name]
        self.order.append(name)
        return True

    def renewed(self, name: str) -> bool:
        return self.away.get(name, 0) == 0

    def watch(self) -> None:
        for name, left in list(self.away.items()):
            self.away[name] = max(0, left - 1)
            if left == 0 and name not in self.broken:
                self.children[name] = True
                del self.away[name]

    def serves(self, name: str) -> bool:
        return self.children[name]


def renewal(children: Children, clock: ManualClock) -> Renewal:
    return Renewal(cast("Any", children), children.serves, clock)


def renew_all(children: Children, clock: ManualClock, at_once: int = 1) -> int:
    """Renew until it is over; return how many were away at the same time, at most."""
    renewals = [renewal(children, clock) for _ in range(at_once)]
    for one in renewals:
        one.begin()
        children.children = dict(reversed(children.children.items()))
    most = 0
    while any(one.under_way for one in renewals):
        children.watch()
        for one in renewals:
            one.step()
        most = max(most, sum(not serves for serves in children.children.values()))
        clock.wait(1.0)
    return most


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8))
def test_each_is_replaced_once_in_order_and_one_at_a_time(steps: list[int]) -> None:
    children = Children({f"p-{n}": took for n, took in enumerate(steps)})
    assert renew_all(children, ManualClock()) == 1
    assert children.order == list(children.steps)
    assert all(children.children.values())


def test_two_renewals_at_once_would_be_seen() -> None:
    """The control: the law above can fail."""
    children = Children(dict.fromkeys("abcd", 3))
    assert renew_all(children, ManualClock(), at_once=2) > 1


@given(st.integers(0, 4))
def test_one_that_does_not_serve_again_stops_the_rest(place: int) -> None:
    names = [f"p-{n}" for n in range(5)]
    clock = ManualClock()
    children = Children(dict.fromkeys(names, 1), frozenset({names[place]}))
    renew_all(children, clock)
    assert children.order == names[: place + 1]
    assert [name for name, serves in children.children.items() if not serves] == [names[place]]
    assert clock.monotonic() > PATIENCE_S


def test_one_that_was_let_go_meanwhile_is_passed_over() -> None:
    children = Children(dict.fromkeys("abc", 2))
    one = renewal(children, ManualClock())
    one.begin()
    one.step()
    del children.children["a"], children.children["b"]
    for _ in range(10):
        children.watch()
        one.step()
    assert children.order == ["a", "c"]
    assert not one.under_way


def test_a_child_that_is_renewed_is_started_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no crash: no pause, no count of restarts, nothing reported as ended."""
    clock = ManualClock()
    processes = Processes({}, clock)
    monkeypatch.setattr(Processes, "_spawn", lambda *_: Ended())
    processes.start("worker-1", "worker", "--name", "a", "--name", "b")
    assert processes.children["worker-1"].told("--name") == "b"
    assert processes.renew("worker-1")
    assert not processes.renewed("worker-1")
    assert processes.watch() == []
    child = processes.children["worker-1"]
    assert (child.restarts, child.due, child.renewing) == (0, None, False)
    assert processes.watch() == ["worker-1"]  # the control: unasked, it is told
    assert not processes.renew("nobody")


class Ended:
    """A process that has ended."""

    pid, returncode = 2**22, 0

    def poll(self) -> int:
        return 0
