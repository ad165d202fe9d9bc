"""Keys that may ask for so much a minute: at all gateways together, and what answers tell of it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.keyring import Keyring, new_key
from parallax.broker.store.keys import Keys
from parallax.broker.store.rates import Rates, Spending, spend_call
from parallax.producers.gateway.doorkeeper import GUARDED
from parallax.services.clock import SystemClock
from tests.integration.gateways import (
    CELL,
    CHAT,
    Front,
    a_cell,
    chunks_of,
    echoing,
    fronted,
    problem,
)

pytestmark = pytest.mark.dear
CHATS = "/v1/chat/completions"


@pytest.fixture
def link(embedded_url: str) -> Iterator[Link]:
    link = Link.to(embedded_url)
    yield link
    link.close()


@pytest.fixture
def front(embedded_url: str) -> Iterator[Front]:
    with fronted(embedded_url, a_cell(embedded_url, echoing()), None, GUARDED) as front:
        yield front


def made(link: Link, requests: int = 0, tokens: int = 0) -> dict[str, str]:
    """Make a key; return the header that has it."""
    token, key = new_key("acme", SystemClock().now(), rates=Rates(requests, tokens))
    Keyring(link, Keys(CELL)).put({token.split("-")[1]: key})
    return {"authorization": f"Bearer {token}"}


def asked(front: Front, key: dict[str, str], **fields: object) -> httpx.Response:
    return front.asking.post(CHATS, json={**CHAT, **fields}, headers=key)


def test_requests_are_counted_at_all_gateways_together(
    embedded_url: str, front: Front, link: Link
) -> None:
    key, unlimited = made(link, requests=2), made(link)
    first = asked(front, key)
    assert first.status_code == 200
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    assert "x-ratelimit-limit-tokens" not in first.headers
    cell = a_cell(embedded_url)
    with fronted(embedded_url, cell, None, GUARDED) as other:
        second = asked(other, key, stream=True)
        assert chunks_of(second.text)
        assert second.headers["x-ratelimit-remaining-requests"] == "0"
        third = asked(other, key)
    assert problem(third) == (429, "rate_limited", None)
    assert 1 <= int(third.headers["retry-after"]) <= 30
    assert third.headers["x-ratelimit-reset-requests"].endswith("s")
    assert asked(front, unlimited).status_code == 200  # the control


def test_tokens_are_spent_by_estimate_and_given_back(front: Front, link: Link) -> None:
    key = made(link, tokens=1_000)
    answer = asked(front, key, max_tokens=500)
    for _ in range(7):  # each might take more than 500 tokens, and takes few
        answer = asked(front, key, max_tokens=500)
        if answer.status_code == 429:
            break
    assert answer.headers["x-ratelimit-limit-tokens"] == "1000"
    large = asked(front, key, max_tokens=2_000)
    assert problem(large) == (429, "larger_than_burst", None)
    assert large.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("spent", [0, -40])
def test_what_is_given_back_can_be_spent_again(link: Link, spent: int) -> None:
    def spend(tokens: int, requests: int = 0) -> bool:
        one = Spending("k", Rates(0, 100), requests, tokens)
        (left,) = link.do(spend_call(Keys(CELL), [one]))
        return left.allowed

    assert spend(100)
    assert not spend(30)
    spend(spent)
    assert spend(30) is bool(spent)
