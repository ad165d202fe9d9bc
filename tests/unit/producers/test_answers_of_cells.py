"""Answers and streams over several cells, and those of one tenant: its own, from where they are."""

from __future__ import annotations

import pytest

from parallax.broker.store.codec import Report, encode
from parallax.broker.store.results import Notice
from parallax.core.clock import ManualClock
from parallax.core.errors import InvalidInput, NotCompleted, Unreachable
from parallax.core.lifecycle import Outcome
from parallax.core.model import Job
from parallax.producers.client.cells import Cells
from parallax.producers.client.tenant_client import TenantClient, stored_id
from tests.unit.producers.doors import Door, chunk, end
from tests.unit.producers.test_cells import (
    Stub,
    cells,
    clock,
    one_each,
    silent,
    stubs,
    tenant_of,
)

__all__ = ["cells", "clock", "stubs"]


def test_answers_come_from_where_their_jobs_are(cells: Cells, stubs: dict[str, Stub]) -> None:
    cells.submit(one_each(cells))
    stubs["a"].kept, stubs["c"].kept = {"ja": b"one"}, {"jc": b"three", "ja": b"of another"}
    assert cells.answers(["jc", "ja", "jb", "nobody"]) == [b"three", b"one", None, None]


def test_of_a_job_in_two_cells_the_newer_one_is_answered(
    cells: Cells, stubs: dict[str, Stub], clock: ManualClock
) -> None:
    for cell in ("c", "a"):
        stubs[cell].submit([Job("j", "moved", 5, 9)])
        stubs[cell].kept = {"j": cell.encode()}
        clock.wait(1.0)
    assert cells.answers(["j"]) == [b"a"]


def test_while_a_cell_is_silent_no_answer_is_denied(cells: Cells, stubs: dict[str, Stub]) -> None:
    cells.submit(one_each(cells))
    stubs["a"].kept = {"ja": b"one"}
    silent(stubs["b"])
    assert cells.answers(["ja"]) == [b"one"]
    with pytest.raises(Unreachable, match="cell b"):
        cells.answers(["ja", "jb"])


def test_a_stream_goes_home_and_is_read_there(cells: Cells, stubs: dict[str, Stub]) -> None:
    job = Job("j1", tenant_of(cells, "b"), 5, 9)
    told = Notice("j1", "chunk", b"1 0 hello"), Notice("j1", "completed", encode(Report()))
    stubs["b"].told = list(told)
    assert list(cells.stream(job, b"body")) == [b"hello"]
    assert stubs["b"].jobs["j1"].stream
    assert stubs["b"].bodies == {"j1": b"body"}
    assert not stubs["a"].jobs


def test_who_leaves_a_stream_of_cells_cancels_it_at_home(
    cells: Cells, stubs: dict[str, Stub]
) -> None:
    stubs["b"].told = [Notice("j1", "chunk", b"1 0 hello")]
    for _ in cells.stream(Job("j1", tenant_of(cells, "b"), 5, 9)):
        break
    assert ("cancel", "j1") in stubs["b"].calls


#: The id under which j1 of acme is stored.
STORED = stored_id("acme", "j1")


def test_a_tenant_streams_under_its_own_ids() -> None:
    told = [
        Notice(STORED, notice.word, notice.data)
        for notice in (chunk(0, b"a"), end(error=""))
    ]  # fmt: skip
    door = Door(told, name=STORED)
    stream = TenantClient(door, "acme").stream(Job("j1", "acme", 5, 9), b"body")
    assert stream.job_id == "j1"
    assert list(stream) == [b"a"]
    ((job,), own_streams, bodies) = door.submitted[0]
    assert (job.id, job.stream, own_streams, bodies) == (
        STORED, True, True, {STORED: b"body"},
    )  # fmt: skip


def test_what_goes_wrong_is_told_of_the_id_that_the_tenant_knows() -> None:
    broken = end(Outcome.FAILED, error="it broke")
    door = Door([Notice(STORED, broken.word, broken.data)], name=STORED)
    with pytest.raises(NotCompleted, match="job j1: failed: it broke"):
        list(TenantClient(door, "acme").stream(Job("j1", "acme", 5, 9)))


def test_a_stream_of_another_tenant_is_refused() -> None:
    door = Door()
    with pytest.raises(InvalidInput, match="tenant of job"):
        TenantClient(door, "bob").stream(Job("j1", "acme", 5, 9))
    assert door.submitted == []


def test_answers_of_another_tenant_never_were() -> None:
    door = Door(name=stored_id("bob", "j1"), kept=b"secret")
    assert TenantClient(door, "bob").answers(["j1"]) == [None]  # the record is acme's
    door = Door(name=STORED, kept=b"mine")
    assert TenantClient(door, "acme").answers(["j1"]) == [b"mine"]
