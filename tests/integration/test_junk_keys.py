"""Whatever lies at any key of a cell, of whatever type: jobs of others end, and nothing stops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from threading import Event
from typing import Any, ClassVar

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import kind_of
from parallax.core.lifecycle import Outcome
from parallax.services import service
from tests.integration.cells import QUICK, Cell, StuckEngine, job, jobs

JUNK = b"\xff\xfe\x00\x1b[2J"
#: A cell's keys that are there once only, and those of its tenants, workers and jobs.
FIXED = (
    "active", "bell", "events", "workers", "tenants", "suspects", "epoch", "ledger", "open",
    "policy", "memory", "record", "dead", "counts", "leader", "drained",
)  # fmt: skip
OF_WORKERS = ("work:", "ctl:", "hb:", "stat:")
WRITES: dict[str, Callable[[Link, str], Any]] = {
    "string": lambda link, key: link.call("SET", key, JUNK),
    "hash": lambda link, key: link.call("HSET", key, JUNK, JUNK, b"a b", b""),
    "set": lambda link, key: link.call("SADD", key, JUNK, b"a b", b""),
    "zset": lambda link, key: link.call("ZADD", key, 1, JUNK, 2, b"a b"),
    "stream": lambda link, key: link.call("XADD", key, "*", JUNK, JUNK),
}
OTHERS = {"string": "hash", "hash": "string", "set": "stream", "zset": "set", "stream": "zset"}


@pytest.fixture
def cell(server_url: str) -> Cell:
    cell = Cell(lambda: Link.to(server_url))
    cell.scheduler(replace(QUICK, repair_grace_s=0.5))
    cell.worker()
    cell.submit(*jobs(6))
    cell.until_ended("j0", "j5")
    return cell


def others_end(cell: Cell, *left: str) -> None:
    """More jobs of several tenants end, and in the end nothing is open but these."""
    more = [job(f"later{n}", "abc"[n % 3]) for n in range(6)]
    cell.submit(*more)
    cell.until_ended(*(j.id for j in more))
    assert {cell.outcome(j.id) for j in more} == {Outcome.COMPLETED}
    cell.until(
        lambda: (
            {name.decode() for name in cell.link.call("ZRANGE", cell.keys.open, 0, -1)} == set(left)
        ),
        "all that is open to end",
    )


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", FIXED)
def test_a_key_of_a_wrong_type_is_set_aside_and_stops_nobody(cell: Cell, name: str) -> None:
    key = cell.keys.prefix + name
    kind = kind_of(key)
    assert kind is not None
    cell.link.call("DEL", key)
    WRITES[OTHERS[kind]](cell.link, key)
    others_end(cell)
    assert cell.link.call("TYPE", key).decode() in {kind, "none", OTHERS[kind]}
    if name not in {"epoch", "record", "suspects", "memory", "dead"}:  # nobody looks there now
        assert cell.link.call("TYPE", key).decode() in {kind, "none"}
        assert cell.counts()["malformed"] >= 1


@pytest.mark.parametrize("name", OF_WORKERS)
def test_a_wrong_type_at_a_workers_key_stops_nobody_else(cell: Cell, name: str) -> None:
    cell.worker()
    key = cell.keys.prefix + name + cell.workers[0].id
    kind = kind_of(key)
    assert kind is not None
    cell.link.call("DEL", key)
    WRITES[OTHERS[kind]](cell.link, key)
    others_end(cell)
    cell.until(lambda: cell.link.call("TYPE", key).decode() in {kind, "none"}, "the key to heal")


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", FIXED)
def test_junk_in_a_key_of_the_right_type_stops_nobody(cell: Cell, name: str) -> None:
    key = cell.keys.prefix + name
    kind = kind_of(key)
    assert kind is not None
    if kind == "string":
        cell.link.call("DEL", key)
    WRITES[kind](cell.link, key)
    for scheduler in cell.schedulers:  # whoever takes over reads all of it
        scheduler.close()
    cell.schedulers.clear()
    cell.link.call("PEXPIRE", cell.keys.leader, 1)
    cell.scheduler(replace(QUICK, repair_grace_s=0.5))
    others_end(cell)


def test_junk_among_the_names_is_counted_and_taken_out(cell: Cell) -> None:
    for key in (cell.keys.active, cell.keys.open, cell.keys.workers):
        WRITES[kind_of(key) or ""](cell.link, key)
    cell.schedulers[0].close()
    cell.until(lambda: cell.counts().get("malformed", 0) >= 7, "all of it to be set aside")
    assert cell.link.call("HKEYS", cell.keys.workers) == [cell.workers[0].id.encode()]
    assert cell.link.call("SISMEMBER", cell.keys.active, JUNK) == 0
    assert cell.link.call("ZCARD", cell.keys.open) == 0
    assert {letter["why"] for letter in cell.dead_letters()} == {"cannot be understood"}


def test_a_worker_whose_registration_was_overwritten_registers_again(cell: Cell) -> None:
    name = cell.workers[0].id
    cell.link.call("HSET", cell.keys.workers, name, JUNK)
    others_end(cell)
    cell.until(
        lambda: (cell.link.call("HGET", cell.keys.workers, name) or b"").startswith(b'{"v":'),
        "the worker to register again",
    )


@pytest.mark.sampled(3)
@pytest.mark.parametrize("stage", ["queued", "running"])
@pytest.mark.parametrize("value", [JUNK, b"garbage", b"queued queue/0/banana"])
@pytest.mark.parametrize("name", ["at", "about", "deadline", "limit", "hedge", "prefilled"])
def test_one_junk_field_of_one_record_stops_nobody(
    server_url: str, name: str, value: bytes, stage: str
) -> None:
    cell = Cell(lambda: Link.to(server_url))
    cell.scheduler(replace(QUICK, repair_grace_s=0.5))
    engine = StuckEngine(100)
    if stage == "running":
        cell.worker(engine)
    cell.submit(*jobs(3), job("bad", "a"))
    if stage == "running":
        cell.until(lambda: cell.state("bad") == "running", "it to run")
    cell.link.call("HSET", cell.keys.job("bad"), name, value)
    engine.stuck = False
    if stage == "queued":
        cell.worker()
    others_end(cell)
    assert cell.outcome("j0") is Outcome.COMPLETED
    harmless = {"deadline", "limit", "hedge", "prefilled"}
    if name in harmless:
        assert cell.outcome("bad") is Outcome.COMPLETED
    else:  # it has one end, and if it is not its own there is a dead letter
        counts = cell.counts()
        assert counts["completed"] + counts.get("dead", 0) == 10
        assert len({letter.get("job") for letter in cell.dead_letters()} & {"bad"}) == counts.get(
            "dead", 0
        )


@pytest.mark.sampled(2)
@pytest.mark.parametrize("stage", ["queued", "running"])
@pytest.mark.parametrize("kind", ["string", "stream", "set"])
def test_a_record_of_a_wrong_type_stops_nobody(server_url: str, kind: str, stage: str) -> None:
    cell = Cell(lambda: Link.to(server_url))
    cell.scheduler(replace(QUICK, repair_grace_s=0.5))
    engine = StuckEngine(100)
    if stage == "running":
        cell.worker(engine)
    cell.submit(*jobs(3), job("bad", "a"))
    if stage == "running":
        cell.until(lambda: cell.state("bad") == "running", "it to run")
    cell.link.call("DEL", cell.keys.job("bad"))
    WRITES[kind](cell.link, cell.keys.job("bad"))
    engine.stuck = False
    if stage == "queued":
        cell.worker()
    others_end(cell)
    assert cell.link.call("EXISTS", cell.keys.job("bad")) == 0
    assert cell.keys.job("bad") in {letter.get("stream") for letter in cell.dead_letters()}


def test_no_loop_ends_by_an_exception_that_nobody_foresaw(cell: Cell) -> None:
    (scheduler,), said = cell.schedulers, ["once", "twice"]
    turn = scheduler.run_once

    class Odd:
        """A duty that fails in a new way, twice."""

        turns = 0
        recovered: ClassVar[list[Exception]] = []

        def run_once(self) -> None:
            Odd.turns += 1
            if said:
                raise RecursionError(said.pop())
            turn()

        def recover(self, error: Exception) -> None:
            Odd.recovered.append(error)
            raise KeyError("recovering fails, too")

        def close(self) -> None:
            pass

    class Stop(Event):
        def is_set(self) -> bool:
            return Odd.turns >= 4

    service.run(Odd(), Stop(), Random(1))
    assert [type(error) for error in Odd.recovered] == [RecursionError, RecursionError]
