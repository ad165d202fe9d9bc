"""Shows progress on a terminal: one line on stderr that changes and is gone at the end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from parallax.sim.timed import Timed

#: Jobs from one change of the line to the next: showing them must not slow them down.
_EVERY = 200


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Give a function that shows a text while the body runs; without a terminal it does nothing."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.status import Status

    with Status("starting", console=Console(stderr=True)) as status:
        yield status.update


def watched(jobs: Iterable[Timed], told: Callable[[str], None]) -> Iterator[Timed]:
    """Pass jobs on, and tell how many there were and how far their time has gone."""
    for count, (at_s, job) in enumerate(jobs, start=1):
        yield at_s, job
        if count % _EVERY == 0:
            told(f"{count:,} jobs have arrived, {at_s:,.0f} s are simulated")
