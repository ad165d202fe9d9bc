"""Workers in front of servers: answers, crashes, cancels and waits, over a real store."""

from __future__ import annotations

import json

import pytest

from parallax.core.lifecycle import Outcome, State
from tests.integration.cells import Cell
from tests.integration.upstreams import ask, members, played, said, told
from tests.upstream import WORDS, Upstream, cut, stall, status
from tests.waiting import wait_until

TEXT = "".join(WORDS)


def served(cell: Cell) -> object:
    return members(cell)[0].registration.about["models"]


def test_answers_come_streamed_and_whole_and_are_paid_by_the_servers_count(
    embedded_url: str,
) -> None:
    def scene(cell: Cell) -> None:
        ask(cell, "s", stream=True)
        ask(cell, "w")
        cell.until_ended("s", "w")
        assert said(cell, "s") == TEXT
        (answer,) = [n.data for n in told(cell, "w") if n.word == "answer"]
        assert json.loads(answer)["choices"][0]["message"]["content"] == TEXT
        for name in "sw":
            record = cell.record(name)
            assert record is not None
            report = record.report
            assert record.state is State.COMPLETED
            assert (report.prompt_tokens, report.output_tokens, report.cached_tokens) == (7, 4, 3)

    with Upstream() as server:
        (worker,) = played(embedded_url, [server.url], scene)
    assert worker.completed == 2


def test_a_server_that_dies_in_the_middle_breaks_the_stream(embedded_url: str) -> None:
    def scene(cell: Cell) -> None:
        ask(cell, "j", stream=True)
        cell.until(lambda: said(cell, "j"), "some of the answer")
        server.down()
        cell.until_ended("j")
        record = cell.record("j")
        assert record is not None
        assert (record.outcome, record.report.reason) == (Outcome.FAILED, "stream_broken")

    with Upstream(otherwise=stall(2)) as server:
        played(embedded_url, [server.url], scene)


@pytest.mark.dear
def test_what_breaks_before_the_first_token_is_answered_elsewhere(embedded_url: str) -> None:
    names = [f"j{n}" for n in range(8)]

    def scene(cell: Cell) -> None:
        ask(cell, *names, stream=True)
        cell.until_ended(*names)
        assert [said(cell, name) for name in names] == [TEXT] * 8
        assert [cell.state(name) for name in names] == [State.COMPLETED] * 8

    with Upstream(otherwise=cut(0)) as bad, Upstream() as good:
        worse, better = played(embedded_url, [bad.url, good.url], scene)
        assert bad.calls
    assert (worse.completed, better.completed) == (0, 8)


@pytest.mark.dear
def test_a_busy_server_costs_time_and_no_job(embedded_url: str) -> None:
    names = [f"j{n}" for n in range(6)]

    def scene(cell: Cell) -> None:
        ask(cell, *names)
        cell.until_ended(*names)
        assert [cell.state(name) for name in names] == [State.COMPLETED] * 6

    with Upstream() as server:
        server.script.extend([status(429), status(503)] * 3)
        played(embedded_url, [server.url], scene)


@pytest.mark.dear
def test_who_cancels_closes_the_connection_of_the_server(embedded_url: str) -> None:
    def scene(cell: Cell) -> None:
        ask(cell, "j", stream=True)
        cell.until(lambda: said(cell, "j"), "some of the answer")
        assert cell.cancel("j") == "ok"
        cell.until(lambda: server.left, "the connection to be closed")
        assert cell.outcome("j") is Outcome.CANCELLED

    with Upstream(otherwise=stall(2)) as server:
        played(embedded_url, [server.url], scene)


@pytest.mark.dear
def test_jobs_wait_for_a_server_that_is_gone_and_lose_no_attempt_by_it(embedded_url: str) -> None:
    names = [f"j{n}" for n in range(6)]

    def scene(cell: Cell) -> None:
        assert served(cell) == "tiny"
        server.down()
        ask(cell, *names)
        cell.until(lambda: members(cell)[0].report.get("unready"), "the worker to say it")
        assert not any(cell.outcome(name) for name in names)
        server.models = ("tiny", "other")
        server.up()
        cell.until_ended(*names)
        assert [cell.state(name) for name in names] == [State.COMPLETED] * 6
        cell.until(lambda: served(cell) == "tiny,other", "the worker to register anew")

    with Upstream() as server:
        played(embedded_url, [server.url], scene)


@pytest.mark.dear
def test_a_worker_may_come_before_its_server(embedded_url: str) -> None:
    def scene(cell: Cell) -> None:
        ask(cell, "j")
        cell.until(lambda: members(cell)[0].report.get("unready"), "the worker to say it")
        assert cell.outcome("j") is None
        server.up()
        cell.until_ended("j")
        assert cell.state("j") is State.COMPLETED

    with Upstream() as server:
        server.down()
        played(embedded_url, [server.url], scene)


@pytest.mark.dear
def test_a_model_that_is_not_served_is_a_clear_end(embedded_url: str) -> None:
    def scene(cell: Cell) -> None:
        ask(cell, "j", model="nope")
        cell.until_ended("j")
        record = cell.record("j")
        assert record is not None
        assert (record.outcome, record.attempts) == (Outcome.FAILED, 1)
        assert "'nope' is not allowed; it is not served here; served: tiny" in record.report.error

    with Upstream() as server:
        played(embedded_url, [server.url], scene)
        assert server.calls == []


@pytest.mark.dear
def test_a_worker_that_leaves_closes_its_connections(embedded_url: str) -> None:
    def scene(cell: Cell) -> None:
        ask(cell, "j", stream=True)
        cell.until(lambda: said(cell, "j"), "some of the answer")

    with Upstream(otherwise=stall(1)) as server:
        played(embedded_url, [server.url], scene)
        wait_until(lambda: server.left, "the connection to be closed")
