"""Whatever is written into the streams: it is set aside with its reason, and nothing stops."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parallax.broker.link.connection import Link
from parallax.broker.link.dialogue import Dialogue
from parallax.core.errors import Unreachable
from parallax.core.lifecycle import Outcome
from tests.examples import examples
from tests.integration.cells import Cell, job, term_of

GOOD_SPEC = b'[1,"acme",10,20,"",0]'
ARRIVALS = [
    (b"wrong field", [b"x", b"y"], "one field, named j"),
    (b"two fields", [b"j", b"a", b"k", b"b"], "one field, named j"),
    (b"binary", [b"j", b"\xff\xfe\x00\x01"], "id, accepted"),
    (b"bad id", [b"j", b"{evil} 1 - 0 " + GOOD_SPEC], "letters, digits"),
    (b"not a number", [b"j", b"x NaN - 0 " + GOOD_SPEC], "whole number"),
    (b"negative", [b"j", b"x -5 - 0 " + GOOD_SPEC], "whole number"),
    (b"huge", [b"j", b"x 1 - " + b"9" * 400 + b" " + GOOD_SPEC], "whole number"),
    (b"not json", [b"j", b"x 1 - 0 [1,"], "valid JSON"),
    (b"wrong type", [b"j", b'x 1 - 0 [1,"acme","ten",20,"",0]'], "spec.prompt"),
    (b"missing", [b"j", b'x 1 - 0 [1,"acme"]'], "length"),
    (b"too much", [b"j", b'x 1 - 0 [1,"acme",10,20,"",0,[],16,7,"m",8]'], "length"),
    (b"version", [b"j", b'x 1 - 0 [2,"acme",10,20,"",0]'], "spec.v"),
    (b"foreign", [b"j", b'x 1 - 0 [1,"bob",10,20,"",0]'], "stream of acme"),
    (b"unknown job", [b"j", b"nobody 1 - 0 " + GOOD_SPEC], "orphan"),
    (b"long", [b"j", b"y" * 100_000], "id, accepted"),
]


@pytest.fixture
def cell(connect: Callable[[], Link]) -> Cell:
    cell = Cell(connect)
    cell.scheduler()
    cell.worker()
    return cell


def add(cell: Cell, stream: str, fields: list[bytes]) -> None:
    cell.link.call("XADD", stream, "*", *fields)


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("fields", "reason"), [row[1:] for row in ARRIVALS], ids=[row[0].decode() for row in ARRIVALS]
)
def test_a_malformed_arrival_is_set_aside_with_its_reason_and_harms_no_neighbour(
    cell: Cell, fields: list[bytes], reason: str
) -> None:
    cell.submit(job("before"))
    add(cell, cell.keys.arrivals("acme"), fields)
    cell.submit(job("after"))
    cell.until_ended("before", "after")
    cell.until(cell.dead_letters, "the dead letter")
    (letter,) = cell.dead_letters()
    assert reason in letter["why"]
    assert letter["stream"] == cell.keys.arrivals("acme")
    assert len(letter["sample"]) <= 600
    assert cell.link.call("XLEN", cell.keys.arrivals("acme")) == 0


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "fields", [[b"x", b"y"], [b"j", b"\xff"], [b"j", b"j1 one 1.0 1"], [b"j", b"j1 1 nan 1"]]
)
def test_a_malformed_assignment_is_set_aside(cell: Cell, fields: list[bytes]) -> None:
    add(cell, cell.keys.work(cell.workers[0].id), fields)
    cell.submit(job("good"))
    cell.until_ended("good")
    cell.until(cell.dead_letters, "the dead letter")
    assert cell.dead_letters()[0]["stream"] == cell.keys.work(cell.workers[0].id)


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "fields",
    [
        [b"j1", b"completed {}"],
        [b"j1", b"completed [NaN]"],
        [b"\xff", b"\xff"],
        [b"a b", b"x"],
        [b"j1", b'finished ["acme","w1",1,1000.0]'],
        [b"j1", b'completed ["","w1",1,1.0]'],
    ],
)
def test_a_malformed_event_is_set_aside(cell: Cell, fields: list[bytes]) -> None:
    cell.until(lambda: cell.schedulers[0].leading, "a leader")
    add(cell, cell.keys.events, fields)
    cell.submit(job("good"))
    cell.until_ended("good")
    cell.until(cell.dead_letters, "the dead letter")
    assert cell.dead_letters()[0]["stream"] == cell.keys.events


def test_junk_in_an_event_settles_nothing_and_takes_no_neighbour_with_it(cell: Cell) -> None:
    """An entry tells of many jobs: those beside the junk are told of all the same."""
    leader = cell.schedulers[0]
    cell.until(lambda: leader.leading, "a leader")
    term_of(leader)._timetable._due["poll"] = (
        inf  # at a poll, accounts that say nothing are forgotten
    )
    unknown = [b"j1", b'finished ["evil","w1",1,1000.0]']
    add(cell, cell.keys.events, [*unknown, b"j2", b'failed ["acme","w1",1,50.0]'])
    cell.until(cell.dead_letters, "the dead letter")
    assert "known: completed" in cell.dead_letters()[0]["why"]
    cell.until(lambda: cell.link.call("HEXISTS", cell.keys.ledger, "acme"), "the neighbour")
    assert not cell.link.call("HEXISTS", cell.keys.ledger, "evil")


def test_a_malformed_order_is_ignored(cell: Cell) -> None:
    add(cell, cell.keys.control(cell.workers[0].id), [b"\xff", b"\xff"])
    add(cell, cell.keys.control(cell.workers[0].id), [b"cancel", b"\xff"])
    cell.submit(job("good"))
    cell.until_ended("good")
    assert cell.outcome("good") is Outcome.COMPLETED


def test_registrations_and_weights_that_make_no_sense_are_ignored(cell: Cell) -> None:
    cell.link.call("HSET", cell.keys.workers, "ghost", "\xff{", "a b", "{}")
    cell.link.call("HSET", cell.keys.tenants, "acme", "nan", "bob", "-1", "{x}", "3")
    cell.link.call("HSET", cell.keys.ledger, "acme", "lots")
    cell.submit(job("good"))
    cell.until_ended("good")
    assert cell.outcome("good") is Outcome.COMPLETED


BYTES = st.binary(min_size=1, max_size=60)
FIELDS = st.integers(1, 3).flatmap(lambda n: st.lists(BYTES, min_size=2 * n, max_size=2 * n))
TARGETS = st.sampled_from(["arrivals", "events", "work", "control", "bell"])


@given(junk=st.lists(st.tuples(TARGETS, FIELDS), min_size=1, max_size=6))
@settings(
    max_examples=examples(25),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_arbitrary_bytes_in_any_stream_stop_nothing(
    cell: Cell, junk: list[tuple[str, list[bytes]]]
) -> None:
    worker = cell.workers[0].id
    streams = {
        "arrivals": cell.keys.arrivals("acme"), "events": cell.keys.events,
        "work": cell.keys.work(worker), "control": cell.keys.control(worker),
        "bell": cell.keys.bell,
    }  # fmt: skip
    done = cell.counts().get("completed", 0)
    cell.submit(job(f"a{done}"))
    for target, fields in junk:
        add(cell, streams[target], fields)
    cell.submit(job(f"b{done}"))
    cell.until_ended(f"a{done}", f"b{done}")
    assert cell.outcome(f"b{done}") is Outcome.COMPLETED


def test_junk_that_could_not_be_set_aside_is_at_the_next_turn(
    cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection broke between the reading of an entry and the moving of it."""
    (worker,) = cell.workers
    stream = cell.keys.work(worker.id)
    move, broken = worker._errands._attempts.quarantine, [True]

    def quarantine(*arguments: Any) -> Dialogue[int]:
        if broken:
            broken.clear()
            raise Unreachable("cut")
        return move(*arguments)

    monkeypatch.setattr(worker._errands._attempts, "quarantine", quarantine)
    add(cell, stream, [b"j", b"junk"])
    cell.until(cell.dead_letters, "the dead letter")
    assert not broken
    assert cell.link.call("XLEN", stream) == 0


def test_the_stream_of_a_worker_that_nobody_knows_is_cleared_away(cell: Cell) -> None:
    (known,) = cell.workers
    cell.submit(job("j"))
    cell.until_ended("j")
    stray = cell.keys.work("w-000000")
    add(cell, stray, [b"j", b"junk"])
    add(cell, stray, [b"j", b"j 1 10.0 1"])  # of a job that has ended elsewhere
    cell.until(lambda: not cell.link.call("EXISTS", stray), "the stream to go")
    assert [letter["stream"] for letter in cell.dead_letters()] == [stray]
    assert cell.outcome("j") is Outcome.COMPLETED
    assert cell.link.call("HEXISTS", cell.keys.workers, known.id) == 1


def test_orders_to_a_worker_that_nobody_knows_are_cleared_away(cell: Cell) -> None:
    stray = cell.keys.control("w-000000")
    add(cell, stray, [b"cancel", b"j1", b"attempt", b"1"])
    cell.until(lambda: not cell.link.call("EXISTS", stray), "the stream to go")
