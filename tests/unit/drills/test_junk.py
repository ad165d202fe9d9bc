"""Junk goes to every key that `Keys` names, and every key in the store is held against a rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.drills import junk
from parallax.drills.leftovers import left_over, unexplained

KEYS = Keys("drill")


class MoreKeys(Keys):
    """As if a later version had two more keys."""

    __slots__ = ("hints",)

    def __init__(self, cell: str) -> None:
        super().__init__(cell)
        self.hints = self.prefix + "hints"

    def usage(self, day: str) -> str:
        """A key for each day."""
        return f"{self.prefix}usage:{day}"


def test_every_key_of_a_cell_is_known_by_what_makes_it() -> None:
    named = {
        "active", "bell", "events", "workers", "tenants", "suspects", "leader", "epoch", "ledger",
        "open", "policy", "memory", "record", "recording", "dead", "counts",
    }  # fmt: skip
    assert named <= junk.single_keys(KEYS).keys()
    streams = {"in:", "work:", "job:", "body:", "out:", "ctl:", "hb:", "stat:"}
    assert streams <= junk.families(KEYS).keys()


def test_a_new_key_is_found_by_itself() -> None:
    more = MoreKeys("drill")
    assert "hints" in junk.single_keys(more)
    assert junk.families(more)["usage:"]("today") == "plx:{drill}:usage:today"


@pytest.mark.dear
def test_all_of_them_get_some(connect: Callable[[], Link]) -> None:
    link, random, written = connect(), Random(1), Counter[str]()
    for _ in range(600):
        written[junk.write(_silent(link), KEYS, random)] += 1
    assert written.keys() == junk.single_keys(KEYS).keys() | junk.families(KEYS).keys()


@pytest.mark.dear
def test_nothing_true_is_overwritten(connect: Callable[[], Link]) -> None:
    link, random = connect(), Random(2)
    link.call("HSET", KEYS.job("j1"), "at", "queued queue/0/1-1", "about", "x")
    link.call("ZADD", KEYS.open, "5", "j1")
    link.call("SET", KEYS.body("j1"), "the body")
    entry = link.call("XADD", KEYS.arrivals("t0"), "*", "j", "a job")
    for _ in range(400):
        junk.write(_silent(link), KEYS, random)
    assert link.call("HMGET", KEYS.job("j1"), "at", "about") == [b"queued queue/0/1-1", b"x"]
    assert float(link.call("ZSCORE", KEYS.open, "j1")) == 5.0
    assert link.call("GET", KEYS.body("j1")) == b"the body"
    assert link.call("XRANGE", KEYS.arrivals("t0"), entry, entry)[0][1] == [b"j", b"a job"]


def test_a_spoiled_record_is_another_one(connect: Callable[[], Link]) -> None:
    link, random = connect(), Random(3)
    for n in range(20):
        key = KEYS.job(f"j{n}")
        link.call("HSET", key, "at", "queued queue/0/1-1", "about", "x")
        junk.spoil(_silent(link), KEYS, f"j{n}", random)
        changed = link.call("TYPE", key) != b"hash" or link.call("HLEN", key) > 2
        assert changed or link.call("HMGET", key, "at", "about") != [b"queued queue/0/1-1", b"x"]


def _silent(link: Link) -> junk.Send:
    def send(*command: Any) -> Any:
        return link.call(*command)

    return send


# -- what is left ---------------------------------------------------------------------------------


def test_a_cell_in_good_order_leaves_nothing(connect: Callable[[], Link]) -> None:
    link = connect()
    link.call("HSET", KEYS.workers, "w1", "{}")
    link.call("HSET", KEYS.counts, "accepted", "1")
    link.call("SET", KEYS.leader, "s|1", "PX", 1000)
    link.call("HSET", KEYS.job("j1"), "at", "completed")
    link.call("PEXPIRE", KEYS.job("j1"), 60_000)
    link.call("SET", KEYS.body("j1"), "kept for a while", "PX", 60_000)
    empty = link.call("XADD", KEYS.work("w1"), "*", "j", "x")
    link.call("XDEL", KEYS.work("w1"), empty)
    assert left_over(link, KEYS) == {}
    assert unexplained(link, KEYS) == {}


@pytest.mark.parametrize(
    ("command", "key", "wrong"),
    [
        (("XADD", KEYS.arrivals("t0"), "*", "j", "x"), KEYS.arrivals("t0"), "1 entries"),
        (("XADD", KEYS.work("w1"), "*", "j", "x"), KEYS.work("w1"), "1 entries"),
        (("SET", KEYS.body("j1"), "x"), KEYS.body("j1"), "a body that nobody needs"),
        (("HSET", KEYS.job("j1"), "at", "x"), KEYS.job("j1"), "it would stay for ever"),
        (("XADD", KEYS.out("j1"), "*", "j", "x"), KEYS.out("j1"), "it would stay for ever"),
        (("HSET", KEYS.status("w1"), "a", "x"), KEYS.status("w1"), "it would stay for ever"),
        (("HSET", KEYS.arrivals("t0"), "a", "x"), KEYS.arrivals("t0"), "it would stay for ever"),
        (("SET", KEYS.leader, "x"), KEYS.leader, "it would hold for ever"),
    ],
)
def test_what_should_be_gone_is_seen(
    connect: Callable[[], Link], command: tuple[str, ...], key: str, wrong: str
) -> None:
    link = connect()
    link.call(*command)
    assert left_over(link, KEYS) == {key: wrong}
    assert unexplained(link, KEYS) == {}


def test_the_stream_of_a_worker_that_is_gone_is_seen(connect: Callable[[], Link]) -> None:
    link = connect()
    entry = link.call("XADD", KEYS.work("w9"), "*", "j", "x")
    link.call("XDEL", KEYS.work("w9"), entry)
    assert left_over(link, KEYS) == {KEYS.work("w9"): "the stream of a worker that is gone"}


@pytest.mark.parametrize("key", ["plx:{drill}:odd", "plx:{drill}:odd:j1", "other", "plx:{x}:open"])
def test_a_key_that_nobody_names_is_seen_even_if_it_will_go(server_url: str, key: str) -> None:
    link = Link.to(server_url)
    link.call("SET", key, "x", "PX", 60_000)
    assert unexplained(link, KEYS) == {key: "no rule explains it"}
    assert left_over(link, KEYS) == {}
    link.close()
