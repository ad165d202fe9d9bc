"""What who submitted a job is told of its end: the same whichever way it was learned."""

from __future__ import annotations

from random import Random

import pytest

from parallax.broker.store.codec import Report, encode
from parallax.broker.store.results import Record
from parallax.core.clock import ManualClock
from parallax.core.lifecycle import Outcome, State
from parallax.producers.cli.jobs import shown
from parallax.producers.client.completion import Completion, Waiting

REPORT = Report("acme", "w1", 1, 10.0, 100, 11, 40, wait_s=2.0, prefill_s=0.5, service_s=1.5)


def record(report: Report, state: State = State.COMPLETED) -> Record:
    return Record(
        "j1", "acme", state, 1, 1_000.0, 100, 20, "", "w1", "", None, 1_002.0, 1_003.5, report
    )


def waited(
    *told: Completion, report: Report = REPORT, state: State = State.COMPLETED
) -> Completion:
    """Wait for j1, with these news and this record."""
    clock, news = ManualClock(1_000.0), [list(told)]

    def heard(_: set[str], block_ms: int) -> list[Completion]:
        clock.wait(block_ms / 1_000)
        return news.pop() if news else []

    waiting = Waiting(heard, lambda _: [record(report, state)], clock, Random(1))
    (end,) = waiting.each(["j1"], 10.0)
    return end


def test_the_report_of_a_job_that_had_ended_is_that_of_its_record() -> None:
    learned, told = waited(), waited(Completion("j1", Outcome.COMPLETED, encode(REPORT)))
    assert learned.report == told.report == REPORT
    assert learned.report.output_tokens == 11


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_end_is_learned_with_its_report(outcome: Outcome) -> None:
    report = Report("acme", error="so it was", reason="deadline")
    end = waited(report=report, state=State(outcome.value))
    assert (end.outcome, end.report) == (outcome, report)


def test_time_to_first_token_counts_from_acceptance_wherever_it_is_shown() -> None:
    told = shown(REPORT)
    assert told["ttft_s"] == REPORT.ttft_s == record(REPORT).ttft_s == 2.5
    assert told["wait_s"] == record(REPORT).queue_wait_s == 2.0
    assert not {"prefill_s", "first_s", "v"} & told.keys()


def test_a_first_token_that_another_worker_gave_counts_from_acceptance() -> None:
    handed_over = Report("acme", "w2", 2, wait_s=3.0, prefill_s=0.1, service_s=1.0, first_s=0.7)
    assert shown(handed_over)["ttft_s"] == record(handed_over).ttft_s == 0.7


def test_what_says_nothing_is_not_shown() -> None:
    told = shown(Report("acme", error="rejected: overloaded", reason="overloaded"))
    assert "ttft_s" not in told
    assert (told["error"], told["reason"]) == ("rejected: overloaded", "overloaded")
