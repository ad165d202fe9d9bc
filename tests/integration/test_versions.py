"""While a cell is upgraded piece by piece, nobody's reports become dead letters."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.codec import Report, encode
from parallax.core.lifecycle import Outcome
from tests.integration.cells import Cell, job


@pytest.fixture
def cell(connect: Callable[[], Link]) -> Cell:
    cell = Cell(connect)
    cell.scheduler()
    cell.worker()
    cell.until(lambda: cell.schedulers[0].leading, "a leader")
    return cell


def newer(report: Report) -> bytes:
    """Return a report as a later version might write it: with fields that are not known here."""
    told = json.loads(encode(report))
    told[Report.__struct_fields__.index("v")] += 1
    return json.dumps([*told, "new", {"more": 1}]).encode()


def test_a_newer_workers_report_is_settled(cell: Cell) -> None:
    report = Report("bob", "w-new", 1, 10.0, 500, 7)
    cell.link.call("XADD", cell.keys.events, "*", "j1", b"failed " + newer(report))
    cell.until(lambda: cell.link.call("HEXISTS", cell.keys.ledger, "bob"), "the account")
    assert cell.dead_letters() == []


def test_a_newer_workers_result_can_be_read(cell: Cell) -> None:
    cell.submit(job("j1"))
    cell.until_ended("j1")
    record = cell.record("j1")
    assert record is not None
    cell.link.call("HSET", cell.keys.job("j1"), "result", newer(record.report))
    again = cell.record("j1")
    assert again is not None
    assert (again.outcome, again.report.output_tokens) == (Outcome.COMPLETED, 5)


def test_a_newer_worker_gets_work(cell: Cell) -> None:
    (worker,) = cell.workers
    name, known = worker.id, json.loads(cell.link.call("HGET", cell.keys.workers, worker.id))
    cell.link.call("HSET", cell.keys.workers, name, json.dumps({**known, "v": 2, "colour": "red"}))
    cell.submit(job("j1"))
    cell.until_ended("j1")
    assert cell.outcome("j1") is Outcome.COMPLETED
