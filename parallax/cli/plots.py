"""`--plot FILE`: what a command measured, as a picture of lines (SVG) or of pixels (PNG)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from parallax.cli.files import write, write_bytes
from parallax.core.errors import InvalidInput
from parallax.sim.report.board import board
from parallax.sim.report.charts import every
from parallax.sim.report.record import Record
from parallax.sim.report.variants import variants

F = TypeVar("F", bound=Callable[..., Any])

#: Pixels of a PNG for each unit of its SVG.
_ZOOM = 2.0


def _checked(
    _: click.Context, _parameter: click.Parameter, path: Path | None
) -> Path | None:  # fmt: skip
    """Refuse now what could not be drawn after minutes of work."""
    if path is None or path.suffix.lower() == ".svg":
        return path
    if path.suffix.lower() != ".png":
        raise InvalidInput("--plot", str(path), "a file whose name ends with .svg or .png")
    try:
        import resvg_py  # noqa: F401
    except ImportError:
        allowed = "a file .svg, or pip install 'parallax-lb[plot]'"
        raise InvalidInput("--plot", str(path), allowed) from None
    return path


def plot_option(command: F) -> F:
    """Add `--plot`; the command gets `plot`."""
    return click.option(
        "--plot", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
        callback=_checked,
        help="Draw it: distributions, time lines, goodput. FILE.svg, or FILE.png with "
        "parallax-lb[plot].",
    )(command)  # fmt: skip


def draw(path: Path, title: str, under: str, charts: Sequence[str]) -> None:
    """Write charts as one picture, of the kind that the file's name says."""
    picture = board(title, under, charts)
    if path.suffix.lower() == ".svg":
        write(path, picture)
        return
    import resvg_py

    pixels = resvg_py.svg_to_bytes(
        svg_string=picture, zoom=_ZOOM, font_family="DejaVu Sans", sans_serif_family="DejaVu Sans"
    )
    write_bytes(path, bytes(pixels))


def draw_runs(path: Path, title: str, records: Sequence[Record]) -> None:
    """Draw simulated runs: those that differ only in their seed as one."""
    found = variants(records)
    jobs = sum(int(record["figures"].get("jobs_offered") or 0) for record in records)
    draw(path, title, f"{len(found)} variants, {len(records)} runs, {jobs} jobs", every(found))
