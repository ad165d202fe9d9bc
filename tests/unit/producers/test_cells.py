"""One client over several cells: what one of them does not answer is told, and takes nothing else.

The cells are stand-ins that keep what they are told; silence costs time on a clock moved by hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from parallax.broker.store.codec import Report
from parallax.broker.store.intake import Receipt
from parallax.broker.store.results import Notice, Record
from parallax.core.cells import CellAddress
from parallax.core.clock import ManualClock
from parallax.core.errors import InvalidInput, ParallaxError, StoreFault, StoreFull, Unreachable
from parallax.core.lifecycle import Outcome, State
from parallax.core.model import Job
from parallax.core.words import Cancelled, Submitted
from parallax.producers.client import cells as module
from parallax.producers.client.cells import Cells
from parallax.producers.client.client import Client, Completion

NAMES = ("a", "b", "c")


class Stub(Client):
    """A cell that accepts everything, unless it is told to fail."""

    def __init__(self, cell: str, clock: ManualClock) -> None:
        super().__init__("redis://127.0.0.1:1", cell, clock=clock)
        self.clock, self.error, self.takes_s = clock, None, 0.0
        self.jobs: dict[str, Job] = {}
        self.bodies: dict[str, bytes] = {}
        self.accepted: dict[str, float] = {}
        self.ended: list[Completion] = []
        self.told: list[Notice] = []
        self.kept: dict[str, bytes] = {}
        self.weights: dict[str, float] = {}
        self.calls: list[tuple[str, Any]] = []

    error: ParallaxError | None

    def _called(self, name: str, what: Any = None) -> None:
        self.calls.append((name, what))
        self.clock.wait(self.takes_s)
        if self.error is not None:
            raise self.error

    def submit(  # type: ignore[override]
        self, jobs: Sequence[Job], *, own_streams: bool = False,
        bodies: Mapping[str, bytes] | None = None, times: int = 5,
    ) -> list[Receipt]:  # fmt: skip
        self._called("submit", times)
        self.jobs |= {job.id: job for job in jobs}
        self.accepted |= {job.id: self.clock.now() for job in jobs}
        self.bodies |= bodies or {}
        return [Receipt(job.id, Submitted.OK, "1-0") for job in jobs]

    def news(self, block_ms: int) -> list[Completion]:
        self._called("news", block_ms)
        told, self.ended = self.ended, []
        if not told:
            self.clock.wait(block_ms / 1000)
        return told

    def follow(self, job_id: str, cursor: str, block_ms: int) -> tuple[str, list[Notice]]:
        self._called("follow", cursor)
        told = [notice for notice in self.told if notice.job_id == job_id]
        if not told:
            self.clock.wait(block_ms / 1000)
        return ("7-0" if told else cursor), told

    def records(self, job_ids: Sequence[str]) -> list[Record | None]:
        self._called("records", list(job_ids))
        return [self._of(job_id) for job_id in job_ids]

    def _of(self, job_id: str) -> Record | None:
        job = self.jobs.get(job_id)
        return None if job is None else Record(
            job_id, job.tenant, State.QUEUED, 1, self.accepted[job_id], job.prompt_tokens, 9, "",
            "w", "", None, None, None, Report(),
        )  # fmt: skip

    def answers(self, job_ids: Sequence[str]) -> list[bytes | None]:
        self._called("answers", list(job_ids))
        return [self.kept.get(job_id) for job_id in job_ids]

    def cancel(self, job_id: str) -> Cancelled:
        self._called("cancel", job_id)
        return Cancelled.OK if self.jobs.pop(job_id, None) else Cancelled.UNKNOWN

    def counts(self) -> dict[str, int]:
        self._called("counts")
        return {"accepted": len(self.jobs), f"of {self._keys.cell}": 1}

    def set_weights(self, weights: Mapping[str, float]) -> None:
        self._called("set_weights")
        self.weights |= weights

    def ping(self) -> None:
        self._called("ping")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_000.0)


@pytest.fixture
def stubs(clock: ManualClock) -> dict[str, Stub]:
    return {name: Stub(name, clock) for name in NAMES}


@pytest.fixture
def cells(stubs: dict[str, Stub], clock: ManualClock) -> Cells:
    return Cells(stubs, clock=clock)


def tenant_of(cells: Cells, cell: str, place: int = 0) -> str:
    """Return a tenant that lives there."""
    return [f"t{n}" for n in range(1_000) if cells.home(f"t{n}") == cell][place]


def job(name: str, tenant: str, prompt_tokens: int = 5) -> Job:
    return Job(name, tenant, prompt_tokens, 9)


def one_each(cells: Cells) -> list[Job]:
    return [job(f"j{cell}", tenant_of(cells, cell)) for cell in NAMES]


def silent(stub: Stub, takes_s: float = 0.0) -> None:
    stub.error, stub.takes_s = Unreachable("Redis does not answer: no"), takes_s


# -- submitting


def test_jobs_go_home_and_receipts_keep_their_order(cells: Cells, stubs: dict[str, Stub]) -> None:
    jobs = [job(f"j{n}", f"t{n % 17}") for n in range(100)]
    bodies = {f"j{n}": b"%d" % n for n in range(0, 100, 2)}
    receipts = cells.submit(jobs, bodies=bodies)
    assert [receipt.job_id for receipt in receipts] == [one.id for one in jobs]
    for cell, stub in stubs.items():
        assert list(stub.jobs.values()) == [one for one in jobs if cells.home(one.tenant) == cell]
        assert stub.bodies == {i: bodies[i] for i in stub.jobs if i in bodies}
        assert stub.jobs
    assert sum(len(stub.calls) for stub in stubs.values()) == len(NAMES)


def test_a_silent_cell_takes_no_receipts_of_others(cells: Cells, stubs: dict[str, Stub]) -> None:
    silent(stubs["b"])
    receipts = cells.submit(one_each(cells))
    assert [receipt.word for receipt in receipts] == ["ok", "unknown", "ok"]
    error = receipts[1].error()
    assert isinstance(error, Unreachable)
    assert "cell b" in str(error)
    assert not receipts[1].accepted


def test_if_all_are_silent_each_job_is_unknown(cells: Cells, stubs: dict[str, Stub]) -> None:
    for stub in stubs.values():
        silent(stub)
    assert {receipt.word for receipt in cells.submit(one_each(cells))} == {"unknown"}


@pytest.mark.parametrize(
    ("error", "word"), [(StoreFull("no memory"), "store_full"), (StoreFault("odd"), "fault")]
)
def test_other_failures_are_told_as_what_they_are(
    cells: Cells, stubs: dict[str, Stub], error: ParallaxError, word: str
) -> None:
    stubs["a"].error = error
    receipts = cells.submit(one_each(cells))
    assert [receipt.word for receipt in receipts] == [word, "ok", "ok"]
    assert type(receipts[0].error()) is type(error)


def test_a_silent_cell_rests_and_is_asked_once_then(
    cells: Cells, stubs: dict[str, Stub], clock: ManualClock
) -> None:
    silent(stubs["b"], takes_s=2.0)
    jobs = one_each(cells)
    cells.submit(jobs)
    asked = len(stubs["b"].calls)
    clock.wait(module.REST * 2.0 - 0.1)
    assert cells.submit(jobs)[1].word == "unknown"
    assert len(stubs["b"].calls) == asked  # left alone
    clock.wait(0.2)
    cells.submit(jobs)
    assert [times for _, times in stubs["b"].calls] == [module.TIMES, 1]
    stubs["b"].error = None
    clock.wait(module.MOST_REST_S)
    assert cells.submit(jobs)[1].word == "ok"
    assert [times for _, times in stubs["b"].calls] == [module.TIMES, 1, 1]
    cells.submit(jobs)
    assert stubs["b"].calls[-1] == ("submit", module.TIMES)


@pytest.mark.dear
def test_waiting_for_a_silent_cell_takes_a_fifth_of_the_time_at_most(
    cells: Cells, stubs: dict[str, Stub], clock: ManualClock
) -> None:
    silent(stubs["c"], takes_s=1.5)
    start, job_of_a = clock.monotonic(), one_each(cells)
    while clock.monotonic() - start < 300.0:
        cells.submit(job_of_a)
        clock.wait(0.05)  # other work
    lost = 1.5 * len(stubs["c"].calls)
    assert lost <= 300.0 / 5 + 1.5


# -- hearing


def test_news_of_every_cell_are_heard(cells: Cells, stubs: dict[str, Stub]) -> None:
    for cell, stub in stubs.items():
        stub.ended = [Completion(f"j{cell}", Outcome.COMPLETED)]
    assert sorted(end.job_id for end in cells.news(0)) == ["ja", "jb", "jc"]
    assert cells.news(0) == []


def test_the_wait_is_split_and_bounded(
    cells: Cells, stubs: dict[str, Stub], clock: ManualClock
) -> None:
    assert cells.news(300) == []
    assert clock.monotonic() == pytest.approx(1_000.3, abs=0.002)
    waits = {cell: sum(ms for _, ms in stub.calls) for cell, stub in stubs.items()}
    assert waits == pytest.approx({"a": 100, "b": 100, "c": 100}, abs=1)
    assert max(ms for stub in stubs.values() for _, ms in stub.calls) <= module.SLICE_MS


def test_news_go_on_when_a_cell_is_silent_and_end_when_all_are(
    cells: Cells, stubs: dict[str, Stub], clock: ManualClock
) -> None:
    silent(stubs["a"])
    stubs["c"].ended = [Completion("jc", Outcome.FAILED)]
    assert [end.job_id for end in cells.news(50)] == ["jc"]
    for stub in stubs.values():
        silent(stub)
    with pytest.raises(Unreachable, match="cell a"):
        cells.news(50)


def test_each_job_is_waited_for_wherever_it_is(cells: Cells, stubs: dict[str, Stub]) -> None:
    for cell in "ab":
        stubs[cell].ended = [Completion(f"j{cell}", Outcome.COMPLETED)]
    silent(stubs["c"])
    assert {end.job_id for end in cells.wait(["ja", "jb", "jc"], 3.0)} == {"ja", "jb"}


# -- looking


def test_records_are_looked_for_in_all_cells(cells: Cells, stubs: dict[str, Stub]) -> None:
    cells.submit(one_each(cells))
    found = cells.records(["jc", "nobody", "ja"])
    assert [record and record.job_id for record in found] == ["jc", None, "ja"]
    assert all(len(stub.calls) == 2 for stub in stubs.values())  # submit, and one look


def test_what_a_silent_cell_may_have_is_not_called_unknown(
    cells: Cells, stubs: dict[str, Stub]
) -> None:
    cells.submit(one_each(cells))
    silent(stubs["b"])
    assert cells.records(["ja", "jc"])[0] is not None
    with pytest.raises(Unreachable, match="cell b"):
        cells.records(["ja", "jb"])
    with pytest.raises(Unreachable, match="cell b"):
        cells.cancel("nobody")
    assert cells.cancel("ja") == "ok"


def test_of_two_copies_the_one_accepted_last_is_told_and_both_are_cancelled(
    cells: Cells, stubs: dict[str, Stub], clock: ManualClock
) -> None:
    for cell, tokens in (("b", 1), ("a", 2)):  # the tenant moved from b to a
        stubs[cell].submit([job("again", "t", tokens)])
        clock.wait(1.0)
    (record,) = cells.records(["again"])
    assert record is not None
    assert record.prompt_tokens == 2
    assert cells.cancel("again") == "ok"
    assert not stubs["a"].jobs
    assert not stubs["b"].jobs
    assert cells.cancel("again") == "unknown"


def test_another_tenants_job_of_that_name_is_not_cancelled_with_it(
    cells: Cells, stubs: dict[str, Stub], clock: ManualClock
) -> None:
    stubs["a"].submit([job("same", "older")])
    clock.wait(1.0)
    stubs["b"].submit([job("same", "newer")])
    assert cells.cancel("same") == "ok"
    assert list(stubs["a"].jobs) == ["same"]
    assert not stubs["b"].jobs


def test_a_job_is_followed_in_its_cell(cells: Cells, stubs: dict[str, Stub]) -> None:
    cells.submit(one_each(cells))
    stubs["b"].told = [Notice("jb", "first", b"")]
    cursor, notices = cells.follow("jb", "", 100)
    assert (cursor, len(notices)) == ("b/7-0", 1)
    assert not any(name == "follow" for name, _ in stubs["a"].calls)
    cells.follow("jb", cursor, 100)
    assert stubs["b"].calls[-1] == ("follow", "7-0")


def test_a_job_without_a_record_is_followed_everywhere(
    cells: Cells, stubs: dict[str, Stub], clock: ManualClock
) -> None:
    assert cells.follow("nobody", "", 100) == ("", [])
    assert clock.monotonic() == pytest.approx(1_000.1, abs=0.002)
    stubs["c"].told = [Notice("nobody", "completed", b"")]
    cursor, notices = cells.follow("nobody", "", 100)
    assert (cursor, len(notices)) == ("c/7-0", 1)


def test_a_cursor_of_another_cell_is_refused(cells: Cells) -> None:
    with pytest.raises(InvalidInput, match="cursor: 'z/1-0'"):
        cells.follow("ja", "z/1-0", 0)


# -- the rest


def test_counts_add_up(cells: Cells, stubs: dict[str, Stub]) -> None:
    cells.submit(one_each(cells))
    assert cells.counts() == {"accepted": 3, "of a": 1, "of b": 1, "of c": 1}
    silent(stubs["a"])
    with pytest.raises(Unreachable, match="cell a"):
        cells.counts()


def test_weights_go_home(cells: Cells, stubs: dict[str, Stub]) -> None:
    weights = {f"t{n}": float(n + 1) for n in range(20)}
    cells.set_weights(weights)
    for cell, stub in stubs.items():
        assert stub.weights == {t: w for t, w in weights.items() if cells.home(t) == cell}
    silent(stubs["a"])
    with pytest.raises(Unreachable, match="cell a"):
        cells.set_weights({tenant_of(cells, "a"): 3.0, tenant_of(cells, "b"): 3.0})
    assert stubs["b"].weights[tenant_of(cells, "b")] == 3.0  # those that answer are told


def test_one_answer_is_enough_to_go_on(cells: Cells, stubs: dict[str, Stub]) -> None:
    silent(stubs["a"])
    silent(stubs["b"])
    cells.ping()
    silent(stubs["c"])
    with pytest.raises(Unreachable):
        cells.ping()


def test_weights_of_cells_decide_where_tenants_live() -> None:
    places = [CellAddress("a", "redis://127.0.0.1:1"), CellAddress("b", "redis://127.0.0.1:1", 9.0)]
    cells = Cells.to(places)
    homes = [cells.home(f"t{n}") for n in range(500)]
    assert 400 < homes.count("b") < 500
    cells.close()


def test_no_cells_are_refused() -> None:
    with pytest.raises(InvalidInput, match="at least one"):
        Cells({})
