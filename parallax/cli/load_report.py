"""A live run on the command line: its progress, and the report at its end."""

from __future__ import annotations

from collections.abc import Iterable

import click

from parallax.cli.documents import LiveReport
from parallax.cli.load_figures import HEAD, figures, row, totals
from parallax.cli.output import show, show_one, write_json
from parallax.cli.progress import progress
from parallax.core.errors import ParallaxError
from parallax.core.model import Job
from parallax.producers.load.drive import Run
from parallax.producers.load.live import Live


def watched_run(live: Live, load: Iterable[tuple[float, Job]], speed: float = 1.0) -> Run:
    """Run the load; stderr says what happens meanwhile."""
    live.say = _say
    with progress() as live.progress:
        return live.run(load, speed)


def _say(text: str) -> None:
    click.echo(text, err=True)


def report(run: Run, live: Live, as_json: bool, window: tuple[float, float] | None) -> bool:
    """Show the figures of a run; return whether every promise was kept."""
    rows = figures(run, live.in_force, window)
    kept = run.lost == 0 and run.twice == 0 and (run.interrupted or run.open == 0)
    found = LiveReport(
        tenants=rows,
        recovered=_recovered(live, run),
        killed=[crash.done for crash in live.crashes if crash.done],
        kept=kept,
        **totals(run),
    )
    if as_json:
        write_json(found)
        return kept
    show(None, as_json=False, title="By tenant (times in seconds)", head=HEAD,
         rows=[row(one) for one in rows])  # fmt: skip
    for one in rows:
        if one.note:
            click.echo(f"{one.tenant} {one.note}")
    show_one(found, as_json=False, title="All jobs", without=("tenants",))
    return kept


def _recovered(live: Live, run: Run) -> dict[str, int]:
    client = live.connect()
    try:
        counts = client.counts()
    except ParallaxError:
        if not run.interrupted:
            raise
        return {}  # it may have been interrupted because the server is gone
    finally:
        client.close()
    told = ("reclaimed", "repaired", "late", "requeued", "malformed")
    return {word: count for word, count in sorted(counts.items()) if word in told}
