"""Scenes of what the leader and operators write: choose, remember, publish, forget."""

from __future__ import annotations

from parallax.broker.store.dispatch import Lease
from parallax.broker.store.figures import VERSION, Figures, publish
from parallax.broker.store.ledger import Ledger
from parallax.broker.store.policies import PolicyDocument, PolicyStore, choose_call
from parallax.core.errors import Fenced
from tests.contract.conftest import Cell
from tests.contract.scenes.table import STRANGER, Question, scene


def written(cell: Cell, before: PolicyDocument) -> Question:
    after = PolicyDocument("serial")
    return lambda: cell.link.do(choose_call(cell.keys, before.serial, after))


@scene("choose", "ok")
def _(cell: Cell) -> Question:
    return written(cell, PolicyDocument())


@scene("choose", "changed")
def _(cell: Cell) -> Question:
    PolicyStore(cell.link, cell.keys).replace(PolicyDocument())
    return written(cell, PolicyDocument())


def learnt(cell: Cell, lease: Lease) -> Question:
    def ask() -> str:
        try:
            PolicyStore(cell.link, cell.keys).keep(lease, "serial", {"part": ["Kind", {}]})
        except Fenced:
            return "fenced"
        return "ok"

    return ask


@scene("remember", "ok")
def _(cell: Cell) -> Question:
    return learnt(cell, cell.lead())


@scene("remember", "fenced")
def _(cell: Cell) -> Question:
    return learnt(cell, STRANGER)


def published(cell: Cell, lease: Lease) -> Question:
    def ask() -> str:
        try:
            publish(cell.link, cell.keys, lease, Figures(VERSION, 100.0, 40.0, 41.0))
        except Fenced:
            return "fenced"
        return "ok"

    return ask


@scene("publish", "ok")
def _(cell: Cell) -> Question:
    return published(cell, cell.lead())


@scene("publish", "fenced")
def _(cell: Cell) -> Question:
    return published(cell, STRANGER)


def forgotten(cell: Cell, account: str | None, lease: Lease | None = None) -> Question:
    lease = lease or cell.lead()
    ledger = cell.keys.ledger
    cell.link.call("HSET", ledger, "", "100.0", *(("acme", account) if account else ()))

    def ask() -> str:
        before = cell.link.call("HGET", ledger, "acme")
        try:
            Ledger(cell.link, cell.keys).forget(lease, ["acme", ""])
        except Fenced:
            return "fenced"
        assert cell.link.call("HGET", ledger, "") == b"100.0"
        after = cell.link.call("HGET", ledger, "acme")
        return "gone" if before is None else "kept" if after else "forgotten"

    return ask


@scene("forget", "kept")
def _(cell: Cell) -> Question:
    return forgotten(cell, "100.5")


@scene("forget", "forgotten", again="gone")
def _(cell: Cell) -> Question:
    return forgotten(cell, "100.0")


@scene("forget", "gone")
def _(cell: Cell) -> Question:
    return forgotten(cell, None)


@scene("forget", "fenced")
def _(cell: Cell) -> Question:
    cell.lead()
    return forgotten(cell, "1.0", STRANGER)
