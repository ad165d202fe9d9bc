"""What is read back of jobs: records, news, totals; junk in the store is never a crash."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.codec import Report, encode
from parallax.broker.store.intake import Ending, Intake, Receipt, Unasked
from parallax.broker.store.keys import Keys
from parallax.broker.store.limits import Limits
from parallax.broker.store.results import Notice, Record, Results
from parallax.core.errors import (
    Conflict,
    InvalidInput,
    ParallaxError,
    Refused,
    StoreFault,
    StoreFull,
    Unreachable,
)
from parallax.core.lifecycle import TERMINAL, Outcome, State
from parallax.core.model import Job
from parallax.core.words import Submitted

KEYS = Keys("test")
JOB = Job("j1", "acme", 10, 20, "s1", 5, 30.0)
DONE = Record(
    "j1", "acme", State.COMPLETED, 1, 100.0, 10, 20, "s1", "w1", "inbox", None, 102.0, 105.0,
    Report(prefill_s=0.5),
)  # fmt: skip


@pytest.fixture
def link(server_url: str) -> Iterator[Link]:
    made = Link.to(server_url)
    yield made
    made.close()


@pytest.fixture
def results(link: Link) -> Results:
    return Results(link, KEYS)


@pytest.fixture
def intake(link: Link) -> Intake:
    return Intake(link, KEYS)


# -- records


def test_a_record_says_what_was_submitted(intake: Intake, results: Results) -> None:
    intake.submit([JOB], "inbox-1")
    (record,) = results.records(["j1"])
    assert record is not None
    assert (record.job_id, record.tenant, record.session) == ("j1", "acme", "s1")
    assert (record.prompt_tokens, record.max_tokens, record.reply) == (10, 20, "inbox-1")
    assert (record.state, record.outcome, record.attempts) == (State.QUEUED, None, 0)
    assert (record.worker, record.started, record.finished) == ("", None, None)
    assert record.deadline == pytest.approx(record.accepted + 30.0, abs=0.01)
    assert record.report == Report()


def test_records_come_in_the_order_asked_for_and_none_is_none(
    intake: Intake, results: Results
) -> None:
    intake.submit([JOB, Job("j2", "bob", 1, 2)])
    found = results.records(["j2", "nobody", "j1"])
    assert [record.tenant if record else None for record in found] == ["bob", None, "acme"]


def test_asking_for_no_records_asks_nothing(results: Results) -> None:
    assert results.records([]) == []


def test_the_record_of_an_ended_job_says_how_it_ended(intake: Intake, results: Results) -> None:
    intake.submit([JOB])
    intake.terminate([Ending("j1", "acme", Outcome.CANCELLED, Report("acme", error="by hand"))])
    (record,) = results.records(["j1"])
    assert record is not None
    assert (record.state, record.outcome) == (State.CANCELLED, Outcome.CANCELLED)
    assert record.report.error == "by hand"
    assert record.finished is not None


@pytest.mark.parametrize("junk", [b"", b"junk", b"\xff", b"[]", b"9" * 30, b"a/b/c d e f g"])
def test_a_record_with_junk_in_any_field_is_no_record_or_a_valid_one(
    link: Link, intake: Intake, results: Results, junk: bytes
) -> None:
    intake.submit([JOB])
    names = link.call("HKEYS", KEYS.job("j1"))
    for name in names:
        before = link.call("HGET", KEYS.job("j1"), name)
        link.call("HSET", KEYS.job("j1"), name, junk)
        (record,) = results.records(["j1"])
        assert record is None or isinstance(record.state, State)
        link.call("HSET", KEYS.job("j1"), name, before)
    assert results.records(["j1"])[0] is not None


def test_a_key_of_another_type_is_no_record_and_is_set_aside(link: Link, results: Results) -> None:
    link.call("SET", KEYS.job("j1"), "text")
    assert results.records(["j1"]) == [None]
    ((_, letter),) = link.call("XRANGE", KEYS.dead, "-", "+")
    assert letter[1::2] == [b"a string where a hash must be", KEYS.job("j1").encode(), b"text"]
    assert results.counts() == {"malformed": 1}


def test_times_are_counted_from_acceptance() -> None:
    assert (DONE.queue_wait_s, DONE.ttft_s, DONE.e2e_s) == (2.0, 2.5, 5.0)


def test_what_has_not_happened_has_no_time() -> None:
    waiting = replace(DONE, state=State.QUEUED, started=None, finished=None)
    assert (waiting.queue_wait_s, waiting.ttft_s, waiting.e2e_s) == (None, None, None)
    assert replace(DONE, report=Report()).ttft_s is None


@pytest.mark.parametrize("state", State)
def test_only_a_terminal_state_is_an_outcome(state: State) -> None:
    outcome = replace(DONE, state=state).outcome
    assert (outcome is not None) == (state in TERMINAL)
    assert outcome is None or outcome.value == state.value


# -- news


def test_news_come_once_in_order(intake: Intake, results: Results) -> None:
    jobs = [Job(f"j{n}", "acme", 1, 2) for n in range(3)]
    intake.submit(jobs, "inbox")
    cursor, news = results.follow("inbox", "", 0)
    assert news == []
    ends = [Ending(job.id, "acme", Outcome.CANCELLED, reply="inbox") for job in jobs]
    intake.terminate(ends[:2])
    cursor, news = results.follow("inbox", cursor, 0)
    assert [(n.job_id, n.outcome) for n in news] == [
        ("j0", Outcome.CANCELLED), ("j1", Outcome.CANCELLED),
    ]  # fmt: skip
    intake.terminate(ends[2:])
    cursor, news = results.follow("inbox", cursor, 0)
    assert [n.job_id for n in news] == ["j2"]
    assert results.follow("inbox", cursor, 0) == (cursor, [])


def test_forgotten_news_are_gone(intake: Intake, results: Results) -> None:
    intake.submit([JOB], "inbox")
    intake.terminate([Ending("j1", "acme", Outcome.CANCELLED, reply="inbox")])
    results.forget("inbox")
    results.forget("inbox")
    assert results.follow("inbox", "", 0)[1] == []


def test_junk_in_the_stream_is_no_outcome(link: Link, results: Results) -> None:
    link.call("XADD", KEYS.out("inbox"), "*", b"\xff", b"\xff \x00", "j1", "completed")
    _, news = results.follow("inbox", "", 0)
    assert [n.outcome for n in news] == [None, Outcome.COMPLETED]


@pytest.mark.parametrize("word", ["first", "tokens", "queued", "", "COMPLETED"])
def test_progress_is_no_outcome(word: str) -> None:
    assert Notice("j1", word, b"").outcome is None


def test_a_notice_carries_its_report() -> None:
    report = Report("acme", "w1", output_tokens=5)
    assert Notice("j1", "completed", encode(report)).report == report
    told = Notice("j1", "completed", b"junk").report
    assert told.error.startswith("its result cannot be understood")


def test_totals_are_counted(intake: Intake, results: Results) -> None:
    assert results.counts() == {}
    intake.submit([JOB, Job("j2", "bob", 1, 2)])
    intake.terminate([Ending("j2", "bob", Outcome.CANCELLED)])
    counts = results.counts()
    assert counts["accepted"] == 2
    assert counts["cancelled"] == 1


# -- receipts


@pytest.mark.parametrize("word", [Submitted.OK, Submitted.DUP])
def test_an_accepted_job_has_no_error(word: Submitted) -> None:
    receipt = Receipt("j1", word, "1-0")
    assert receipt.accepted
    assert receipt.error() is None


@pytest.mark.parametrize(
    ("word", "detail", "kind"),
    [
        (Submitted.CONFLICT, "completed", Conflict),
        (Submitted.TOO_BIG, "2000000", InvalidInput),
        (Submitted.FULL, "100000", Refused),
        (Submitted.BAD_STREAM, "acme", StoreFault),
        (Submitted.BAD_JOB, "j1", StoreFault),
        (Unasked.UNKNOWN, "silent", Unreachable),
        (Unasked.STORE_FULL, "full", StoreFull),
        (Unasked.FAULT, "odd", StoreFault),
    ],
)
def test_a_refused_job_has_the_error_that_fits(
    word: Submitted | Unasked, detail: str, kind: type[ParallaxError]
) -> None:
    receipt = Receipt("j1", word, detail)
    error = receipt.error()
    assert not receipt.accepted
    assert type(error) is kind
    assert detail in str(error)


def test_a_full_queue_says_when_to_try_again() -> None:
    error = Receipt("j1", Submitted.FULL, "5").error()
    assert isinstance(error, Refused)
    assert error.retry_after_s > 0


def test_no_jobs_ask_nothing() -> None:
    nowhere = Intake(Link.to("redis://127.0.0.1:1"), KEYS)
    assert nowhere.submit([]) == []
    assert nowhere.terminate([]) == []


# -- limits


@pytest.mark.sampled(12)
@pytest.mark.parametrize("name", Limits.__dataclass_fields__)
@pytest.mark.parametrize("value", [0, -1, 10**13, 1.5, True, None])
def test_every_limit_is_a_positive_whole_number(name: str, value: int) -> None:
    with pytest.raises(InvalidInput, match=name):
        Limits(**{name: value})
