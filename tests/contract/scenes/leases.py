"""Scenes of leases and heartbeats: lead, renew, resign, clamp, heartbeat, bury."""

from __future__ import annotations

from parallax.broker.store.codec import VERSION, Registration
from parallax.broker.store.dispatch import Lease
from parallax.broker.store.membership import Leadership
from parallax.core.errors import Conflict, Fenced
from tests.contract.conftest import Cell, job
from tests.contract.scenes.table import STRANGER, Question, scene


def leading(cell: Cell, candidate: str) -> Question:
    return lambda: "acquired" if cell.leadership(candidate).acquire() else "held"


@scene("lead", "acquired")
def _(cell: Cell) -> Question:
    return leading(cell, "one")


@scene("lead", "held")
def _(cell: Cell) -> Question:
    cell.lead("one")
    return leading(cell, "two")


def lease_call(cell: Cell, what: str, lease: Lease) -> Question:
    leadership = Leadership(cell.link, cell.keys, "leader", 60_000)

    def ask() -> str:
        try:
            getattr(leadership, what)(lease)
        except Fenced:
            return "fenced"
        return "ok"

    return ask


@scene("renew", "ok")
def _(cell: Cell) -> Question:
    return lease_call(cell, "renew", cell.lead())


@scene("renew", "fenced")
def _(cell: Cell) -> Question:
    cell.lead()
    return lease_call(cell, "renew", STRANGER)


def resigned(cell: Cell, lease: Lease) -> Question:
    def ask() -> str:
        before = cell.link.call("GET", cell.keys.leader)
        Leadership(cell.link, cell.keys, "leader", 60_000).resign(lease)
        return "ok" if before != cell.link.call("GET", cell.keys.leader) else "fenced"

    return ask


@scene("resign", "ok", again="fenced")
def _(cell: Cell) -> Question:
    return resigned(cell, cell.lead())


@scene("resign", "fenced")
def _(cell: Cell) -> Question:
    cell.lead()
    return resigned(cell, STRANGER)


def beaten(cell: Cell, life: str) -> Question:
    def ask() -> str:
        try:
            return (
                "new"
                if cell.membership.beat("w1", life, 60_000, Registration(VERSION, 1))
                else "ok"
            )
        except Conflict:
            return "taken"

    return ask


@scene("heartbeat", "new", again="ok")
@scene("heartbeat", "ok", second=True)
def _(cell: Cell) -> Question:
    return beaten(cell, "mine")


@scene("heartbeat", "taken")
def _(cell: Cell) -> Question:
    cell.join()
    return beaten(cell, "another")


def clamped(cell: Cell) -> Question:
    key = cell.keys.heartbeat("w1")

    def ask() -> str:
        before = cell.link.call("PTTL", key)
        Leadership(cell.link, cell.keys, "leader", 1).clamp(["w1"], 50_000)
        after = cell.link.call("PTTL", key)
        return "gone" if after == -2 else "cut" if before > 50_000 >= after else "ok"

    return ask


@scene("clamp", "cut", again="ok")
@scene("clamp", "ok", second=True)
def _(cell: Cell) -> Question:
    cell.join()
    return clamped(cell)


@scene("clamp", "gone")
def _(cell: Cell) -> Question:
    return clamped(cell)


def buried(cell: Cell, lease: Lease | None) -> Question:
    return lambda: cell.membership.bury("w1", lease)


@scene("bury", "ok")
def _(cell: Cell) -> Question:
    cell.join()
    return buried(cell, None)


@scene("bury", "fenced")
def _(cell: Cell) -> Question:
    cell.join()
    return buried(cell, STRANGER)


@scene("bury", "alive")
def _(cell: Cell) -> Question:
    cell.join()
    return buried(cell, cell.lead())


@scene("bury", "busy")
def _(cell: Cell) -> Question:
    cell.join()
    cell.assigned(job())
    return buried(cell, None)
