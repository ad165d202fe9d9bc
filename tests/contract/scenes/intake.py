"""Scenes of the scripts that take jobs in and end them: submit, terminate."""

from __future__ import annotations

from parallax.core.errors import Fenced
from parallax.core.lifecycle import Outcome
from parallax.core.model import Job
from tests.contract.conftest import Cell, job
from tests.contract.scenes.table import STRANGER, Question, end, finish, scene


def submit(cell: Cell, *jobs: Job) -> list[str]:
    return [receipt.word for receipt in cell.submit(*jobs)]


@scene("submit", "ok", again="dup")
@scene("submit", "dup", second=True)
def _(cell: Cell) -> Question:
    return lambda: submit(cell, job())[0]


@scene("submit", "conflict")
def _(cell: Cell) -> Question:
    submit(cell, job())
    return lambda: submit(cell, job(prompt_tokens=11))[0]


@scene("submit", "too_big")
def _(cell: Cell) -> Question:
    return lambda: cell.intake.submit([job()], "", {"j1": b"x" * 5000})[0].word


@scene("submit", "full")
def _(cell: Cell) -> Question:
    submit(cell, job("a"), job("b"), job("c"))
    return lambda: submit(cell, job("d"))[0]


@scene("submit", "bad_stream")
def _(cell: Cell) -> Question:
    cell.link.call("SET", cell.keys.arrivals("acme"), "junk")
    return lambda: submit(cell, job())[0]


@scene("submit", "bad_job")
def _(cell: Cell) -> Question:
    cell.link.call("SET", cell.keys.job("j1"), "junk")
    return lambda: submit(cell, job())[0]


@scene("terminate", "ok", again="again")
@scene("terminate", "again", second=True)
def _(cell: Cell) -> Question:
    cell.submit(job())
    return lambda: end(cell, job())


@scene("terminate", "late")
def _(cell: Cell) -> Question:
    cell.join()
    finish(cell, cell.begun(job()), "completed")
    return lambda: end(cell, job())


@scene("terminate", "not_due")
def _(cell: Cell) -> Question:
    cell.submit(job(deadline_s=1000.0))
    return lambda: end(cell, job(), Outcome.EXPIRED)


@scene("terminate", "moved")
def _(cell: Cell) -> Question:
    cell.join()
    cell.assigned(job())
    return lambda: end(cell, job(), worker="elsewhere")


@scene("terminate", "unknown")
def _(cell: Cell) -> Question:
    return lambda: end(cell, job())


@scene("terminate", "fenced")
def _(cell: Cell) -> Question:
    cell.submit(job())

    def ask() -> str:
        try:
            return end(cell, job(), token=STRANGER.token)
        except Fenced:
            return "fenced"

    return ask
