"""Scenes of the scripts that set malformed data aside: quarantine, unseat, expel."""

from __future__ import annotations

from parallax.broker.store.dispatch import Entry
from parallax.broker.store.misfits import expel_call, unseat_call
from tests.contract.conftest import Cell
from tests.contract.scenes.table import Question, scene


@scene("quarantine", "ok", again="gone")
@scene("quarantine", "gone", second=True)
def _(cell: Cell) -> Question:
    stream = cell.keys.arrivals("acme")
    entry = cell.link.call("XADD", stream, "*", "junk", b"\xff").decode()
    junk = [(Entry(entry, [b"junk", b"\xff"]), "not understood")]
    return lambda: "ok" if cell.rescue.quarantine(stream, junk) else "gone"


@scene("unseat", "removed", again="ok")
@scene("unseat", "ok", second=True)
def _(cell: Cell) -> Question:
    cell.link.call("SET", cell.keys.events, b"\xff")
    return lambda: cell.link.do(unseat_call(cell.keys.prefix, [cell.keys.events]))[2]


@scene("expel", "ok", again="gone")
@scene("expel", "gone", second=True)
def _(cell: Cell) -> Question:
    cell.link.call("SADD", cell.keys.active, b"\xff", "acme")
    return lambda: cell.link.do(expel_call(cell.keys, cell.keys.active, [b"\xff"]))[0]
