"""Fixtures shared by all tests: one server of a kind per test process, emptied before each use.

What touches Redis runs over fakeredis and over real servers: the same text, again and again. Two
of them are in the fast set, the others are `slow`; see `tests/servers.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import fakeredis
import pytest
from hypothesis import settings

from parallax.broker.link.connection import Link
from parallax.broker.server.embedded import EmbeddedServer
from tests.asynchronous import LinkOverAsync
from tests.cluster import LocalCluster
from tests.examples import examples
from tests.servers import EMBEDDED, REAL, Running

settings.register_profile("share", max_examples=examples(100))
settings.load_profile("share")


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let what is slow over fakeredis be `slow` there, and every test of whole services.

    fakeredis runs scripts in Python. The fast tests of the contract show that it answers as the
    servers do; what services make of the answers is the same over both.
    """
    for item in items:
        if "[fakeredis" in item.name and (
            item.get_closest_marker("slow_on_fakeredis") or "integration" in item.path.parts
        ):
            item.add_marker("slow")


@pytest.fixture(scope="session")
def servers() -> Iterator[Running]:
    running = Running()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster() as cluster:
        yield cluster


@pytest.fixture
def embedded(servers: Running) -> EmbeddedServer:
    return servers.started(EMBEDDED.name)


@pytest.fixture
def embedded_url(servers: Running) -> str:
    return servers.emptied(EMBEDDED.name)


@pytest.fixture(params=REAL)
def server_url(request: pytest.FixtureRequest, servers: Running) -> str:
    """Return the URL of an empty server: each real one in turn."""
    return servers.emptied(request.param)


#: What the broker's tests run over.
PLACES = ["fakeredis", *REAL, pytest.param("cluster", marks=pytest.mark.slow)]


@pytest.fixture(params=PLACES)
def connect(request: pytest.FixtureRequest, servers: Running) -> Iterator[Callable[[], Link]]:
    """Return a function that opens a new link to an empty server."""
    yield from connecting(request, servers)


def connecting(request: pytest.FixtureRequest, servers: Running) -> Iterator[Callable[[], Link]]:
    """Yield a function that opens links to the server that the request names; close them then."""
    links: list[Link] = []
    if request.param == "fakeredis":
        pool = fakeredis.FakeRedis(server=fakeredis.FakeServer(), protocol=2).connection_pool
        factory: Callable[[], Link] = lambda: Link(pool.make_connection)  # noqa: E731
    elif request.param == "cluster":
        masters: LocalCluster = request.getfixturevalue("cluster")
        masters.flush()
        factory = lambda: Link.to(masters.masters[0].url)  # noqa: E731
    elif request.param == "asyncio":
        url = servers.emptied(EMBEDDED.name)
        factory = lambda: LinkOverAsync.to(url)  # noqa: E731
    else:
        url = servers.emptied(request.param)
        factory = lambda: Link.to(url)  # noqa: E731

    def opened() -> Link:
        links.append(factory())
        return links[-1]

    yield opened
    for link in links:
        link.close()
