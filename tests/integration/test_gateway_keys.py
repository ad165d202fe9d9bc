"""API keys at a gateway: who may ask, for whom, and which models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.keyring import ADMIN, SPEAK, Keyring, new_key
from parallax.broker.store.keys import Keys
from parallax.core.errors import InvalidInput
from parallax.producers.gateway.doorkeeper import GUARDED
from parallax.services.clock import SystemClock
from tests.integration.gateways import (
    CELL,
    CHAT,
    Front,
    a_cell,
    echoing,
    fronted,
    problem,
)
from tests.waiting import wait_until

pytestmark = pytest.mark.dear

CHATS = "/v1/chat/completions"


@pytest.fixture
def ring(embedded_url: str) -> Iterator[Keyring]:
    link = Link.to(embedded_url)
    yield Keyring(link, Keys(CELL))
    link.close()


def made(ring: Keyring, tenant: str, **what: Any) -> str:
    """Store a new key and return it."""
    token, key = new_key(tenant, what.pop("now", SystemClock().now()), **what)
    ring.put({token.split("-")[1]: key})
    return token


def asked(front: Front, token: str, **headers: str) -> Any:
    return front.post(CHATS, CHAT, authorization=f"Bearer {token}".strip(), **headers)


def test_only_a_good_key_is_heard(embedded_url: str, ring: Keyring) -> None:
    good = made(ring, "acme")
    expired = made(ring, "acme", now=1_000.0, life_s=10.0)
    forged = good[:-1] + ("A" if good[-1] != "A" else "B")
    with fronted(embedded_url, a_cell(embedded_url, echoing()), openness=GUARDED) as front:
        for bad in "", "x", expired, forged, f"{good}x":
            answer = asked(front, bad)
            assert problem(answer) == (401, "invalid_api_key", None)
            assert answer.headers["www-authenticate"] == "Bearer"
            assert not bad or bad not in answer.text
        assert front.asking.get("/v1/models").status_code == 401
        assert front.asking.get("/health").status_code == 200
        answer = asked(front, good)
        assert answer.status_code == 200
        record = front.cell.record(answer.headers["x-parallax-job"])
        assert record is not None
        assert record.tenant == "acme"
        assert front.post(CHATS, CHAT, x_api_key=good).status_code == 200


def test_a_key_speaks_for_its_tenant_unless_it_may_for_others(
    embedded_url: str, ring: Keyring
) -> None:
    own, any_ = made(ring, "acme"), made(ring, "front", scopes=(SPEAK, "ask"))
    with fronted(embedded_url, a_cell(embedded_url, echoing())) as front:
        assert problem(asked(front, own, x_parallax_tenant="bob")) == (403, "not_allowed", "tenant")
        assert asked(front, own, x_parallax_tenant="acme").status_code == 200
        answer = asked(front, any_, x_parallax_tenant="bob")
        record = front.cell.record(answer.headers["x-parallax-job"])
        assert record is not None
        assert record.tenant == "bob"
        body = {**CHAT, "user": "somebody"}
        answer = front.post(CHATS, body, authorization=f"Bearer {own}")
        record = front.cell.record(answer.headers["x-parallax-job"])
        assert record is not None
        assert record.tenant == "acme"


def test_a_key_may_name_its_models(embedded_url: str, ring: Keyring) -> None:
    one, other = made(ring, "acme", models=("echo",)), made(ring, "acme", models=("gpt",))
    with fronted(embedded_url, a_cell(embedded_url, echoing())) as front:
        assert asked(front, one).status_code == 200
        assert problem(asked(front, other)) == (403, "not_allowed", "model")
        listed = front.asking.get("/v1/models", headers={"authorization": f"Bearer {other}"})
        assert listed.json()["data"] == []


def test_a_key_that_names_models_cannot_be_got_round_with_a_second_one(
    embedded_url: str, ring: Keyring
) -> None:
    token = made(ring, "acme", models=("echo",))
    with fronted(embedded_url, a_cell(embedded_url, echoing())) as front:
        body = json.dumps(CHAT)
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        for second in '"model"', '"mod\\u0065l"':
            twice = f'{{{second}: "secret", {body[1:]}'
            answer = front.asking.post(CHATS, content=twice.encode(), headers=headers)
            assert problem(answer) == (400, "invalid_json", None)
        digits = {**CHAT, "seed": 7}
        long = json.dumps(digits).replace("7", "7" * 5_000).encode()
        assert problem(front.asking.post(CHATS, content=long, headers=headers))[0] == 400


def test_scopes(embedded_url: str, ring: Keyring) -> None:
    user, admin, silent = (
        made(ring, "a"), made(ring, "a", scopes=(ADMIN,)), made(ring, "a", scopes=(SPEAK,)),
    )  # fmt: skip
    with fronted(embedded_url, a_cell(embedded_url, echoing())) as front:

        def metrics(token: str) -> int:
            headers = {"authorization": f"Bearer {token}"}
            return front.asking.get("/metrics", headers=headers).status_code

        assert (metrics(user), metrics(admin)) == (403, 200)
        assert problem(asked(front, silent)) == (403, "not_allowed", None)


def test_the_first_key_closes_an_open_gateway_and_a_revoked_one_opens_nothing(
    embedded_url: str, ring: Keyring
) -> None:
    with fronted(embedded_url, a_cell(embedded_url, echoing())) as front:
        assert front.chat().status_code == 200
        kept, token = made(ring, "acme"), made(ring, "acme")
        wait_until(lambda: front.chat().status_code == 401, "the gateway to be closed")
        assert asked(front, token).status_code == 200
        assert ring.revoke(token.split("-")[1])
        wait_until(lambda: asked(front, token).status_code == 401, "the key to be no good")
        assert asked(front, kept).status_code == 200


def test_where_others_can_ask_it_is_never_open(embedded_url: str) -> None:
    with fronted(embedded_url, a_cell(embedded_url, echoing()), openness=GUARDED) as front:
        assert problem(front.chat()) == (401, "invalid_api_key", None)


def test_no_secret_is_stored_and_what_cannot_be_understood_lets_nobody_in(
    embedded_url: str, ring: Keyring
) -> None:
    token = made(ring, "acme")
    link = Link.to(embedded_url)
    stored = b"".join(link.call("HGETALL", Keys(CELL).keyring))
    assert token.encode() not in stored
    assert token.rpartition("-")[2].encode() not in stored
    ring.revoke(token.split("-")[1])
    link.call("HSET", Keys(CELL).keyring, token.split("-")[1], b"{}")
    assert (ring.known(), ring.any()) == ({}, True)
    with fronted(embedded_url, a_cell(embedded_url, echoing())) as front:
        assert problem(front.chat())[0] == problem(asked(front, token))[0] == 401
    link.close()


@pytest.mark.parametrize(
    "what",
    [{"tenant": "a b"}, {"scopes": ("fly",)}, {"scopes": ()}, {"models": ("",)}, {"life_s": 0.0}],
    ids=str,
)
def test_bad_keys_are_not_made(what: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        new_key(**{"tenant": "acme", "now": 1.0, **what})
