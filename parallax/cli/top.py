"""`parallax top`: a running cell, looked at again and again."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.broker.store.overview import Overview
from parallax.cli.cell_documents import CellView, TenantView, WorkerView
from parallax.cli.cell_view import cell_view
from parallax.cli.options import redis_options, server_url
from parallax.cli.output import Row, cell_text, say, write_json
from parallax.core.errors import Unreachable
from parallax.core.secrets import redacted
from parallax.services.clock import SystemClock
from parallax.services.orders import Orders

#: What workers and tenants may be ordered by, the most first; by name is always the last word.
SORTS: dict[str, tuple[Callable[[WorkerView], Any], Callable[[TenantView], Any]]] = {
    "load": (lambda w: -(w.running_jobs + w.stream_jobs), lambda t: -t.waiting_jobs),
    "name": (lambda w: w.name, lambda t: t.name),
    "rate": (lambda w: -(w.completed_per_s or 0.0), lambda t: -(t.completed_per_s or 0.0)),
    "kv": (lambda w: -w.kv_used, lambda t: -(t.share or 0.0)),
}

#: Most rows of a table where there is no screen to say how many fit.
_ROWS = 20

WORKER_HEAD = (
    "worker",
    "state",
    "running",
    "stream",
    "slots",
    "kv %",
    "beat s",
    "done/s",
    "slow x",
)
TENANT_HEAD = ("tenant", "weight", "waiting", "running", "share %", "due %", "done/s", "ttft p95 s")


@click.command()
@redis_options
@click.option("--interval", "interval_s", type=click.FloatRange(0.2, 60.0), default=1.0,
              show_default=True, help="Seconds from one look to the next.")  # fmt: skip
@click.option("--sort", type=click.Choice(list(SORTS)), default="load", show_default=True,
              help="What comes first: load (running and waiting), name, rate (completed a second), "
              "kv (KV memory; of tenants their share).")  # fmt: skip
@click.option("--once", is_flag=True, help="Look once.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document; looks once.")
def top(
    redis: str | None, cell: str, home: Path | None, interval_s: float, sort: str, once: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Watch a running cell: workers, tenants, rates and percentiles; Ctrl-C ends it.

    Rates and percentiles are of the last minute, as the leader tells them. Where standard output
    is no terminal, it is plain text, one block after the other.
    """
    link, clock = Link.to(server_url(redis, home)), SystemClock()
    overview = Overview(link, Keys(cell))
    try:
        if once or as_json:
            view = cell_view(overview.read())
            if as_json:
                write_json(view)
            else:
                _write(view, sort)
            return
        with Orders() as orders, _shown(sort) as show:
            while not orders.stop.is_set():
                began = clock.monotonic()
                try:
                    show(cell_view(overview.read()))
                except Unreachable as error:  # it may come back
                    say(f"parallax: {redacted(str(error))}", err=True)
                orders.stop.wait(max(0.05, interval_s - (clock.monotonic() - began)))
    finally:
        link.close()


@contextmanager
def _shown(sort: str) -> Iterator[Callable[[CellView], None]]:
    """Give a function that shows a cell, in place of the one before if this is a terminal."""
    if not sys.stdout.isatty():

        def write(view: CellView) -> None:
            _write(view, sort)
            click.echo()
            sys.stdout.flush()

        yield write
        return
    from rich.console import Console
    from rich.live import Live

    console = Console()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        yield lambda view: live.update(_drawn(view, sort, console.height), refresh=True)


def _write(view: CellView, sort: str) -> None:
    for line in summary(view):
        say(line)
    for head, rows in (workers_table(view, sort), tenants_table(view, sort)):
        cells: list[Sequence[str]] = [
            head,
            *([cell_text(value) for value in row] for row in rows[:_ROWS]),
        ]
        widths = [max(len(line[n]) for line in cells) for n in range(len(head))]
        click.echo()
        for cell in cells:
            padded = [text.ljust(width) for text, width in zip(cell, widths, strict=True)]
            say("  ".join(padded).rstrip())
        if len(rows) > _ROWS:
            click.echo(f"and {len(rows) - _ROWS} more")


def _drawn(view: CellView, sort: str, height: int) -> Any:
    """Draw a cell on a screen; whatever a name is made of is text."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    lines = [Text(cell_text(line), overflow="ellipsis", no_wrap=True) for line in summary(view)]
    lines[0].stylize("bold red" if view.leader is None else "bold")
    room = max(4, height - len(lines) - 8)
    parts: list[Any] = list(lines)
    for head, rows in (workers_table(view, sort), tenants_table(view, sort)):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", expand=False)
        for n, name in enumerate(head):
            table.add_column(Text(name), justify="left" if n < 1 else "right", no_wrap=True)
        shown = rows[: max(2, room // 2)]
        for row in shown:
            table.add_row(*(Text(cell_text(value)) for value in row))
        parts.append(table)
        if len(rows) > len(shown):
            parts.append(Text(f"and {len(rows) - len(shown)} more"))
    return Group(*parts)


def summary(view: CellView) -> list[str]:
    """Return the lines about the cell as a whole."""
    leads = "nobody leads: jobs wait" if view.leader is None else f"leader {view.leader.name}"
    old = ""
    if view.stale and view.figures_age_s is not None:
        old = f" (figures are {view.figures_age_s:.0f} s old)"
    rates, totals = view.rates, view.totals
    shed = " ".join(f"{name} {_rate(rate)}/s" for name, rate in view.rejected_per_s.items())
    return [
        f"cell {view.cell}: {leads}{old}",
        f"workers {view.workers_alive} of {view.workers_total} alive, "
        f"{view.running_jobs} running on {view.slots} slots; jobs {view.open_jobs} open, "
        f"{view.waiting_jobs}{'' if view.waiting_is_exact else '+'} waiting; "
        f"dead letters {view.dead_letters}; backlog {_seconds(view.backlog_s)}",
        f"per second: submitted {_rate(rates['submitted_per_s'])}, completed "
        f"{_rate(rates['completed_per_s'])}, failed {_rate(rates['failed_per_s'])}, output tokens "
        f"{_rate(rates['output_tokens_per_s'])}",
        "p50/p95/p99: "
        + "; ".join(f"{name.removesuffix('_s')} {_spread(view, name)}" for name in view.latency),
        f"shed      {_rate(rates['rejected_per_s'])}/s, {totals['rejected']} in all"
        + (f": {shed}" if shed else ""),
        f"hedged    {_rate(rates['hedged_per_s'])}/s, {totals['hedged']} in all",
        f"stolen    {_rate(rates['stolen_per_s'])}/s, {totals['stolen']} in all",
        f"recovered {_rate(rates['recovered_per_s'])}/s, {totals['recovered']} in all",
    ]


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:,.1f} s"


def _spread(view: CellView, name: str) -> str:
    one = view.latency[name]
    return " / ".join(_seconds(value) for value in (one.p50, one.p95, one.p99))


def workers_table(view: CellView, sort: str) -> tuple[Sequence[str], list[Row]]:
    """Return the head and the rows of the workers' table."""
    order = SORTS[sort][0]
    rows: list[Row] = [
        (one.name, one.state, one.running_jobs, one.stream_jobs, one.slots,
         round(one.kv_used * 100), _short(one.heartbeat_age_s), _short(one.completed_per_s),
         _short(one.slowness))
        for one in sorted(view.workers, key=lambda one: (order(one), one.name))
    ]  # fmt: skip
    return WORKER_HEAD, rows


def tenants_table(view: CellView, sort: str) -> tuple[Sequence[str], list[Row]]:
    """Return the head and the rows of the tenants' table."""
    order = SORTS[sort][1]
    rows: list[Row] = [
        (one.name, one.weight, one.waiting_jobs, one.running_jobs, _percent(one.share),
         _percent(one.due), _short(one.completed_per_s), one.ttft_p95_s)
        for one in sorted(view.tenants, key=lambda one: (order(one), one.name))
    ]  # fmt: skip
    return TENANT_HEAD, rows


def _percent(share: float | None) -> float | None:
    return None if share is None else round(share * 100, 1)


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
