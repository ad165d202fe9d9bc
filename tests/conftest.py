"""Fixtures shared by all tests: one embedded server per test process, emptied before each use."""

from __future__ import annotations

from collections.abc import Iterator

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
