"""Who waits is told how a job ended, whoever ended it: without a look at the record."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.intake import Intake
from parallax.broker.store.results import Notice, Results
from parallax.core.lifecycle import Outcome
from parallax.core.model import Job
from parallax.core.reasons import Reason
from parallax.core.settings import Policies, PolicyChoice
from tests.integration.cells import Cell, job

LIMITS = {"max_jobs_per_tenant": 2}


@pytest.fixture
def cell(connect: Callable[[], Link]) -> Cell:
    """A cell that lets two jobs of a tenant wait, and has no worker."""
    cell = Cell(connect, Policies(admission=PolicyChoice("thresholds", LIMITS)))
    cell.scheduler()
    cell.until(lambda: cell.schedulers[0].leading, "a leader")
    return cell


def told(cell: Cell, stream: str) -> list[Notice]:
    """Return what a stream says so far."""
    return Results(cell.link, cell.keys).follow(stream, "", 0)[1]


def ends(cell: Cell, stream: str, count: int, *jobs: Job, own: bool = False) -> list[Notice]:
    """Submit jobs whose ends go to a stream; return the first so many."""
    Intake(cell.link, cell.keys).submit(jobs, None if own else stream)
    cell.until(lambda: len(told(cell, stream)) >= count, "news")
    return told(cell, stream)


@pytest.mark.parametrize("own", [False, True], ids=["inbox", "own stream"])
def test_who_waits_is_told_of_a_rejection(cell: Cell, own: bool) -> None:
    many = [job(f"j{n}") for n in range(3)]
    (notice,) = ends(cell, "j2" if own else "inbox", 1, *many, own=own)
    assert (notice.job_id, notice.outcome) == ("j2", Outcome.REJECTED)
    assert notice.report.reason == Reason.TENANT_QUEUE_FULL
    assert notice.report.retry_after_s


@pytest.mark.parametrize("own", [False, True], ids=["inbox", "own stream"])
def test_who_waits_is_told_of_an_expiry(cell: Cell, own: bool) -> None:
    late = job("late", deadline_s=0.05)
    (notice,) = ends(cell, "late" if own else "inbox", 1, late, own=own)
    assert (notice.job_id, notice.outcome) == ("late", Outcome.EXPIRED)
    assert notice.report.reason == Reason.DEADLINE


def test_each_is_told_of_its_own(cell: Cell) -> None:
    """Two who wait, and one batch of ends: nobody is told of the other's, nor twice."""
    late = [job(f"late{n}", f"t{n}", deadline_s=0.2) for n in range(4)]
    Intake(cell.link, cell.keys).submit(late[:2], "one")
    Intake(cell.link, cell.keys).submit(late[2:], "two")
    cell.until_ended(*(one.id for one in late))
    assert sorted(n.job_id for n in told(cell, "one")) == ["late0", "late1"]
    assert sorted(n.job_id for n in told(cell, "two")) == ["late2", "late3"]
