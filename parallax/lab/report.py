"""The output of every benchmark: a table for people, and one JSON object as the last line."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from parallax.cli.main import EXIT_MISSED
from parallax.cli.output import show


def publish(
    title: str,
    head: Sequence[str],
    rows: Sequence[Sequence[object]],
    figures: Mapping[str, object],
    floors: Mapping[str, bool],
) -> None:
    """Print the table, missed floors, and the figures; exit with 3 if a floor was missed."""
    show(None, as_json=False, title=title, head=head, rows=rows)
    missed = [name for name, met in floors.items() if not met]
    for name in missed:
        click.echo(f"missed: {name}")
    click.echo(json.dumps({**figures, "missed": missed, "machine": machine()}))
    if missed:
        sys.exit(EXIT_MISSED)


def machine() -> str:
    """Return what the figures were taken on."""
    return f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
