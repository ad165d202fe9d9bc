"""Scenes of the scripts that take attempts away from workers: reclaim, steal, stop."""

from __future__ import annotations

from parallax.broker.store.attempts import Assignment
from parallax.broker.store.dispatch import Lease
from parallax.core.errors import Fenced
from tests.contract.conftest import Cell, job
from tests.contract.scenes.table import STRANGER, Question, scene


def reclaimed(cell: Cell, entry: str, lease: Lease | None = None) -> Question:
    lease = lease or cell.lead()

    def ask() -> str:
        try:
            words = cell.rescue.reclaim(lease, "w1", [Assignment(entry, "j1", "1", 1.0)])
            return words[0] if words else "alive"
        except Fenced:
            return "fenced"

    return ask


@scene("reclaim", "ok", again="dropped")
def _(cell: Cell) -> Question:
    cell.join()
    entry = cell.assigned(job())
    cell.die()
    return reclaimed(cell, entry)


@scene("reclaim", "yielded", again="dropped")
def _(cell: Cell) -> Question:
    first, _ = cell.doubled(job())
    cell.die()
    return reclaimed(cell, first.assignment.entry)


@scene("reclaim", "alive")
def _(cell: Cell) -> Question:
    cell.join()
    return reclaimed(cell, cell.assigned(job()))


@scene("reclaim", "dead", again="done")
@scene("reclaim", "done", second=True)
def _(cell: Cell) -> Question:
    cell.join()
    attempt = cell.begun(job(max_attempts=1))
    cell.die()
    return reclaimed(cell, attempt.assignment.entry)


@scene("reclaim", "dropped")
def _(cell: Cell) -> Question:
    cell.join()
    cell.assigned(job())
    cell.die()
    return reclaimed(cell, "1-1")


@scene("reclaim", "fenced")
def _(cell: Cell) -> Question:
    cell.join()
    entry = cell.assigned(job())
    cell.die()
    return reclaimed(cell, entry, STRANGER)


def stolen(cell: Cell, cap: int = 8, lease: Lease | None = None, model: str = "") -> Question:
    lease = lease or cell.lead()

    def ask() -> str:
        try:
            return cell.rescue.steal(lease, "w1", "w2", [("j1", 1, model)], cap)[0]
        except Fenced:
            return "fenced"

    return ask


@scene("steal", "ok")
def _(cell: Cell) -> Question:
    cell.join()
    cell.join("w2")
    cell.assigned(job())
    return stolen(cell)


@scene("steal", "gone")
def _(cell: Cell) -> Question:
    cell.join()
    cell.join("w2")
    cell.assigned(job())
    cell.link.call("DEL", cell.keys.work("w1"))
    return stolen(cell)


@scene("steal", "fenced")
def _(cell: Cell) -> Question:
    cell.join()
    cell.join("w2")
    cell.assigned(job())
    return stolen(cell, lease=STRANGER)


@scene("steal", "started")
def _(cell: Cell) -> Question:
    cell.join()
    cell.join("w2")
    cell.begun(job())
    return stolen(cell)


@scene("steal", "copy")
def _(cell: Cell) -> Question:
    cell.join()
    cell.join("w2")
    cell.assigned(job())
    cell.link.call("HSET", cell.keys.job("j1"), "at", "assigned w9/1/9-9")
    return stolen(cell)


@scene("steal", "busy")
def _(cell: Cell) -> Question:
    cell.join()
    cell.join("w2")
    cell.assigned(job())
    return stolen(cell, cap=0)


@scene("steal", "dead_thief")
def _(cell: Cell) -> Question:
    cell.join()
    cell.assigned(job())
    return stolen(cell)


@scene("steal", "foreign")
def _(cell: Cell) -> Question:
    cell.join()
    cell.join("w2", models="llama,qwen:7b")
    cell.assigned(job(model="llam"))
    return stolen(cell, model="llam")


def told(cell: Cell, lease: Lease) -> Question:
    def ask() -> str:
        try:
            cell.rescue.stop(lease, [("w1", "j1", 1)])
        except Fenced:
            return "fenced"
        return "ok"

    return ask


@scene("stop", "ok")
def _(cell: Cell) -> Question:
    return told(cell, cell.lead())


@scene("stop", "fenced")
def _(cell: Cell) -> Question:
    return told(cell, STRANGER)
