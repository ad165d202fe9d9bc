"""What a gateway looks up at the same time: each look is told what it asked, and nothing else."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.keyring import Keyring, id_of, new_key
from parallax.broker.store.keys import Keys
from parallax.producers.gateway.looking import Looking

KEYS = Keys("cell")
TIMES = 150


@contextmanager
def hasty() -> Iterator[None]:
    """Let threads take turns as often as they can."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


def confused(looks: list[Callable[[], Any]]) -> list[object]:
    """Look in as many threads at once; return what was another answer than the first, or failed."""
    due = [look() for look in looks]
    wrong: list[object] = []

    def again(look: Callable[[], Any], answer: object) -> None:
        for _ in range(TIMES):
            try:
                found = look()
            except Exception as error:  # noqa: BLE001 - whatever a foreign answer leads to
                wrong.append(error)
                return
            if found != answer:
                wrong.append(found)

    threads = [threading.Thread(target=again, args=pair) for pair in zip(looks, due, strict=True)]
    with hasty():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    return wrong


@pytest.fixture
def looking(embedded_url: str) -> Iterator[Looking]:
    link = Link.to(embedded_url)
    token, key = new_key("acme", 1_000.0)
    Keyring(link, KEYS).put({id_of(token) or "": key})
    link.call("HSET", KEYS.counts, "completed", 7)
    made = Looking(link, KEYS)
    yield made
    made.close()


def test_looks_at_the_same_time_do_not_hear_each_others_answers(looking: Looking) -> None:
    assert not confused([looking.known_keys, looking.totals, looking.routing, looking.members])


def test_on_one_connection_they_would(looking: Looking) -> None:
    looking.totals_link = looking.keys_link
    assert confused([looking.known_keys, looking.totals])
