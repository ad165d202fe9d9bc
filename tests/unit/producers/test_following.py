"""Many who follow jobs over one connection: each is told its own, at once, and nobody is left."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from parallax.broker.store.results import Notice
from parallax.core.errors import Unreachable
from parallax.producers.client.following import SLICE_MS, Follower, Told
from tests.waiting import wait_until

NEWS: Mapping[str, Told] = {
    name: (f"{name}-7", [Notice(name, "first", b"")]) for name in ("a", "b", "c")
}


def test_one_who_is_alone_is_told_at_once() -> None:
    asked: list[tuple[dict[str, str], int]] = []

    def read(cursors: Mapping[str, str], block_ms: int) -> Mapping[str, Told]:
        asked.append((dict(cursors), block_ms))
        return {"a": NEWS["a"]}

    follower = Follower(read)
    assert follower.follow("a", "5-0", 1_000) == NEWS["a"]
    assert asked == [({"a": "5-0"}, SLICE_MS)]


@pytest.mark.parametrize("block_ms", [0, 5, 50])
def test_without_news_the_cursor_stays(block_ms: int) -> None:
    asked = list[int]()

    def read(_: Mapping[str, str], block_ms: int) -> Mapping[str, Told]:
        asked.append(block_ms)
        return {}

    assert Follower(read).follow("a", "5-0", block_ms) == ("5-0", [])
    assert asked[0] == min(block_ms, SLICE_MS)
    assert sum(asked) == block_ms


def test_whoever_reads_reads_for_those_who_wait() -> None:
    """The first asks for itself; in its second question there are all who came meanwhile."""
    entered, go, questions = threading.Event(), threading.Event(), list[dict[str, str]]()

    def read(cursors: Mapping[str, str], _: int) -> Mapping[str, Told]:
        questions.append(dict(cursors))
        if len(questions) == 1:
            entered.set()
            assert go.wait(30)
            return {}
        return {name: NEWS[name] for name in cursors}

    follower = Follower(read)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(follower.follow, "a", "", 60_000)
        assert entered.wait(30)
        others = {name: pool.submit(follower.follow, name, "", 60_000) for name in ("b", "c")}
        wait_until(lambda: len(follower._waits) == 3, "all of them to wait")
        go.set()
        assert first.result(30) == NEWS["a"]
        assert {name: one.result(30) for name, one in others.items()} == {
            "b": NEWS["b"], "c": NEWS["c"],
        }  # fmt: skip
    assert questions == [{"a": ""}, {"a": "", "b": "", "c": ""}]
    assert follower._waits == []


def test_two_who_follow_one_job_from_different_places_are_each_told_their_own() -> None:
    def read(cursors: Mapping[str, str], _: int) -> Mapping[str, Told]:
        return {"a": (f"after {cursors['a']}", [Notice("a", "first", b"")])}

    follower = Follower(read)
    with ThreadPoolExecutor(2) as pool:
        told = [pool.submit(follower.follow, "a", at, 60_000) for at in ("1-0", "2-0")]
        assert [one.result(30)[0] for one in told] == ["after 1-0", "after 2-0"]


def test_who_waits_for_a_reader_that_fails_reads_next() -> None:
    entered, go = threading.Event(), threading.Event()
    answers: list[Exception | None] = [Unreachable("gone")]

    def read(cursors: Mapping[str, str], _: int) -> Mapping[str, Told]:
        entered.set()
        assert go.wait(30)
        if answers:
            raise answers.pop() or AssertionError
        return {name: NEWS[name] for name in cursors}

    follower = Follower(read)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(follower.follow, "a", "", 60_000)
        assert entered.wait(30)
        second = pool.submit(follower.follow, "b", "", 60_000)
        go.set()
        with pytest.raises(Unreachable):
            first.result(30)
        assert second.result(30) == NEWS["b"]
    assert follower._waits == []
