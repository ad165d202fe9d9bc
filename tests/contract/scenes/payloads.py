"""Scenes of answers that are sent in pieces, and of jobs that these have claimed."""

from __future__ import annotations

from typing import Any

from parallax.broker.store.relay import Chunk
from tests.contract.conftest import Cell, job
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
