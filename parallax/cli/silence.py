"""Explains silence: after two seconds a waiting command names the missing process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import click

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.broker.store.membership import Membership
from parallax.cli.output import printable
from parallax.core.cells import CellAddress
from parallax.core.errors import ParallaxError, StoreFault
from parallax.core.secrets import redacted

#: Seconds of silence after which it is explained.
SILENCE_S = 2.0


def _on_stderr(sentence: str) -> None:
    click.echo(f"parallax: {sentence}", err=True)


@contextmanager
def silence_explained(places: Sequence[CellAddress]) -> Iterator[None]:
    """While the body runs: after a while say on stderr what its jobs wait for, if for anything."""
    with said_after(lambda: [why for place in places for why in reasons(place)]):
        yield


@contextmanager
def said_after(
    told: Callable[[], Sequence[str]],
    after_s: float | None = None,
    tell: Callable[[str], object] = _on_stderr,
) -> Iterator[None]:
    """While the body runs: tell (on stderr), once, what `told` returns `after_s` from now.

    None stands for `SILENCE_S`.
    """

    def say() -> None:
        try:
            sentences = told()
        except ParallaxError as error:
            sentences = [str(error)]
        for sentence in sentences:
            if not over.is_set():
                tell(redacted(printable(sentence)))

    over = threading.Event()
    timer = threading.Timer(SILENCE_S if after_s is None else after_s, say)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        over.set()
        timer.cancel()


def reasons(place: CellAddress) -> list[str]:
    """Return a sentence for each thing that jobs of a cell wait for. Two round trips."""
    link, keys, found = Link.to(place.url), Keys(place.name), list[str]()
    try:
        if link.call("GET", keys.leader) is None:
            found.append(
                f"no scheduler leads cell {keys.cell}: jobs wait until `parallax scheduler` runs"
            )
        if not any(member.alive for member in Membership(link, keys).members()):
            found.append(f"no worker of cell {keys.cell} is alive: jobs wait for `parallax worker`")
    except StoreFault:
        pass  # the role `producer` may not see workers
    finally:
        link.close()
    return found
