"""Lists of any length pass through the scripts: Lua's unpack fails beyond some 8,000 items."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.attempts import Finish, decode_assignment
from parallax.broker.store.intake import Ending
from parallax.broker.store.keys import Keys
from parallax.broker.store.limits import Limits
from parallax.core.lifecycle import Outcome
from parallax.scheduling.actions import Dispatch
from tests.contract.conftest import Cell, job, report

MANY = 4_500  # with two items each, beyond what one call takes
TOLD = 200  # most items of one entry that tells of many jobs


@pytest.fixture
def wide(connect: Callable[[], Link]) -> Cell:
    return Cell(connect(), Keys("test"), Limits())


def entries(cell: Cell, stream: str) -> list[int]:
    """Return how many items the entries of a stream have."""
    return [len(fields) for _, fields in cell.link.call("XRANGE", stream, "-", "+")]


@pytest.mark.sampled(1)
def test_the_balances_of_thousands_of_tenants_are_kept(wide: Cell) -> None:
    accounts = {f"t{n}": float(n) for n in range(MANY)}
    assert wide.dispatching.commit(wide.lead(), [], {}, accounts) == []
    assert wide.link.call("HLEN", wide.keys.ledger) == MANY
    assert (
        wide.link.call("HGET", wide.keys.ledger, f"t{MANY - 1}") == repr(float(MANY - 1)).encode()
    )


@pytest.mark.slow_on_fakeredis
def test_the_ends_of_thousands_of_jobs_are_told_in_entries_of_bounded_size(wide: Cell) -> None:
    jobs = [job(f"j{n}") for n in range(MANY)]
    wide.join(slots=MANY)
    receipts = wide.submit(*jobs, reply="inbox")
    for start in range(0, MANY, 1_000):
        part = zip(jobs[start : start + 1_000], receipts[start : start + 1_000], strict=True)
        sent = [Dispatch(j.id, j.tenant, r.detail, "w1", 1, 10.0) for j, r in part]
        words = wide.dispatching.commit(wide.lead(), sent, {"w1": 2 * MANY}, {})
        assert set(words) == {"ok"}
    held = [decode_assignment(entry) for entry in wide.entries()]
    running, *_ = wide.attempts().begin(held)
    assert len(running) == MANY
    ends = wide.attempts().finish([Finish(a, "completed", report(a)) for a in running])
    assert {word for word, _ in ends} == {"ok"}
    assert wide.open_jobs() == 0
    for stream in (wide.keys.events, wide.keys.out("inbox")):
        told = entries(wide, stream)
        assert (sum(told), max(told)) == (2 * MANY, TOLD)


@pytest.mark.slow_on_fakeredis
def test_thousands_of_jobs_are_ended_at_once(wide: Cell) -> None:
    jobs = [job(f"j{n}") for n in range(MANY)]
    wide.submit(*jobs)
    words = wide.intake.terminate([Ending(j.id, j.tenant, Outcome.CANCELLED) for j in jobs])
    assert {word for word, _ in words} == {"ok"}
    assert (wide.open_jobs(), wide.backlog()) == (0, 0)
