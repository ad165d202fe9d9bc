"""What servers, streams and URLs may do to us, and what becomes of it."""

from __future__ import annotations

import json

import pytest
from redis._parsers.base import BaseParser

from parallax.broker.link.connection import Link
from parallax.broker.link.errors import translated
from parallax.broker.store.attempts import decode_assignment
from parallax.broker.store.codec import decode_registration
from parallax.broker.store.dispatch import Entry
from parallax.core.errors import InvalidInput, Unreachable


@pytest.mark.dear
def test_a_link_can_reconnect_for_ever(server_url: str) -> None:
    link = Link.to(server_url)
    for _ in range(300):
        assert link.call("PING") == b"PONG"
        link.close()


@pytest.mark.parametrize(
    "text",
    [
        "READONLY You can't write against a read only replica.",
        "MASTERDOWN Link with MASTER is down",
        "CLUSTERDOWN The cluster is down",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "LOADING Redis is loading",
        "NOREPLICAS Not enough good replicas to write.",
    ],
)
def test_what_passes_is_unreachable_as_the_parser_gives_it(text: str) -> None:
    error = BaseParser.parse_error(text)  # type: ignore[no-untyped-call]
    assert isinstance(translated(error), Unreachable)


@pytest.mark.parametrize("attempt", ["²", "9" * 5_000])
def test_an_attempt_is_a_number(attempt: str) -> None:
    with pytest.raises(InvalidInput):
        decode_assignment(Entry("1-1", [b"j", f"j1 {attempt} 10.5 7".encode()]))


def test_a_refusal_is_one_short_line() -> None:
    with pytest.raises(InvalidInput) as caught:
        decode_registration(json.dumps({"v": 1, "slots": 1, "x\n" * 10_000: 1}).encode())
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 500
