"""A job's life as it is told afterwards: when it was sent, hedged, and why to that worker."""

from __future__ import annotations

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.broker.store.overview import Overview
from parallax.broker.store.results import Record, records_asked
from parallax.dashboard.life import timeline, why_worker
from tests.integration.cells import Cell, job

ABOUT = b'1000 0123456789abcdef - 0 - [1,"acme",10,20]'


def recorded(at: bytes, hedge: bytes | None = None) -> Record:
    row = [at, ABOUT, None, hedge, None, None]
    (record,) = records_asked(Keys("cell"), ["j"]).decode([row])
    assert record is not None
    return record


def moments(record: Record) -> list[tuple[str, str | None, float | None]]:
    return [(one["what"], one["worker"], round(one["after_s"], 6)) for one in timeline(record)]


def test_a_job_tells_when_it_was_sent_and_when_it_was_hedged() -> None:
    record = recorded(b"running w1/1/1500-0 1600", b"assigned w2/2/2500-3")
    assert moments(record) == [
        ("accepted", None, 0.0), ("assigned", "w1", 0.5), ("started", "w1", 0.6),
        ("hedged", "w2", 1.5),
    ]  # fmt: skip
    assert record.hedge_worker == "w2"


def test_the_faster_of_two_is_the_hedge_although_it_has_the_job() -> None:
    record = recorded(b"completed w2/2/2500-0 2600 3000", b"over w1/1/1500-0")
    assert [(what, worker) for what, worker, _ in moments(record)] == [
        ("accepted", None), ("assigned", "w1"), ("hedged", "w2"), ("started", "w2"),
        ("completed", "w2"),
    ]  # fmt: skip
    assert record.hedge is not None
    assert (record.hedge.worker, record.hedge.assigned) == ("w2", 2.5)
    assert record.hedge_worker == ""  # nobody is to be told to stop


def test_a_job_that_waits_was_not_sent() -> None:
    record = recorded(b"queued queue/0/1000-0")
    assert moments(record) == [("accepted", None, 0.0)]
    assert record.assigned is None


def test_the_leader_tells_why(embedded_url: str) -> None:
    cell = Cell(lambda: Link.to(embedded_url))
    cell.scheduler()
    workers = [cell.worker(), cell.worker()]
    cell.submit(job("j"))
    cell.until_ended("j")
    seen = Overview(cell.link, cell.keys)
    cell.until(lambda: (figures := seen.read().figures) and figures.decisions, "it to be told")
    record = cell.record("j")
    assert record is not None
    why = why_worker(record, seen.read())
    assert why is not None
    chosen = [one["worker"] for one in why["candidates"] if one["chosen"]]
    assert chosen == [record.worker]
    assert {one["worker"] for one in why["candidates"]} <= {worker.id for worker in workers}
    assert "workers could have had it" in why["text"]
