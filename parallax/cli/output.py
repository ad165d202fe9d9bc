"""How commands show things: tables on a terminal, plain columns in a pipe, or one JSON document."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from parallax.core.text import printable

if TYPE_CHECKING:
    from parallax.cli.documents import Document

__all__ = [
    "Row", "cell_text", "facts", "printable", "say", "show", "show_all", "show_one", "write_json",
]  # fmt: skip

Row = Sequence[object]


def show(
    document: Any, *, as_json: bool, title: str, head: Sequence[str], rows: Sequence[Row]
) -> None:
    """Write a result to stdout. `document` is what `--json` prints."""
    if as_json:
        write_json(document)
    elif sys.stdout.isatty():
        _rich_table(title, head, rows)
    else:
        _plain_table(head, rows)


def show_all(found: Sequence[Document], *, as_json: bool, title: str) -> None:
    """Write documents of one kind: a list as JSON, or a table with a column for each field."""
    head = found[0].__struct_fields__ if found else ()
    rows = [[getattr(one, name) for name in head] for one in found]
    if as_json or found:
        show(list(found), as_json=as_json, title=title, head=head, rows=rows)
    else:
        click.echo(f"{title}: none")


def show_one(found: Document, *, as_json: bool, title: str, without: Sequence[str] = ()) -> None:
    """Write one document: as JSON, or a line for each field; counts by name get lines of theirs.

    `without`: fields that people are shown elsewhere.
    """
    pairs: dict[str, object] = {}
    for name in [name for name in found.__struct_fields__ if name not in without]:
        value = getattr(found, name)
        if isinstance(value, dict):
            pairs |= {f"{name}.{word}": count for word, count in value.items()}
        else:
            pairs[name] = value
    show(found, as_json=as_json, title=title, head=("", ""), rows=list(pairs.items()))


def write_json(document: Any, indent: int | None = 2) -> None:
    """Write one JSON document, in ASCII; numbers that JSON does not have (NaN) become null."""
    import msgspec

    plain = msgspec.json.decode(msgspec.json.encode(document, enc_hook=str))
    click.echo(json.dumps(plain, indent=indent, sort_keys=True))


def cell_text(value: object) -> str:
    """Render one value for a table: three significant digits are enough for a human."""
    if value is None or value in ("", [], {}):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return printable(" ".join(f"{name}={cell_text(one)}" for name, one in value.items()))
    if isinstance(value, list):
        return printable(" ".join(map(cell_text, value)))
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return printable(str(value))


def say(text: str, *, err: bool = False) -> None:
    """Write one line: foreign text in it can neither steer a terminal nor add a line."""
    click.echo(printable(text), err=err)


def facts(pairs: Mapping[str, object], *, as_json: bool, title: str) -> None:
    """Show names and values."""
    show(dict(pairs), as_json=as_json, title=title, head=("", ""), rows=list(pairs.items()))


def _rich_table(title: str, head: Sequence[str], rows: Sequence[Row]) -> None:
    from rich.console import Console

    from parallax.cli.tables import draw

    draw(Console(), title, head, rows, [[cell_text(value) for value in row] for row in rows])


def _plain_table(head: Sequence[str], rows: Sequence[Row]) -> None:
    lines = [tuple(head)] if any(head) else []
    lines += [tuple(cell_text(value) for value in row) for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))] if lines else []
    for line in lines:
        click.echo(
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        )
