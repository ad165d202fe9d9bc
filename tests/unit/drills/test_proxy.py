"""The proxy between a worker and Redis does to both sides what its mode says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from parallax.broker.link.connection import Link
from parallax.core.errors import Unreachable
from parallax.drills.proxy import Mode, Proxy
from tests.waiting import wait_until


class Hasty:
    """A clock that goes on by a step whenever somebody looks at it."""

    def __init__(self) -> None:
        self.looks, self.step_s, self._at = 0, 0.0, 0.0

    def now(self) -> float:
        return self.monotonic()

    def monotonic(self) -> float:
        self.looks += 1
        self._at += self.step_s
        return self._at

    def wait(self, seconds: float) -> None:
        self._at += seconds


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


def test_far_away_everything_takes_its_round_trip_in_order(
    embedded_url: str, tmp_path: Path
) -> None:
    clock = Hasty()
    proxy = Proxy(Path(urlsplit(embedded_url).path), tmp_path / "o", 3600.0, clock)
    link = through(proxy, embedded_url)
    done: list[object] = []

    def ask() -> None:
        done.extend(link.call("ECHO", f"{n}") for n in range(3))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        wait_until(lambda: clock.looks > 5, "the proxy to look for what is due")
        assert not done
        clock.step_s = 1800.0  # the proxy's hours pass
        wait_until(lambda: not asking.is_alive(), "the answers to come")
    finally:
        proxy.close()
        asking.join()
        link.close()
    assert done == [b"0", b"1", b"2"]
