"""Scenes of the scripts that workers call: begin, finish, progress."""

from __future__ import annotations

from msgspec import structs

from parallax.broker.store.attempts import Assignment, decode_assignment
from tests.contract.conftest import Cell, job
from tests.contract.scenes.table import Question, end, expire_now, finish, scene


def begin(cell: Cell, assignment: Assignment, worker: str = "w1") -> str:
    running, expired, _ = cell.attempts(worker).begin([assignment])
    return "run" if running else "expired" if expired else "skip"


@scene("begin", "run")
def _(cell: Cell) -> Question:
    cell.join()
    cell.assigned(job())
    assignment = decode_assignment(cell.entries()[0])
    return lambda: begin(cell, assignment)


@scene("begin", "skip")
def _(cell: Cell) -> Question:
    cell.join()
    cell.assigned(job())
    assignment = structs.replace(decode_assignment(cell.entries()[0]), attempt="7")
    return lambda: begin(cell, assignment)


@scene("begin", "expired")
def _(cell: Cell) -> Question:
    cell.join()
    cell.assigned(job())
    expire_now(cell, job())
    assignment = decode_assignment(cell.entries()[0])
    return lambda: begin(cell, assignment)


@scene("finish", "ok", again="again")
@scene("finish", "again", second=True)
def _(cell: Cell) -> Question:
    cell.join()
    attempt = cell.begun(job())
    return lambda: finish(cell, attempt, "completed")


@scene("finish", "late")
def _(cell: Cell) -> Question:
    cell.join()
    attempt = cell.begun(job())
    end(cell, job(), worker="w1")
    return lambda: finish(cell, attempt, "completed")


@scene("finish", "stale")
def _(cell: Cell) -> Question:
    cell.join()
    attempt = cell.begun(job())
    cell.link.call("HSET", cell.keys.job("j1"), "at", "running w1/2/9-9 1")
    return lambda: finish(cell, attempt, "failed")


@scene("finish", "requeued")
def _(cell: Cell) -> Question:
    cell.join()
    attempt = cell.begun(job())
    return lambda: finish(cell, attempt, "retry")


@scene("finish", "unknown")
def _(cell: Cell) -> Question:
    cell.join()
    attempt = cell.begun(job())
    cell.link.call("DEL", cell.keys.job("j1"))
    return lambda: finish(cell, attempt, "completed")


@scene("finish", "yielded")
def _(cell: Cell) -> Question:
    first, _ = cell.doubled(job())
    return lambda: finish(cell, first, "back")


@scene("finish", "kept")
def _(cell: Cell) -> Question:
    cell.join()
    attempt = cell.begun(job())
    return lambda: finish(cell, attempt, "prefilled 4 0.25")


@scene("progress", "ok")
def _(cell: Cell) -> Question:
    cell.join()
    attempt = cell.begun(job(), reply=None)

    def ask() -> str:
        cell.attempts().progress([(attempt, "first", 1)])
        return "ok" if cell.results.follow("j1", "", 0)[1][0].word == "first" else "silent"

    return ask
