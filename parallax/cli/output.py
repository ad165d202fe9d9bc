"""How commands show things: tables on a terminal, plain columns in a pipe, or one JSON document."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from parallax.core.text import printable

__all__ = ["Row", "cell_text", "facts", "printable", "say", "show"]

Row = Sequence[object]


def show(
    document: Any, *, as_json: bool, title: str, head: Sequence[str], rows: Sequence[Row]
) -> None:
    """Write a result to stdout. `document` is what `--json` prints."""
    if as_json:
        click.echo(json.dumps(document, indent=2, sort_keys=True, default=str))
    elif sys.stdout.isatty():
        _rich_table(title, head, rows)
    else:
        _plain_table(head, rows)


def cell_text(value: object) -> str:
    """Render one value for a table: three significant digits are enough for a human."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return printable(str(value))


def say(text: str, *, err: bool = False) -> None:
    """Write one line: whoever wrote a part of it can neither steer a terminal nor add a line."""
    click.echo(printable(text), err=err)


def facts(pairs: Mapping[str, object], *, as_json: bool, title: str) -> None:
    """Show names and values."""
    show(dict(pairs), as_json=as_json, title=title, head=("", ""), rows=list(pairs.items()))


def _rich_table(title: str, head: Sequence[str], rows: Sequence[Row]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, title_justify="left", header_style="bold")
    for index, name in enumerate(head):
        table.add_column(name, justify="left" if index == 0 else "right")
    for row in rows:
        table.add_row(*(escape(cell_text(value)) for value in row))
    Console().print(table)


def _plain_table(head: Sequence[str], rows: Sequence[Row]) -> None:
    lines = [tuple(head)] if any(head) else []
    lines += [tuple(cell_text(value) for value in row) for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))] if lines else []
    for line in lines:
        click.echo(
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        )
