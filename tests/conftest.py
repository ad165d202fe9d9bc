"""Fixtures shared by all tests: one server of a kind per test process, emptied before each use.

What touches Redis runs over fakeredis and over real servers: the same text, again and again. Two
of them are in the fast set, the others are `slow`; see `tests/servers.py`. What of the fast set is
in `make check`, too, is said here and by the marks `dear` and `sampled`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import fakeredis
import pytest
from hypothesis import HealthCheck, settings

from parallax.broker.link.connection import Link
from parallax.broker.server.embedded import EmbeddedServer
from parallax.core.build import compiled
from tests.asynchronous import LinkOverAsync
from tests.cluster import LocalCluster
from tests.examples import examples
from tests.servers import EMBEDDED, REAL, Running

#: Tests with these marks are not in `make check`.
LEFT_OUT = ("slow", "e2e", "dear")

#: On a loaded machine examples are drawn slowly, and no test asserts on time.
settings.register_profile(
    "share",
    max_examples=examples(100),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("share")


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say of tests and cases what their marks, places and numbers make of them."""
    for item in items:
        if _is_slow_there(item):
            item.add_marker("slow")
        elif "contract" in item.path.parts and _place(item) not in ("", "fakeredis"):
            item.add_marker("dear")  # `make check` has each of them over fakeredis
        _skip_compiled(item)
    for item in _left_out(items):
        item.add_marker("dear")


def _skip_compiled(item: pytest.Item) -> None:
    """Skip what only sources can do, where the hot modules are compiled."""
    marker = item.get_closest_marker("interpreted")
    if marker is not None and compiled():
        item.add_marker(pytest.mark.skip(reason=f"compiled: {marker.args[0]}"))


def _is_slow_there(item: pytest.Item) -> bool:
    """Whether a test is slow over fakeredis, as every test of whole services is.

    fakeredis runs scripts in Python. The fast tests of the contract show that it answers as the
    servers do; what services make of the answers is the same over both.
    """
    return "[fakeredis" in item.name and (
        item.get_closest_marker("slow_on_fakeredis") is not None or "integration" in item.path.parts
    )


def _place(item: pytest.Item) -> str:
    """Return what the fixture `connect` opens links to; '' where a test does not use it."""
    callspec = getattr(item, "callspec", None)
    return str(callspec.params.get("connect", "")) if callspec else ""


def _left_out(items: list[pytest.Item]) -> list[pytest.Item]:
    """Return the cases of `sampled` tests that are not among the sample, which is spread evenly."""
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("sampled") and not any(map(item.get_closest_marker, LEFT_OUT)):
            cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    left_out = []
    for of_one in cases.values():
        marker = of_one[0].get_closest_marker("sampled")
        wanted = marker.args[0] if marker else 0
        sample = {n * len(of_one) // wanted for n in range(wanted)}
        left_out += [item for n, item in enumerate(of_one) if n not in sample]
    return left_out


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
