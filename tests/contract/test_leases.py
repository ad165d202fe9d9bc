"""Leases, and what goes on at a full server: what no difference between two states shows."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.broker.store.limits import Limits
from parallax.broker.store.membership import Leadership
from parallax.core.errors import Fenced, StoreFull
from tests.contract.conftest import Cell
from tests.contract.scenes.every import EVERY

HOUR_MS = 3_600_000
#: Nothing of this drains anything: at a full server it waits.
GROWING = {"submit", "spend", "choose", "remember", "publish", "quarantine", "unseat", "expel"}


def left(cell: Cell, key: str) -> int:
    return int(cell.link.call("PTTL", key))


def test_a_lease_of_hours_is_cut_back_by_whoever_looks(cell: Cell) -> None:
    cell.lead()
    for candidate in ("leader", "another"):
        cell.link.call("PEXPIRE", cell.keys.leader, HOUR_MS)
        Leadership(cell.link, cell.keys, candidate, 2_000).acquire()
        assert 0 < left(cell, cell.keys.leader) <= 2_000


def test_a_lease_for_ever_is_given_an_end(cell: Cell) -> None:
    lease = cell.lead()
    cell.link.call("SET", cell.keys.leader, lease.token)
    assert Leadership(cell.link, cell.keys, "another", 2_000).acquire() is None
    assert 0 < left(cell, cell.keys.leader) <= 2_000


def test_a_standby_makes_no_lease_longer(cell: Cell) -> None:
    cell.lead()
    cell.link.call("PEXPIRE", cell.keys.leader, 500)
    Leadership(cell.link, cell.keys, "another", 2_000).acquire()
    assert left(cell, cell.keys.leader) <= 500


def test_only_who_leads_renews_and_resigns(cell: Cell) -> None:
    leader = Leadership(cell.link, cell.keys, "leader", 2_000)
    lease = cell.lead()
    cell.link.call("PEXPIRE", cell.keys.leader, 500)
    cell.link.call("SET", cell.keys.leader, "another|9", "PX", 500)
    with pytest.raises(Fenced):
        leader.renew(lease)
    leader.resign(lease)
    assert cell.link.call("GET", cell.keys.leader) == b"another|9"
    assert left(cell, cell.keys.leader) <= 500
    cell.link.call("SET", cell.keys.leader, lease.token, "PX", 500)
    leader.renew(lease)
    assert left(cell, cell.keys.leader) > 500


def test_an_epoch_never_repeats_and_grows_when_its_counter_is_lost(cell: Cell) -> None:
    epochs = []
    for _ in range(3):
        epochs.append(int(cell.lead().epoch))
        cell.link.call("DEL", cell.keys.leader)
    assert epochs == sorted(set(epochs))
    assert epochs[0] > 1_600_000_000_000  # it begins at the server's clock
    cell.link.call("DEL", cell.keys.epoch)
    assert int(cell.lead().epoch) >= epochs[0]


def test_heartbeats_are_cut_back_and_none_is_made(cell: Cell) -> None:
    cell.join("w1")
    cell.join("w2")
    cell.link.call("PEXPIRE", cell.keys.heartbeat("w1"), HOUR_MS)
    cell.link.call("PEXPIRE", cell.keys.heartbeat("w2"), 500)
    Leadership(cell.link, cell.keys, "leader", 2_000).clamp(("w1", "w2", "w3"), 1_000)
    assert 500 < left(cell, cell.keys.heartbeat("w1")) <= 1_000
    assert 0 < left(cell, cell.keys.heartbeat("w2")) <= 500
    assert left(cell, cell.keys.heartbeat("w3")) == -2


# -- a full server --------------------------------------------------------------------------------


@pytest.fixture
def real(server_url: str) -> Iterator[Cell]:
    link = Link.to(server_url)
    yield Cell(link, Keys("test"), Limits(max_depth=3, max_bytes=4096, max_active=100))
    link.close()


@contextlib.contextmanager
def full(link: Link) -> Iterator[None]:
    link.call("CONFIG", "SET", "maxmemory", "1")
    try:
        yield
    finally:
        link.call("CONFIG", "SET", "maxmemory", "0")


DRAINING = sorted(name for name in EVERY if name.split()[0] not in GROWING)


@pytest.mark.sampled(12)
@pytest.mark.parametrize("name", DRAINING)
def test_what_drains_goes_on_at_a_full_server(real: Cell, name: str) -> None:
    ask = EVERY[name](real)
    with full(real.link):
        ask()


def test_what_is_new_is_refused_at_a_full_server(real: Cell) -> None:
    ask: Callable[[], object] = EVERY["submit ok"](real)
    with full(real.link), pytest.raises(StoreFull):
        ask()
    assert ask() == "ok"


def test_a_heart_beats_on_at_a_full_server(real: Cell) -> None:
    real.join()
    real.link.call("PEXPIRE", real.keys.heartbeat("w1"), 500)
    with full(real.link):
        real.join()
    assert left(real, real.keys.heartbeat("w1")) > 500


@pytest.mark.parametrize(
    "junk", [b"nan", b"-nan", b"inf", b"1e300", b"0x10", b"-5", b"many", b"", b"9" * 40, b"\xff"]
)
def test_an_epoch_that_is_no_number_is_counted_anew(cell: Cell, junk: bytes) -> None:
    cell.link.call("SET", cell.keys.epoch, junk)
    epoch = int(cell.lead().epoch)
    assert 1_600_000_000_000 < epoch < 2**53
    assert int(cell.link.call("GET", cell.keys.epoch)) == epoch
