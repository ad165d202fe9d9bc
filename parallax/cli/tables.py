"""Tables on a terminal: no wider than the screen; if one does not fit, a block for each row.

Names are never cut or broken. Only prose (cells of several words) is folded, at its blanks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

#: A cell with blanks that is longer than this is prose, and may be folded down to this width.
_PROSE = 24


def draw(
    console: Console,
    title: str,
    head: Sequence[str],
    rows: Sequence[Sequence[object]],
    texts: Sequence[Sequence[str]],
) -> None:
    """Print a table. `texts` are the cells of `rows` as they are shown. O(cells)."""
    table = _table(head, rows, texts)
    wide = console.options.update(max_width=10_000)
    if title:
        console.print(Text(title, style="italic"), soft_wrap=True)
    if Measurement.get(console, wide, table).minimum <= console.width:
        console.print(table)
    else:
        _blocks(console, head, texts)


def _table(
    head: Sequence[str],
    rows: Sequence[Sequence[object]],
    texts: Sequence[Sequence[str]],
) -> Table:
    table = Table(
        header_style="bold",
        box=box.SIMPLE_HEAD, pad_edge=False, show_header=any(head),
    )  # fmt: skip
    for index, name in enumerate(head):
        cells = [line[index] for line in texts]
        prose = any(" " in cell and cell_len(cell) > _PROSE for cell in cells)
        widest = max(map(cell_len, [name, *cells]))
        words = max((cell_len(word) for cell in [name, *cells] for word in cell.split()), default=1)
        numbers = bool(rows) and all(_is_number(row[index]) for row in rows)
        table.add_column(
            Text(name), justify="right" if numbers else "left", no_wrap=not prose, overflow="fold",
            min_width=max(words, min(widest, _PROSE)) if prose else widest,
        )  # fmt: skip
    for line in texts:
        table.add_row(*map(Text, line))
    return table


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _blocks(console: Console, head: Sequence[str], texts: Sequence[Sequence[str]]) -> None:
    """Print every row as a block: its first cell, and below it a line for each other one."""
    widest = max(map(cell_len, head[1:]), default=0)
    for line in texts:
        console.print(Text(line[0], style="bold"), soft_wrap=True)
        for name, cell in zip(head[1:], line[1:], strict=True):
            label = Text(f"  {name}{' ' * (widest - cell_len(name))}  ")
            room = console.width - widest - 4
            if room < _PROSE // 2 or max(map(cell_len, cell.split()), default=0) > room:
                console.print(label, Text(cell), sep="", soft_wrap=True)  # so that it can be copied
                continue
            grid: Any = Table.grid(padding=0)
            grid.add_column(no_wrap=True)
            grid.add_column()
            grid.add_row(label, Text(cell))
            console.print(grid)
