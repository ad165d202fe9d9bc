"""A run offers jobs at their times and notices every job that is lost, open or ended twice."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

import pytest

from parallax.broker.store.codec import Report, encode
from parallax.broker.store.intake import Receipt, Unasked
from parallax.broker.store.results import Record
from parallax.core.clock import ManualClock
from parallax.core.errors import Unreachable
from parallax.core.lifecycle import Outcome, State
from parallax.core.model import Job
from parallax.core.words import Submitted
from parallax.producers.client.client import Client, Completion
from parallax.producers.load.drive import PATIENCE_S, Driver, Run

REPORT = Report(
    "acme", "w1", 1, 10.0, prompt_tokens=100, output_tokens=20, cached_tokens=30,
    wait_s=0.5, prefill_s=0.25, service_s=1.0,
)  # fmt: skip

WORDS = {word.value: word for words in (Submitted, Unasked) for word in words}


class Store(Client):
    """A client whose answers are written down beforehand; hearing nothing takes its time."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__("redis://127.0.0.1:1", clock=clock)
        self.clock = clock
        self.sent: list[tuple[float, list[str]]] = []
        self.refusals: dict[str, str] = {}
        self.told: dict[str, int] = {}  # how often the inbox tells of a job's end: usually once
        self.states: dict[str, State | None] = {}  # what the record says: usually completed
        self.outcomes: dict[str, Outcome] = {}
        self.failures = 0
        self.silent_until, self.of_silent_cell = 0.0, set[str]()
        self.submit_takes_s = 0.0
        self._inbox: list[Completion] = []

    def submit(  # type: ignore[override]
        self, jobs: Sequence[Job], **_: Any
    ) -> list[Receipt]:
        self.clock.wait(self.submit_takes_s)
        self.sent.append((self.clock.monotonic(), [job.id for job in jobs]))
        if self.failures:
            self.failures -= 1
            raise Unreachable("the reply was lost")
        words = [self.refusals.get(job.id, "ok") for job in jobs]
        if self.clock.monotonic() < self.silent_until:  # a cell of several, as `Cells` tells it
            words = ["unknown" if job.id in self.of_silent_cell else "ok" for job in jobs]
        told = zip(jobs, words, strict=True)
        receipts = [Receipt(job.id, WORDS[word], "5") for job, word in told]
        for receipt in receipts:
            if receipt.accepted:
                outcome = self.outcomes.get(receipt.job_id, Outcome.COMPLETED)
                end = Completion(receipt.job_id, outcome, encode(REPORT))
                self._inbox += [end] * self.told.get(receipt.job_id, 1)
        return receipts

    def news(self, block_ms: int) -> list[Completion]:
        self.clock.wait(block_ms / 1000)
        told, self._inbox = self._inbox, []
        return told

    def records(self, job_ids: Sequence[str]) -> list[Record | None]:
        return [self._record(job_id) for job_id in job_ids]

    def _record(self, job_id: str) -> Record | None:
        state = self.states.get(job_id, State.COMPLETED)
        if state is None:
            return None
        return Record(
            job_id, "acme", state, 1, 0.0, 100, 200, "", "w1", "inbox", None, 0.5, 1.5, REPORT
        )  # fmt: skip


@pytest.fixture
def store() -> Store:
    return Store(ManualClock(1_000.0))


def jobs(*times: float) -> list[tuple[float, Job]]:
    return [(at, Job(f"j{n}", "acme", 100, 200)) for n, at in enumerate(times)]


def ran(store: Store, *times: float, speed: float = 1.0) -> Run:
    driver = Driver(store, store.clock)
    driver.offer(jobs(*times), speed)
    driver.settle(5.0)
    driver.check()
    return driver.run


def promises(run: Run) -> tuple[int, int, int]:
    return run.lost, run.twice, run.open


def test_a_run_in_which_all_went_well(store: Store) -> None:
    run = ran(store, 0.0, 1.0, 2.0)
    assert promises(run) == (0, 0, 0)
    assert {s.outcome for s in run.samples.values()} == {Outcome.COMPLETED}


def test_a_job_told_of_twice_is_flagged(store: Store) -> None:
    store.told["j1"] = 2
    assert promises(ran(store, 0.0, 1.0, 2.0)) == (0, 1, 0)


def test_a_job_whose_record_vanished_is_lost(store: Store) -> None:
    store.told["j1"], store.states["j1"] = 0, None
    assert promises(ran(store, 0.0, 1.0, 2.0)) == (1, 0, 1)


def test_a_job_that_was_told_of_but_has_no_record_is_lost(store: Store) -> None:
    store.states["j0"] = None
    assert promises(ran(store, 0.0, 1.0)) == (1, 0, 0)


@pytest.mark.parametrize("state", [State.QUEUED, State.ASSIGNED, State.RUNNING])
def test_a_job_that_never_ends_is_open_and_lost(store: Store, state: State) -> None:
    store.told["j0"], store.states["j0"] = 0, state
    assert promises(ran(store, 0.0, 1.0)) == (1, 0, 1)


def test_an_end_the_inbox_did_not_tell_is_found_in_the_record(store: Store) -> None:
    store.told["j1"] = 0
    run = ran(store, 0.0, 1.0)
    assert promises(run) == (0, 0, 0)
    assert run.samples["j1"].outcome is Outcome.COMPLETED


@pytest.mark.parametrize(
    ("word", "reason"), [("full", "full"), ("conflict", "conflict"), ("too_big", "too_big")]
)
def test_a_refused_job_is_told_why_and_is_not_lost(store: Store, word: str, reason: str) -> None:
    store.refusals["j0"], store.states["j0"] = word, None
    run = ran(store, 0.0, 1.0)
    assert promises(run) == (0, 0, 0)
    assert run.samples["j0"].refused == reason


def test_a_job_submitted_again_after_a_lost_reply_counts_once(store: Store) -> None:
    store.failures = 2
    run = ran(store, 0.0)
    assert [ids for _, ids in store.sent] == [["j0"]] * 3
    assert promises(run) == (0, 0, 0)
    assert run.samples["j0"].told == 1


def test_jobs_of_a_silent_cell_are_offered_again_and_delay_no_others(store: Store) -> None:
    store.silent_until, store.of_silent_cell = 1_003.0, {"j1"}
    run = ran(store, 0.0, 0.5, 1.0, 2.0, 4.0)
    assert promises(run) == (0, 0, 0)
    firsts = {ids[0]: at - 1_000.0 for at, ids in reversed(store.sent) if len(ids) == 1}
    assert firsts == pytest.approx({"j0": 0, "j1": 0.5, "j2": 1, "j3": 2, "j4": 4}, abs=0.02)
    assert run.samples["j1"].submitted >= 3.0  # what it waited for the cell counts
    wait = run.samples["j1"].wait
    assert wait is not None
    assert wait >= 3.0 - 0.5


def test_a_cell_that_stays_silent_ends_the_run(store: Store) -> None:
    store.silent_until, store.of_silent_cell = inf, {"j0"}
    driver = Driver(store, store.clock)
    driver.offer(jobs(0.0))
    with pytest.raises(Unreachable, match="1 jobs could not be submitted"):
        driver.settle(10 * PATIENCE_S)


@pytest.mark.parametrize("speed", [0.5, 1.0, 10.0])
def test_jobs_are_submitted_at_their_times_divided_by_the_speed(store: Store, speed: float) -> None:
    ran(store, 0.0, 1.0, 2.5, speed=speed)
    assert [ids for _, ids in store.sent] == [["j0"], ["j1"], ["j2"]]
    sent = [at - 1_000.0 for at, _ in store.sent]
    assert sent == pytest.approx([0.0, 1.0 / speed, 2.5 / speed], abs=0.003)


def test_jobs_that_are_due_together_go_together(store: Store) -> None:
    ran(store, 0.0, 0.001, 0.002, 5.0)
    assert [ids for _, ids in store.sent] == [["j0", "j1", "j2"], ["j3"]]


def test_a_slow_store_does_not_slow_the_load_down_and_shows_in_the_latency(store: Store) -> None:
    store.submit_takes_s = 4.0
    run = ran(store, 0.0, 1.0)
    assert run.samples["j1"].due == 1.0
    assert run.samples["j1"].submitted == pytest.approx(4.0, abs=0.01)
    assert run.samples["j0"].e2e == pytest.approx(1.5)
    assert run.samples["j1"].e2e == pytest.approx(3.0 + 1.5, abs=0.01)
    assert run.samples["j1"].ttft == pytest.approx(3.0 + 0.75, abs=0.01)


def test_cached_tokens_cost_nothing(store: Store) -> None:
    driver = Driver(store, store.clock, cost=lambda prompt, output: prompt + 10 * output)  # type: ignore[arg-type]
    driver.offer(jobs(0.0))
    assert driver.run.samples["j0"].cost == (100 - 30) + 10 * 20


def test_only_completed_jobs_have_a_latency(store: Store) -> None:
    store.outcomes["j0"] = Outcome.FAILED
    sample = ran(store, 0.0).samples["j0"]
    assert (sample.outcome, sample.e2e, sample.ttft) == (Outcome.FAILED, None, None)


def test_on_every_tick_somebody_may_look(store: Store) -> None:
    ticks: list[int] = []
    driver = Driver(store, store.clock)
    driver.offer(jobs(0.0, 1.0), on_tick=lambda: ticks.append(len(driver.run.samples)))
    assert ticks[0] == 1
    assert ticks[-1] == 2


def test_a_load_without_jobs_is_over_at_once(store: Store) -> None:
    run = ran(store)
    assert promises(run) == (0, 0, 0)
    assert run.samples == {}
    assert run.ended_s < inf


def test_an_end_found_in_the_record_and_told_later_is_not_twice(store: Store) -> None:
    driver = Driver(store, store.clock)
    store.told["j0"] = 0
    store.told["j1"] = 0
    store.states["j1"] = None
    driver.offer(jobs(0.0, 0.0))
    driver.settle(2.0)  # the inbox is silent: j0 is found in its record, j1 stays open
    store._inbox.append(_end("j0"))
    driver.settle(1.0)
    assert driver.run.twice == 0


def _end(job_id: str) -> Completion:
    return Completion(job_id, Outcome.COMPLETED, b"")


# -- a run that is ended early --------------------------------------------------------------------


def test_what_is_open_in_an_interrupted_run_is_neither_lost_nor_broken(store: Store) -> None:
    store.told = {"j1": 0}
    store.states = {"j1": State.RUNNING}
    driver = Driver(store, store.clock)
    driver.offer([(0.0, Job("j0", "t", 1, 1)), (0.0, Job("j1", "t", 1, 1))])
    driver.interrupt()
    driver.check()
    run = driver.run
    assert (run.interrupted, run.open, run.lost, run.twice) == (True, 1, 0, 0)
    assert run.offered_s >= 0
    driver.run.interrupted = False  # the control: at the end of a run it would be lost
    driver.check()
    assert driver.run.lost == 1


def test_an_interrupted_run_has_a_result_without_a_store(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Driver(store, store.clock)
    driver.offer([(0.0, Job("j0", "t", 1, 1))])

    def silent(_: object) -> list[Record | None]:
        raise Unreachable("gone")

    monkeypatch.setattr(store, "records", silent)
    with pytest.raises(Unreachable):
        driver.check()
    driver.interrupt()
    driver.check()
    assert len(driver.run.samples) == 1
