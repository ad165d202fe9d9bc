"""Scenes of the scripts that put right what is inconsistent: repair, scrub."""

from __future__ import annotations

from parallax.broker.store.attempts import Assignment
from parallax.broker.store.dispatch import Lease
from parallax.broker.store.rescue_calls import repair_call
from parallax.core.errors import Fenced
from tests.contract.conftest import Cell, job
from tests.contract.scenes.table import STRANGER, Question, end, scene


def repaired(cell: Cell, grace_ms: int = 0, lease: Lease | None = None) -> Question:
    lease = lease or cell.lead()

    def ask() -> str:
        try:
            return cell.rescue.repair(lease, ["j1"], grace_ms)[0]
        except Fenced:
            return "fenced"

    return ask


@scene("repair", "ok", again="present")
def _(cell: Cell) -> Question:
    cell.submit(job())
    cell.link.call("DEL", cell.keys.arrivals("acme"))
    return repaired(cell)


@scene("repair", "present")
def _(cell: Cell) -> Question:
    cell.join()
    cell.assigned(job())
    return repaired(cell)


@scene("repair", "held")
def _(cell: Cell) -> Question:
    cell.join()
    cell.assigned(job())
    cell.die()
    cell.link.call(
        "ZADD", cell.keys.open, "XX", int(cell.link.call("TIME")[0]) * 1000 - 90_000, "j1"
    )
    return repaired(cell, 60_000)


@scene("repair", "yielded", again="present")
def _(cell: Cell) -> Question:
    cell.doubled(job())
    cell.link.call("DEL", cell.keys.work("w1"))
    return repaired(cell)


@scene("repair", "moved")
def _(cell: Cell) -> Question:
    cell.submit(job())
    about = cell.link.call("HGET", cell.keys.job("j1"), "about")
    looked = [("j1", (about, b"assigned w9/1/1-1"))]  # it has moved since
    call = repair_call(cell.keys, cell.limits, cell.lead(), looked, 0)
    return lambda: cell.link.do(call)[0].word


@scene("repair", "spent")
def _(cell: Cell) -> Question:
    cell.join()
    cell.begun(job(max_attempts=1))
    cell.link.call("DEL", cell.keys.work("w1"))
    return repaired(cell)


@scene("repair", "young")
def _(cell: Cell) -> Question:
    cell.submit(job())
    cell.link.call("DEL", cell.keys.arrivals("acme"))
    return repaired(cell, 1_000_000)


@scene("repair", "done")
def _(cell: Cell) -> Question:
    cell.submit(job())
    end(cell, job())
    return repaired(cell)


@scene("repair", "vanished")
def _(cell: Cell) -> Question:
    return repaired(cell)


@scene("repair", "fenced")
def _(cell: Cell) -> Question:
    cell.submit(job())
    return repaired(cell, lease=STRANGER)


def scrubbed(cell: Cell, entry: str) -> Question:
    return lambda: cell.rescue.scrub("w1", [Assignment(entry, "j1", "1", 1.0)])[0]


@scene("scrub", "removed", again="gone")
@scene("scrub", "gone", second=True)
def _(cell: Cell) -> Question:
    cell.join()
    entry = cell.assigned(job())
    cell.link.call("HSET", cell.keys.job("j1"), "at", "assigned w9/1/9-9")
    return scrubbed(cell, entry)


@scene("scrub", "kept")
def _(cell: Cell) -> Question:
    cell.join()
    return scrubbed(cell, cell.assigned(job()))


@scene("repair", "spoilt")
def _(cell: Cell) -> Question:
    cell.submit(job())
    cell.link.call("HSET", cell.keys.job("j1"), "about", "garbage")
    return repaired(cell)
