"""A scheduler does not work with a server that may throw its jobs away."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.server.eviction import refuse_eviction
from parallax.broker.store.keys import Keys
from parallax.core.errors import InvalidSettings


@pytest.fixture
def link(server_url: str) -> Iterator[Link]:
    link = Link.to(server_url)
    yield link
    link.call("CONFIG", "SET", "maxmemory-policy", "noeviction")
    link.close()


def test_a_server_that_keeps_its_keys_is_taken(server_url: str) -> None:
    refuse_eviction(Link.to(server_url), Keys())


def test_a_server_that_evicts_is_refused(link: Link, server_url: str) -> None:
    link.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    with pytest.raises(InvalidSettings, match="noeviction"):
        refuse_eviction(Link.to(server_url), Keys())


def test_a_user_who_may_not_ask_gets_a_warning(
    link: Link, server_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    link.call("ACL", "SETUSER", "narrow", "reset", "on", ">pw", "~*", "+@all", "-config")
    address = server_url.rpartition("@")[2]
    scheme = server_url.partition("://")[0]
    try:
        refuse_eviction(Link.to(f"{scheme}://narrow:pw@{address}"), Keys())
    finally:
        link.call("ACL", "DELUSER", "narrow")
    assert "cannot tell" in caplog.text
