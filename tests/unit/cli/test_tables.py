"""Tables on terminals of any width from 60: no line is too long, no name is cut."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pytest
from rich.console import Console

from parallax.cli.load_figures import HEAD
from parallax.cli.output import cell_text
from parallax.cli.tables import draw
from parallax.policies.registry import REGISTRIES

WIDTHS = (60, 72, 80, 100, 132, 200)
TENANTS = [
    (f"tenant-with-a-long-name-{n}", 4.0, 1_234_567, 1_234_000, 89.123, 2_345.6, 0.571, 0.571,
     0.0123, 0.345, 1.25, 2.5, 10.75, 123.4)
    for n in range(3)
]  # fmt: skip
POLICIES = [
    (registry.kind, name, " ".join(map(str, registry.parameters(name))),
     (registry[name].__doc__ or "").strip().partition("\n")[0])
    for registry in REGISTRIES
    for name in registry
]  # fmt: skip
TABLES: dict[str, tuple[Sequence[str], Sequence[Sequence[object]]]] = {
    "figures of tenants": (HEAD, TENANTS),
    "policies": (("kind", "name", "parameters", "summary"), POLICIES),
    "facts": (("", ""), [("leader", "host-1"), ("open_jobs", 12), ("workers", None)]),
    "one column": (("name",), [("a",), ("b",)]),
    "wide letters": (("tenant", "weight"), [("日本語の名前", 1.0)]),
}


def drawn(width: int, table: str) -> str:
    head, rows = TABLES[table]
    out = io.StringIO()
    texts = [[cell_text(value) for value in row] for row in rows]
    draw(Console(file=out, width=width), "A title", head, rows, texts)
    return out.getvalue()


@pytest.mark.sampled(6)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("table", TABLES)
def test_it_fits_and_names_are_whole(width: int, table: str) -> None:
    text = drawn(width, table)
    assert "A title" in text
    assert "\u2026" not in text, "nothing is cut"
    if width >= 60:
        assert all(len(line.rstrip()) <= width for line in text.splitlines())
    head, rows = TABLES[table]
    for word in [*head[1:], *(str(row[0]) for row in rows)]:
        assert word in text, f"{word} is broken or missing"


def test_where_a_table_does_not_fit_every_row_is_a_block() -> None:
    lines = drawn(80, "figures of tenants").splitlines()
    assert "tenant-with-a-long-name-0" in lines
    assert any(line.split() == ["ttft", "p95", "0.345"] for line in lines)
    assert "ttft p95" in drawn(200, "figures of tenants").splitlines()[2], (
        "and a table where it does"
    )


def test_numbers_stand_to_the_right_and_prose_to_the_left() -> None:
    lines = drawn(200, "policies").splitlines()
    column = lines[2].index("summary")
    assert all(line[column - 1] == " " and line[column] != " " for line in lines[4:7])
    numbers = drawn(200, "wide letters").splitlines()
    assert numbers[4].rstrip().endswith("1")
    assert len(numbers[4].rstrip()) >= len(numbers[2].rstrip()) - 6


@pytest.mark.parametrize("table", TABLES)
def test_no_markup_of_others_is_obeyed(table: str) -> None:
    head = ("name", "value")
    out = io.StringIO()
    draw(Console(file=out, width=60), "", head, [("[bold]x[/]", 1)], [["[bold]x[/]", "1"]])
    assert "[bold]x[/]" in out.getvalue()
