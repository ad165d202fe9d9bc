"""What who submitted a job is told of its end: the same whichever way it was learned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import pytest

from parallax.broker.store.codec import Report, encode
from parallax.broker.store.results import Notice, Record
from parallax.core.clock import ManualClock
from parallax.core.errors import Unreachable
from parallax.core.lifecycle import Outcome, State
from parallax.producers.cli.lines import said_by
from parallax.producers.client.completion import Completion, Waiting

REPORT = Report("acme", "w1", 1, 10.0, 100, 11, 40, wait_s=2.0, prefill_s=0.5, service_s=1.5)


def record(report: Report, state: State = State.COMPLETED) -> Record:
    return Record(
        "j1", "acme", state, 1, 1_000.0, 100, 20, "", "w1", "", None, 1_002.0, 1_003.5, report
    )


def waited(
    *told: Completion, report: Report = REPORT, state: State = State.COMPLETED,
    answers: Callable[[Sequence[str]], list[bytes | None]] = lambda ids: [None] * len(ids),
) -> Completion:  # fmt: skip
    """Wait for j1, with these news, this record and these answers."""
    clock, news = ManualClock(1_000.0), [list(told)]

    def heard(_: set[str], block_ms: int) -> list[Completion]:
        clock.wait(block_ms / 1_000)
        return news.pop() if news else []

    waiting = Waiting(heard, lambda _: [record(report, state)], answers, clock, Random(1))
    (end,) = waiting.each(["j1"], 10.0)
    return end


def test_the_report_of_a_job_that_had_ended_is_that_of_its_record() -> None:
    learned, told = waited(), waited(Completion("j1", Outcome.COMPLETED, encode(REPORT)))
    assert learned.report == told.report == REPORT
    assert learned.report.output_tokens == 11


CHAT = b'{"choices":[{"index":0,"message":{"content":"hello"}}]}'


def test_an_answer_is_told_just_before_its_end() -> None:
    data = encode(REPORT)
    told = [
        Notice("j1", "first", b""), Notice("j1", "answer", CHAT), Notice("j2", "completed", data),
        Notice("j1", "completed", data), Notice("j1", "completed", data),
    ]  # fmt: skip
    assert Completion.told(told) == [
        Completion("j2", Outcome.COMPLETED, data),
        Completion("j1", Outcome.COMPLETED, data, CHAT),
        Completion("j1", Outcome.COMPLETED, data),
    ]


def test_the_text_of_an_answer_is_what_a_chat_says() -> None:
    assert Completion("j1", Outcome.COMPLETED, b"", CHAT).text == "hello"
    assert Completion("j1", Outcome.COMPLETED, b"", b"hello").text is None
    assert Completion("j1", Outcome.COMPLETED).text is None


def test_who_learns_of_an_end_from_its_record_gets_the_answer_that_is_kept() -> None:
    assert waited(answers=lambda ids: [CHAT for _ in ids]).answer == CHAT
    assert waited().answer == b""


def test_an_answer_that_came_while_records_were_read_is_not_lost() -> None:
    clock, told = ManualClock(1_000.0), [Completion("j1", Outcome.COMPLETED, b"", CHAT)]
    ended: list[Record] = []

    def heard(_: set[str], block_ms: int) -> list[Completion]:
        clock.wait(block_ms / 1_000)
        return [told.pop()] if ended and told else []

    def records(_: Sequence[str]) -> list[Record | None]:
        ended.append(record(REPORT))  # just now
        return [*ended]

    waiting = Waiting(heard, records, lambda ids: [None for _ in ids], clock, Random(1))
    assert [end.answer for end in waiting.each(["j1"], 10.0)] == [CHAT]


def test_a_job_that_did_not_complete_is_asked_for_no_answer() -> None:
    def answers(ids: Sequence[str]) -> list[bytes | None]:
        pytest.fail(f"asked for {ids}")

    assert waited(state=State.FAILED, answers=answers).outcome is Outcome.FAILED


def test_an_answer_that_cannot_be_read_now_is_read_at_the_next_look() -> None:
    silent = [Unreachable("nobody there")]

    def answers(ids: Sequence[str]) -> list[bytes | None]:
        if silent:
            raise silent.pop()
        return [CHAT for _ in ids]

    assert waited(answers=answers).answer == CHAT


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_end_is_learned_with_its_report(outcome: Outcome) -> None:
    report = Report("acme", error="so it was", reason="deadline")
    end = waited(report=report, state=State(outcome.value))
    assert (end.outcome, end.report) == (outcome, report)


def test_time_to_first_token_counts_from_acceptance_wherever_it_is_said_by() -> None:
    told = said_by(REPORT)
    assert told["ttft_s"] == REPORT.ttft_s == record(REPORT).ttft_s == 2.5
    assert told["wait_s"] == record(REPORT).queue_wait_s == 2.0
    assert not {"prefill_s", "first_s", "v"} & told.keys()


def test_a_first_token_that_another_worker_gave_counts_from_acceptance() -> None:
    handed_over = Report("acme", "w2", 2, wait_s=3.0, prefill_s=0.1, service_s=1.0, first_s=0.7)
    assert said_by(handed_over)["ttft_s"] == record(handed_over).ttft_s == 0.7


def test_what_says_nothing_is_not_said_by() -> None:
    told = said_by(Report("acme", error="rejected: overloaded", reason="overloaded"))
    assert "ttft_s" not in told
    assert (told["error"], told["reason"]) == ("rejected: overloaded", "overloaded")
