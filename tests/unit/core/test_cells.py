"""Where tenants live: laws of highest random weight hashing, and a control that must fail one."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from math import sqrt
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallax.core.cells import MOST_CELLS, CellAddress, home, parsed_places
from parallax.core.errors import InvalidInput
from parallax.core.hashing import point

TENANTS = [f"tenant-{n}" for n in range(10_000)]
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
CELLS = st.lists(NAMES, min_size=1, max_size=12, unique=True)
MANY = st.lists(NAMES, min_size=1, max_size=20, unique=True)

Homes = Callable[[str, Sequence[str]], str]


def modulo(tenant: str, cells: Sequence[str]) -> str:
    """The control: balanced and deterministic, but a change of the number moves nearly all."""
    return sorted(cells)[point(tenant) % len(cells)]


def strays(homes: Homes, tenants: Sequence[str], cells: Sequence[str], gone: str) -> list[str]:
    """Return the tenants that move although their cell stays when `gone` goes."""
    left = [cell for cell in cells if cell != gone]
    before = {tenant: homes(tenant, cells) for tenant in tenants}
    return [t for t, cell in before.items() if cell != gone and homes(t, left) != cell]


@given(NAMES, CELLS, st.randoms())
def test_it_is_one_of_the_cells_whatever_their_order(
    tenant: str, cells: list[str], random: Random
) -> None:
    found = home(tenant, cells)
    assert found in cells
    random.shuffle(cells)
    assert home(tenant, cells) == home(tenant, tuple(cells)) == found
    assert home(tenant, dict.fromkeys(cells, 7.0)) == found  # equal weights are no weights


def test_it_is_what_it_always_was() -> None:
    # Of a second process with another seed of its hashes, and of every later version.
    cells = ["a", "b", "c", "d"]
    known = "ddcdbcaaabdb"
    assert "".join(home(f"t{n}", cells) for n in range(12)) == known
    code = (
        "from parallax.core.cells import home\n"
        f"print(''.join(home(f't{{n}}', {cells}) for n in range(12)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30,
        cwd=Path(__file__).parents[3], env={"PYTHONHASHSEED": "7"},
    )  # fmt: skip
    assert done.stdout.strip() == known


@given(MANY, CELLS.filter(lambda cells: len(cells) > 1), st.data())
def test_a_cell_that_goes_moves_its_own_tenants_only(
    tenants: list[str], cells: list[str], data: st.DataObject
) -> None:
    assert strays(home, tenants, cells, data.draw(st.sampled_from(cells))) == []


def test_modulo_hashing_moves_the_others_too() -> None:
    some = TENANTS[:2_000]
    assert len(strays(modulo, some, list("abcde"), "c")) > 1_000
    assert strays(home, some, list("abcde"), "c") == []


@given(MANY, CELLS, NAMES)
def test_who_moves_when_a_cell_comes_moves_there(
    tenants: list[str], cells: list[str], new: str
) -> None:
    for tenant in tenants:
        assert home(tenant, [*{*cells, new}]) in {home(tenant, cells), new}


@pytest.mark.sampled(1)
@pytest.mark.parametrize("n", [1, 2, 3, 7, 15])
def test_a_new_cell_takes_its_share(n: int) -> None:
    cells = [f"cell-{k}" for k in range(n)]
    moved = sum(home(t, cells) != home(t, [*cells, "new"]) for t in TENANTS)
    assert_near(moved, 1 / (n + 1))


@pytest.mark.sampled(1)
@pytest.mark.parametrize("n", [2, 3, 8, 16])
def test_tenants_are_spread_evenly(n: int) -> None:
    counts = Counter(home(t, [f"cell-{k}" for k in range(n)]) for t in TENANTS)
    assert len(counts) == n
    for count in counts.values():
        assert_near(count, 1 / n)


def test_weights_are_shares() -> None:
    counts = Counter(home(t, {"a": 1.0, "b": 2.0, "c": 5.0}) for t in TENANTS)
    for cell, share in (("a", 1 / 8), ("b", 2 / 8), ("c", 5 / 8)):
        assert_near(counts[cell], share)


@given(MANY, st.dictionaries(NAMES, st.floats(1e-3, 1e3), min_size=2, max_size=8), st.data())
def test_a_cell_that_gains_weight_only_gains_tenants(
    tenants: list[str], weights: dict[str, float], data: st.DataObject
) -> None:
    cell = data.draw(st.sampled_from(sorted(weights)))
    heavier = weights | {cell: weights[cell] * data.draw(st.floats(1.0, 100.0))}
    for tenant in tenants:
        assert home(tenant, heavier) in {home(tenant, weights), cell}


def test_no_cells_are_no_home() -> None:
    with pytest.raises(InvalidInput, match="at least one cell"):
        home("acme", [])


def assert_near(count: int, share: float) -> None:
    """Within five standard deviations of what a fair draw gives: a bound for 10,000 tenants."""
    expected = share * len(TENANTS)
    assert abs(count - expected) <= 5 * sqrt(expected * (1 - share))


# -- how cells are written


def test_cells_are_read() -> None:
    assert parsed_places("a, b=redis://h:1/0 ,c:2.5=unix:///tmp/s?db=0,d:2") == (
        CellAddress("a"),
        CellAddress("b", "redis://h:1/0"),
        CellAddress("c", "unix:///tmp/s?db=0", 2.5),
        CellAddress("d", weight=2.0),
    )


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "cell 1: ''"),
        ("a,,b", "cell 2: ''"),
        ("a,b,a", "'a' is not allowed; each cell may be named once"),
        ("a,{b}", "cell 2: '{b}'"),
        ("a:x", "cell 1, weight: 'x'"),
        ("a:nan", "weight of cell a: nan"),
        ("a:0", "weight of cell a: 0.0"),
        ("a=http://h", "URLs begin with redis://"),
        ("a=", "URLs begin with redis://"),
        (",".join(f"c{n}" for n in range(MOST_CELLS + 1)), f"at most {MOST_CELLS} cells"),
    ],
)
def test_what_is_wrong_is_named(text: str, named: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parsed_places(text)
    assert named in str(caught.value)
    assert str(caught.value).startswith(("--cells", "weight of cell"))


@pytest.mark.parametrize(
    "text",
    ["a=redis://u:hun,ter2@h", "a=redis://u:hun,ter2=x@h", "a=http://u:ter2@h", "ter2@h", "a@ter2"],
)
def test_no_part_of_a_password_is_told(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parsed_places(text)
    assert "ter2" not in str(caught.value)
    assert "hun" not in str(caught.value)
