"""Scenes of the scripts that set malformed data aside: quarantine, unseat, expel."""

from __future__ import annotations

from parallax.broker.link.scripts import script
from parallax.broker.store.dispatch import Entry
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
    names = [cell.keys.dead, cell.keys.counts, cell.keys.events]
    return lambda: str(cell.link.run(script("unseat"), names, [10, "stream"])[2], "ascii")


@scene("expel", "ok", again="gone")
@scene("expel", "gone", second=True)
def _(cell: Cell) -> Question:
    cell.link.call("SADD", cell.keys.active, b"\xff", "acme")
    names = [cell.keys.active, cell.keys.dead, cell.keys.counts]
    return lambda: str(cell.link.run(script("expel"), names, [10, b"\xff"])[0], "ascii")
