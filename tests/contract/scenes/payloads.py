"""Scenes of answers that are sent in pieces, and of jobs that these have claimed."""

from __future__ import annotations

from typing import Any

from parallax.broker.store.attempts import Finish, decode_assignment
from parallax.broker.store.relay import Chunk
from tests.contract.conftest import Cell, job, report
from tests.contract.scenes.larger import TWO, larger, running
from tests.contract.scenes.larger import Question as Ask
from tests.contract.scenes.repair import repaired
from tests.contract.scenes.rescue import reclaimed
from tests.contract.scenes.table import Question, scene


def relayed(cell: Cell, attempt: Any, worker: str = "w1") -> Question:
    return lambda: cell.attempts(worker).relay([Chunk(attempt, 0, b"a part")])[0]


@scene("relay", "ok")
def _(cell: Cell) -> Question:
    cell.join()
    return relayed(cell, cell.begun(job(stream=True), reply="inbox"))


@scene("relay", "stop")
def _(cell: Cell) -> Question:
    first, second = cell.doubled(job(stream=True))
    relayed(cell, first)()
    return relayed(cell, second, "w2")


@scene("reclaim", "broken", again="done")
def _(cell: Cell) -> Question:
    cell.join()
    attempt = cell.begun(job(stream=True), reply="inbox")
    relayed(cell, attempt)()
    cell.die()
    return reclaimed(cell, attempt.assignment.entry)


@scene("repair", "broken")
def _(cell: Cell) -> Question:
    cell.join()
    relayed(cell, cell.begun(job(stream=True)))()
    cell.link.call("DEL", cell.keys.work("w1"))
    return repaired(cell)


LONG = b"long " * 500
ENDS = {"a1": b"short", "b1": LONG}


def streaming(cell: Cell, **options: Any) -> list[Any]:
    """Let two jobs that stream run on w1; return their attempts."""
    cell.join()
    jobs = [job("a1", "anna", stream=True), job("b1", "bert", stream=True, keep=True)]
    for one, receipt in zip(jobs, cell.submit(*jobs, **options), strict=True):
        assert cell.route(one, receipt.detail, cell.lead()) == "ok"
    return cell.attempts().begin([decode_assignment(entry) for entry in cell.entries()])[0]


def parts(*attempts: Any) -> list[Chunk]:
    return [Chunk(a, n, b"%d of %s" % (n, a.job_id.encode())) for n in range(2) for a in attempts]


@larger("relay of two jobs to an inbox")
def _(cell: Cell) -> Ask:
    chunks = parts(*streaming(cell, reply="inbox"))
    return lambda: cell.attempts().relay(chunks)


@larger("relay of two jobs, each to its own stream")
def _(cell: Cell) -> Ask:
    chunks = parts(*streaming(cell, reply=None))
    return lambda: cell.attempts().relay(chunks)


@larger("relay of the second attempt, which claims the job")
def _(cell: Cell) -> Ask:
    _, second = cell.doubled(job(stream=True))
    return lambda: cell.attempts("w2").relay(parts(second))


@larger("relay of the first attempt, which claims the job")
def _(cell: Cell) -> Ask:
    first, _ = cell.doubled(job(stream=True))
    return lambda: cell.attempts().relay(parts(first))


@larger("finish of two that streamed, one of which breaks off")
def _(cell: Cell) -> Ask:
    first, second = streaming(cell, reply="inbox")
    cell.attempts().relay(parts(first, second))
    ends = [
        Finish(first, "back", report(first)),
        Finish(second, "completed", report(second), b"all of it"),
    ]
    return lambda: cell.attempts().finish(ends)


@larger("finish of who was put aside by a claim")
def _(cell: Cell) -> Ask:
    first, second = cell.doubled(job(stream=True))
    cell.attempts("w2").relay(parts(second))
    return lambda: cell.attempts().finish([Finish(first, "stopped", report(first))])


@larger("finish of two with answers, a short and a long one")
def _(cell: Cell) -> Ask:
    ends = [Finish(a, "completed", report(a), ENDS[a.job_id]) for a in running(cell)]
    return lambda: cell.attempts().finish(ends)


@larger("finish of an answer that is kept")
def _(cell: Cell) -> Ask:
    cell.join()
    attempt = cell.begun(job(keep=True), reply="inbox")
    return lambda: cell.attempts().finish([Finish(attempt, "completed", report(attempt), LONG)])


@larger("begin of two with bodies, one of them without")
def _(cell: Cell) -> Ask:
    cell.join()
    for one, receipt in zip(TWO, cell.intake.submit(TWO, "", {"a1": b"of a1"}), strict=True):
        assert cell.route(one, receipt.detail, cell.lead()) == "ok"
    held = [decode_assignment(entry) for entry in cell.entries()]
    return lambda: cell.attempts().begin(held, with_bodies=True)
