"""How long the janitor leaves a job to the recoverer: from when its worker was sent it."""

from __future__ import annotations

from tests.contract.conftest import Cell, job
from tests.waiting import wait_until


def marked(cell: Cell) -> None:
    """A job in the stream of a dead worker, with the mark that it had under an earlier one."""
    cell.join()
    cell.assigned(job())
    cell.die()
    now_ms = int(cell.link.call("TIME")[0]) * 1000
    cell.link.call("ZADD", cell.keys.open, "XX", now_ms - 90_000.5, "j1")


def test_patience_begins_anew_with_each_worker(cell: Cell) -> None:
    marked(cell)
    assert cell.rescue.repair(cell.lead(), ["j1"], 10_000) == ["held"]


def test_patience_ends(cell: Cell) -> None:
    marked(cell)
    lease = cell.lead()
    wait_until(lambda: cell.rescue.repair(lease, ["j1"], 1) == ["ok"], "the job to be queued again")
