"""Fixtures shared by all tests: one embedded server per test process, emptied before each use.

What touches Redis runs over fakeredis and over that server: the same text, twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import fakeredis
import pytest

from parallax.broker.connection import Link
from parallax.broker.embedded import EmbeddedServer
from parallax.services.clock import SystemClock


@pytest.fixture(scope="session")
def embedded() -> Iterator[EmbeddedServer]:
    with EmbeddedServer(SystemClock(), ephemeral=True) as server:
        yield server


@pytest.fixture
def embedded_url(embedded: EmbeddedServer) -> str:
    url = embedded.start().url
    link = Link.to(url)
    link.call("FLUSHALL")
    link.close()
    return url


@pytest.fixture(params=["fakeredis", "embedded"])
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[[], Link]]:
    """Return a function that opens a new link to an empty server."""
    links: list[Link] = []
    if request.param == "fakeredis":
        pool = fakeredis.FakeRedis(server=fakeredis.FakeServer(), protocol=2).connection_pool
        factory: Callable[[], Link] = lambda: Link(pool.make_connection)  # noqa: E731
    else:
        url = request.getfixturevalue("embedded_url")
        factory = lambda: Link.to(url)  # noqa: E731

    def opened() -> Link:
        links.append(factory())
        return links[-1]

    yield opened
    for link in links:
        link.close()
