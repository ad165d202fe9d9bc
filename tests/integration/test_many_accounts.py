"""A ledger that is full of former tenants: nobody waits for it, and it becomes small."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store import ledger
from parallax.core.errors import Fenced
from parallax.services import accounts
from parallax.services.accounts import Accounts
from tests.integration.cells import QUICK, Cell, job, scheduler_of, term_of

FORMER = 3_000
LEVEL = 5_000.0


@pytest.fixture
def cell(connect: Callable[[], Link], monkeypatch: pytest.MonkeyPatch) -> Cell:
    """A cell of which a leader reads two pages of 200 accounts before it begins."""
    monkeypatch.setattr(ledger, "PAGE", 200)
    monkeypatch.setattr(accounts, "FIRST_PAGES", 2)
    cell = Cell(connect)
    flat = [text for n in range(FORMER) for text in (f"former-{n}", repr(1_000.0 + n))]
    cell.link.call("HSET", cell.keys.ledger, "", repr(LEVEL), *flat)
    return cell


def test_a_leader_begins_before_it_has_read_them_all(cell: Cell) -> None:
    leader = cell.scheduler(replace(QUICK, poll_s=10.0, sweep_s=3600.0))
    cell.worker()
    cell.submit(job("j0"))
    cell.until_ended("j0")
    assert not term_of(leader)._accounts.complete


def test_what_says_nothing_is_forgotten_a_page_at_a_time(cell: Cell) -> None:
    cell.link.call("HSET", cell.keys.ledger, "ahead", "6000.0", "nonsense", "a lot", "nan", "nan")
    leader = cell.scheduler()
    cell.until(lambda: leader.leading, "a leader")
    left: list[int] = []

    def small() -> bool:
        left.append(cell.link.call("HLEN", cell.keys.ledger))
        return left[-1] == 2

    cell.until(small, "the level, and the account that is above it, to be left")
    assert max(before - after for before, after in pairwise(left)) < FORMER / 2
    assert cell.link.call("HMGET", cell.keys.ledger, "", "ahead") == [b"5000.0", b"6000.0"]


@pytest.mark.parametrize("looks_up", [True, False])
def test_who_acts_before_all_are_read_is_looked_up(
    cell: Cell, monkeypatch: pytest.MonkeyPatch, looks_up: bool
) -> None:
    monkeypatch.setattr(accounts, "FIRST_PAGES", 0)
    monkeypatch.setattr(Accounts, "tend", lambda *_: [])
    if not looks_up:  # the control: whoever was ahead of its due has nothing to pay off any more
        monkeypatch.setattr(Accounts, "needed", lambda *_: [])
    cell.link.call("HSET", cell.keys.ledger, "ahead", "9000.0")
    leader = cell.scheduler(replace(QUICK, poll_s=10.0, sweep_s=3600.0))
    cell.submit(job("j0", "ahead"))
    cell.until(lambda: scheduler_of(leader).queued == 1, "the job to be read")
    tags = scheduler_of(leader)._policies.fairness._tags  # type: ignore[attr-defined]
    assert tags["ahead"] == (9_000.0 if looks_up else 0.0)


def test_a_deposed_leader_forgets_nothing(cell: Cell) -> None:
    leader = cell.scheduler()
    cell.until(lambda: leader.leading, "a leader")
    lease = term_of(leader).lease
    assert lease is not None
    cell.link.call("SET", cell.keys.leader, "another|7")
    before = cell.link.call("HLEN", cell.keys.ledger)
    with pytest.raises(Fenced):
        ledger.Ledger(cell.link, cell.keys).forget(lease, ["former-1", "former-2999"])
    assert cell.link.call("HLEN", cell.keys.ledger) == before
