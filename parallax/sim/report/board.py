"""Several charts as one picture: cards in two columns, under a title."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from parallax.sim.report.palette import FONT, resolved
from parallax.sim.report.svg import WIDTH

_GAP, _PAD, _HEAD = 16, 12, 64
_SIZE = re.compile(r' width="(\d+)" height="(\d+)"')


def board(title: str, under: str, charts: Sequence[str]) -> str:
    """Return charts of `svg` as one SVG, in light colours; `under` stands below the title."""
    columns = min(2, max(1, len(charts)))
    card = WIDTH + 2 * _PAD
    parts, y = [], float(_HEAD)
    for first in range(0, len(charts), columns):
        row = charts[first : first + columns]
        height = max(map(_height, row)) + 2 * _PAD
        for column, chart in enumerate(row):
            x = _GAP + column * (card + _GAP)
            parts.append(
                f'<rect x="{x}" y="{y:g}" width="{card}" height="{height}" rx="12" '
                'fill="var(--panel)" stroke="var(--line)"/>'
            )
            parts.append(chart.replace("<svg ", f'<svg x="{x + _PAD}" y="{y + _PAD:g}" ', 1))
        y += height + _GAP
    width = _GAP + columns * (card + _GAP)
    if not charts:
        parts.append(_text(_GAP, y, 13, "var(--faint)", "Nothing was measured."))
        y += 2 * _GAP
    return resolved(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y:g}" width="{width}" '
        f'height="{y:g}" role="img" font-family="{FONT}"><title>{escape(title)}</title>'
        f'<rect width="{width}" height="{y:g}" fill="var(--bg)"/>'
        f"{_text(_GAP + 4, 30, 19, 'var(--text)', title)}"
        f"{_text(_GAP + 4, 50, 12, 'var(--faint)', under)}{''.join(parts)}</svg>\n"
    )


def _height(chart: str) -> int:
    found = _SIZE.search(chart)
    return int(found[2]) if found else 0


def _text(x: float, y: float, size: int, colour: str, text: str) -> str:
    shown = text if len(text) <= 160 else text[:159] + "…"
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{colour}">{escape(shown)}</text>'
