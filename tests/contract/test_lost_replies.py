"""Every answer of every script, with the first reply lost: after the server did it, or before.

The connection runs through a proxy that closes it at that very moment. The second call must find
the world as the first one left it, and say so.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.link.scripts import names, script
from parallax.broker.store.keys import Keys
from parallax.broker.store.limits import Limits
from parallax.core.errors import Unreachable
from parallax.drills.proxy import Mode, Proxy
from tests.contract.conftest import Cell
from tests.contract.scenes.every import REPEATS, SCENES, SECOND_ONLY
from tests.waiting import wait_until

CASES = sorted(set(SCENES) - SECOND_ONLY)


@pytest.fixture
def proxy(server_url: str, tmp_path: Path) -> Iterator[Proxy]:
    proxy = Proxy(Path(urlsplit(server_url).path), tmp_path / "p")
    yield proxy
    proxy.close()


@pytest.fixture
def distant(proxy: Proxy, server_url: str) -> Iterator[Cell]:
    """A cell on the other side of the proxy."""
    link = Link.to(urlsplit(server_url)._replace(path=str(proxy.path)).geturl())
    for name in names():  # else the reply that is cut is that there is no such script
        link.call("SCRIPT", "LOAD", script(name).text)
    yield Cell(link, Keys("test"), Limits(max_depth=3, max_bytes=4096, max_active=100))
    link.close()


@pytest.mark.sampled(15)
@pytest.mark.parametrize(("name", "word"), CASES)
def test_done_and_never_heard_of(proxy: Proxy, distant: Cell, name: str, word: str) -> None:
    ask = SCENES[name, word](distant)
    proxy.cut_reply()
    with pytest.raises(Unreachable):
        ask()
    assert proxy.cut_replies == 0
    assert ask() in {word, REPEATS.get((name, word), word)}


def test_the_lost_reply_is_that_of_a_script_which_ran(proxy: Proxy, distant: Cell) -> None:
    ask = SCENES["submit", "ok"](distant)
    proxy.cut_reply()
    with pytest.raises(Unreachable):
        ask()
    assert distant.open_jobs() == 1
    assert ask() == "dup"


@pytest.mark.sampled(15)
@pytest.mark.parametrize(("name", "word"), CASES)
def test_never_done(proxy: Proxy, distant: Cell, name: str, word: str) -> None:
    ask = SCENES[name, word](distant)
    proxy.mode = Mode.DOWN
    try:
        wait_until(lambda: not proxy.connected, "the connection to be closed")
        with pytest.raises(Unreachable):
            ask()
    finally:
        proxy.mode = Mode.OPEN
    assert ask() == word
