"""All keys of a cell lie in one slot, and no name can forge another key."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from redis.crc import key_slot

from parallax.broker.store.keys import DEFAULT_CELL, Keys
from parallax.core.errors import InvalidInput
from tests.examples import examples

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
BY_NAME: tuple[Callable[[Keys, str], str], ...] = (
    Keys.arrivals, Keys.work, Keys.job, Keys.body, Keys.out, Keys.control, Keys.heartbeat,
    Keys.status,
)  # fmt: skip


def all_keys(keys: Keys, name: str) -> list[str]:
    fixed = [
        keys.active, keys.bell, keys.events, keys.workers, keys.tenants, keys.leader, keys.epoch,
        keys.ledger, keys.open, keys.dead, keys.counts, keys.due, keys.keyring,
    ]  # fmt: skip
    return [*fixed, *(key(keys, name) for key in BY_NAME)]


@settings(max_examples=examples(100), deadline=None)
@given(cell=NAMES, name=NAMES)
def test_all_keys_of_a_cell_are_different_and_share_a_slot(cell: str, name: str) -> None:
    found = all_keys(Keys(cell), name)
    assert len(set(found)) == len(found)
    assert {key_slot(key.encode()) for key in found} == {Keys(cell).slot}


@settings(max_examples=examples(100), deadline=None)
@given(cell=NAMES, one=NAMES, other=NAMES)
def test_different_names_and_different_cells_never_share_a_key(
    cell: str, one: str, other: str
) -> None:
    assume(one != other)
    keys = Keys(cell)
    by_one = {key(keys, one) for key in BY_NAME}
    assert by_one.isdisjoint(key(keys, other) for key in BY_NAME)
    assert set(all_keys(Keys(one), cell)).isdisjoint(all_keys(Keys(other), cell))


@settings(max_examples=examples(100), deadline=None)
@given(cell=NAMES, tenant=NAMES)
def test_the_tenant_can_be_read_back_from_its_stream(cell: str, tenant: str) -> None:
    keys = Keys(cell)
    assert keys.tenant_of(keys.arrivals(tenant)) == tenant


def test_the_hash_tag_is_the_cell() -> None:
    assert all("{blue}" in key for key in all_keys(Keys("blue"), "acme"))


def test_the_default_cell() -> None:
    assert Keys().cell == DEFAULT_CELL == "main"


@pytest.mark.parametrize(
    "cell", ["", " ", "a b", "{a}", "a}", "a:b", "-a", "a\n", "é", "x" * 65, "*", None, 5]
)
def test_a_name_that_could_move_the_slot_is_no_cell(cell: str) -> None:
    with pytest.raises(InvalidInput, match="cell"):
        Keys(cell)
