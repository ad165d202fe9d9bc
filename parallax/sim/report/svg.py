"""Small charts as SVG text: lines, steps of a CDF, and bars with intervals. No scripts.

A chart stands alone, in light colours; a `themed` one takes the colours of the page around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import isfinite

from parallax.sim.report.palette import FONT, SERIES, resolved
from parallax.sim.report.statistics import Interval, Point, nice_width

WIDTH, HEIGHT = 560, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 14, 30, 46
_LEGEND_LINE = 16
#: Series after the last colour are told apart by dashes.
_DASHES = ("", "6 3", "2 3", "8 3 2 3")


@dataclass(frozen=True, slots=True)
class Series:
    """A named line."""

    name: str
    points: Sequence[Point]


@dataclass(frozen=True, slots=True)
class Axis:
    """Maps a range of values to pixels; from 0 or the smallest value to a whole tick."""

    low: float
    high: float
    step: float
    first: float  # pixel of `low`
    last: float  # pixel of `high`

    @classmethod
    def over(cls, values: Sequence[float], first: float, last: float, ticks: int = 6) -> Axis:
        """Return an axis that shows all values."""
        low, high = min([0.0, *values]), max([0.0, *values])
        step = nice_width(high - low, ticks) if high - low > 1e-12 else 0.2
        bottom = step * (low // step)
        top = bottom + step * max(1, -(-(high - bottom) // step))
        return cls(bottom, top, step, first, last)

    def at(self, value: float) -> float:
        """Return the pixel of a value."""
        return self.first + (value - self.low) / (self.high - self.low) * (self.last - self.first)

    def ticks(self) -> list[float]:
        """Return where to put ticks."""
        count = round((self.high - self.low) / self.step)
        return [self.low + n * self.step for n in range(count + 1)]


def line_chart(
    title: str, x_label: str, y_label: str, series: Sequence[Series], *, steps: bool = False,
    themed: bool = False, marks: bool = False,
) -> str:  # fmt: skip
    """Return a chart of lines; `steps` draws each as a staircase, as an empirical CDF is.

    With `marks` every point is a dot, too.
    """
    shown = [Series(line.name, _finite(line.points)) for line in series]
    points = [point for line in shown for point in line.points]
    x_axis, y_axis = _axes([x for x, _ in points], [y for _, y in points])
    parts = [*_frame(x_label, y_label, x_axis, y_axis), *_x_ticks(x_axis)]
    for number, line in enumerate(shown):
        if line.points:
            path = _path(line.points, x_axis, y_axis, steps)
            parts.append(f'<path d="{path}" fill="none" stroke-width="1.8"{_stroke(number)}/>')
        if marks:
            parts += [_dot(number, x_axis.at(x), y_axis.at(y)) for x, y in line.points]
    return _svg(title, parts, [line.name for line in shown], themed)


def _dot(number: int, x: float, y: float) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{SERIES[number % len(SERIES)]}"/>'


def cdf_chart(title: str, x_label: str, series: Sequence[Series], *, themed: bool = False) -> str:
    """Return a chart of cumulative distributions, (value, share) each."""
    return line_chart(title, x_label, "share of jobs", series, steps=True, themed=themed)


def bar_chart(
    title: str, y_label: str, bars: Sequence[tuple[str, Interval]], *, themed: bool = False
) -> str:
    """Return a chart of bars with their 95 % intervals; names are in the legend."""
    ends = [interval.mean + (interval.half or 0.0) for _, interval in bars]
    x_axis, y_axis = _axes([float(len(bars))], ends)
    parts = _frame("", y_label, x_axis, y_axis)
    slot = (x_axis.last - x_axis.first) / max(1, len(bars))
    for number, (_, interval) in enumerate(bars):
        left = x_axis.first + number * slot + 0.15 * slot
        parts += _bar(number, left, 0.7 * slot, interval, y_axis)
    return _svg(title, parts, [name for name, _ in bars], themed)


def _bar(number: int, left: float, width: float, interval: Interval, y_axis: Axis) -> list[str]:
    top, foot = sorted((y_axis.at(interval.mean), y_axis.at(0.0)))
    colour = SERIES[number % len(SERIES)]
    parts = [
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{foot - top:.1f}" '
        f'fill="{colour}"/>'
    ]
    if interval.half:
        middle = left + width / 2
        high, low = (y_axis.at(interval.mean + sign * interval.half) for sign in (1, -1))
        parts.append(
            f'<path d="M{middle - 4:.1f} {high:.1f}h8m-4 0V{low:.1f}m-4 0h8" fill="none" '
            'stroke="var(--soft)" stroke-width="1.2"/>'
        )
    return parts


def _finite(points: Sequence[Point]) -> list[Point]:
    return [(x, y) for x, y in points if isfinite(x) and isfinite(y)]


def _axes(xs: Sequence[float], ys: Sequence[float]) -> tuple[Axis, Axis]:
    return (
        Axis.over(xs, _LEFT, WIDTH - _RIGHT),
        Axis.over(ys, HEIGHT - _BOTTOM, _TOP),
    )


def _path(points: Sequence[Point], x_axis: Axis, y_axis: Axis, steps: bool) -> str:
    x, y = points[0]
    words = [f"M{x_axis.at(x):.1f} {y_axis.at(0.0 if steps else y):.1f}"]
    if steps:
        words.append(f"V{y_axis.at(y):.1f}")
    for x, y in points[1:]:
        across, up = f"{x_axis.at(x):.1f}", f"{y_axis.at(y):.1f}"
        words.append(f"H{across}V{up}" if steps else f"L{across} {up}")
    return "".join(words)


def _frame(x_label: str, y_label: str, x_axis: Axis, y_axis: Axis) -> list[str]:
    left, right, foot = x_axis.first, x_axis.last, y_axis.first
    parts = []
    for value in y_axis.ticks():
        y = y_axis.at(value)
        parts.append(f'<path d="M{left:.1f} {y:.1f}H{right:.1f}" stroke="var(--grid)"/>')
        parts.append(_text(left - 6, y + 4, _number(value), "end"))
    edge = f"M{left:.1f} {_TOP}V{foot:.1f}H{right:.1f}"
    parts.append(f'<path d="{edge}" fill="none" stroke="var(--line-strong)"/>')
    parts.append(_text((left + right) / 2, HEIGHT - 8, x_label, "middle"))
    middle = (_TOP + foot) / 2
    parts.append(
        f'<text x="14" y="{middle:.1f}" text-anchor="middle" '
        f'transform="rotate(-90 14 {middle:.1f})">{escape(y_label)}</text>'
    )
    return parts


def _x_ticks(axis: Axis) -> list[str]:
    foot = HEIGHT - _BOTTOM
    parts = []
    for value in axis.ticks():
        x = axis.at(value)
        parts.append(f'<path d="M{x:.1f} {foot}v5" stroke="var(--line-strong)"/>')
        parts.append(_text(x, foot + 18, _number(value), "middle"))
    return parts


def _svg(title: str, parts: Sequence[str], names: Sequence[str], themed: bool) -> str:
    """Put a chart together; the legend stands below it, one line each, as names are long."""
    legend = []
    for number, name in enumerate(names):
        y = HEIGHT + 6 + number * _LEGEND_LINE
        legend.append(
            f'<path d="M{_LEFT} {y}h22" fill="none" stroke-width="3"{_stroke(number)}/>'
            + _text(_LEFT + 28, y + 4, name, "start")
        )
    height = HEIGHT + _LEGEND_LINE * len(names)
    picture = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img" font-family="{FONT}" font-size="11" '
        'fill="var(--faint)" style="font-variant-numeric:tabular-nums">'
        f"<title>{escape(title)}</title>"
        f'<text x="{_LEFT}" y="16" font-size="13" font-weight="600" fill="var(--text)">'
        f"{escape(title)}</text>{''.join(parts)}{''.join(legend)}</svg>"
    )
    return picture if themed else resolved(picture)


def _stroke(number: int) -> str:
    dash = _DASHES[number // len(SERIES) % len(_DASHES)]
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f' stroke="{SERIES[number % len(SERIES)]}"{dashed}'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _number(value: float) -> str:
    text = f"{value:.6g}"
    return "0" if float(text) == 0 or abs(value) < 1e-12 else text
