"""Scenes of the scripts that move arrivals to workers: route, retire, wake."""

from __future__ import annotations

from typing import Any

from parallax.core.errors import Fenced
from parallax.core.model import Job
from tests.contract.conftest import Cell, job
from tests.contract.scenes.table import STRANGER, Question, expire_now, scene


def routed(cell: Cell, routed_job: Job, **options: Any) -> Question:
    entry = cell.submit(routed_job)[0].detail
    lease = cell.lead()

    def ask() -> str:
        try:
            return cell.route(
                routed_job, entry, options.get("lease", lease), cap=options.get("cap", 8)
            )
        except Fenced:
            return "fenced"

    return ask


@scene("route", "ok")
def _(cell: Cell) -> Question:
    cell.join()
    return routed(cell, job())


@scene("route", "fenced")
def _(cell: Cell) -> Question:
    cell.join()
    return routed(cell, job(), lease=STRANGER)


@scene("route", "noworker")
def _(cell: Cell) -> Question:
    return routed(cell, job())


@scene("route", "busy")
def _(cell: Cell) -> Question:
    cell.join()
    return routed(cell, job(), cap=0)


@scene("route", "expired")
def _(cell: Cell) -> Question:
    cell.join()
    ask = routed(cell, job())
    expire_now(cell, job())
    return ask


@scene("route", "stale")
def _(cell: Cell) -> Question:
    cell.join()
    ask = routed(cell, job())
    cell.link.call("HSET", cell.keys.job("j1"), "at", "assigned w9/1/9-9")
    return ask


@scene("route", "orphan")
def _(cell: Cell) -> Question:
    cell.join()
    ask = routed(cell, job())
    cell.link.call("DEL", cell.keys.job("j1"))
    return ask


@scene("retire", "retired")
def _(cell: Cell) -> Question:
    return lambda: "retired" if cell.dispatching.retire(["acme"]) else "busy"


@scene("retire", "busy")
def _(cell: Cell) -> Question:
    cell.submit(job())
    return lambda: "retired" if cell.dispatching.retire(["acme"]) else "busy"


@scene("wake", "rung", again="active")
def _(cell: Cell) -> Question:
    cell.link.call("XADD", cell.keys.arrivals("acme"), "*", "junk", "1")
    return lambda: cell.rescue.wake(["acme"])["acme"]


@scene("wake", "active")
def _(cell: Cell) -> Question:
    cell.submit(job())
    return lambda: cell.rescue.wake(["acme"])["acme"]


@scene("wake", "quiet", second=True)
def _(cell: Cell) -> Question:
    return lambda: cell.rescue.wake(["acme"])["acme"]
