"""The proxy between a worker and Redis does to both sides what its mode says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from parallax.broker.connection import Link
from parallax.core.errors import Unreachable
from parallax.drills.proxy import Mode, Proxy
from tests.waiting import wait_until


@pytest.fixture
def proxy(embedded_url: str, tmp_path: Path) -> Iterator[Proxy]:
    proxy = Proxy(Path(urlsplit(embedded_url).path), tmp_path / "p")
    yield proxy
    proxy.close()


def through(proxy: Proxy, url: str) -> Link:
    return Link.to(urlsplit(url)._replace(path=str(proxy.path)).geturl())


def test_open_it_passes_everything(proxy: Proxy, embedded_url: str) -> None:
    link = through(proxy, embedded_url)
    assert link.call("ECHO", "x" * 200_000) == b"x" * 200_000
    link.close()


def test_a_cut_reply_belongs_to_a_request_that_was_carried_out(
    proxy: Proxy, embedded_url: str
) -> None:
    link = through(proxy, embedded_url)
    link.call("SET", "cut", "before")
    proxy.cut_reply()
    with pytest.raises(Unreachable):
        link.call("SET", "cut", "after")
    assert link.call("GET", "cut") == b"after"
    link.close()


def test_down_it_answers_nobody_and_open_again_it_does(proxy: Proxy, embedded_url: str) -> None:
    link = through(proxy, embedded_url)
    link.call("PING")
    proxy.mode = Mode.DOWN

    def refused() -> bool:
        try:
            link.call("PING")
        except Unreachable:
            return True
        return False

    wait_until(refused, "the connection to be closed")
    proxy.mode = Mode.OPEN
    wait_until(lambda: not refused(), "connections to be let through again")
    link.close()
