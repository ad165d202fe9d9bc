"""How long failed attempts rest, and which ones fail on purpose."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallax.broker.store.attempts import Assignment, Attempt, Finish
from parallax.broker.store.codec import Report
from parallax.consumers.retries import Resting
from parallax.consumers.trouble import Failures, parsed_failures
from parallax.core.errors import InvalidInput

CAP_S = 5.0


def failed(job: str, attempt: int = 1) -> Finish:
    assignment = Assignment("1-0", job, str(attempt), 1.0, 1)
    return Finish(Attempt(assignment, "acme", "", 10, 20, 5, "", 0.0), "retry", Report())


@given(st.integers(1, 500), st.integers(0, 2**32))
def test_a_rest_is_at_most_the_doubled_base_and_never_beyond_the_cap(n: int, seed: int) -> None:
    resting = Resting(0.2, CAP_S, Random(seed))
    resting.add(failed("j", n), 100.0)
    due = resting.next_due()
    assert due is not None
    assert 100.0 <= due <= 100.0 + min(CAP_S, 0.2 * 2 ** (n - 1))


def test_what_failed_together_is_not_tried_again_together() -> None:
    resting = Resting(1.0, CAP_S, Random(1))
    for n in range(100):
        resting.add(failed(f"j{n}"), 0.0)
    halves = [len(resting.due(0.5)), len(resting.due(1.0))]
    assert sum(halves) == 100
    assert min(halves) > 30
    assert len(resting) == 0
    together = Resting(0.0, CAP_S, Random(1))  # the control: without a rest they come at once
    for n in range(100):
        together.add(failed(f"j{n}"), 0.0)
    assert len(together.due(0.0)) == 100


def test_what_rests_may_be_released_by_name_or_altogether() -> None:
    resting = Resting(1.0, CAP_S, Random(1))
    for name in "abc":
        resting.add(failed(name), 0.0)
    assert [f.attempt.job_id for f in resting.release(lambda f: f.attempt.job_id == "b")] == ["b"]
    assert sorted(f.attempt.job_id for f in resting.release()) == ["a", "c"]
    assert resting.next_due() is None


def test_a_share_of_executions_fails_and_another_attempt_draws_anew() -> None:
    failures = Failures(0.3)
    struck = [failures.strike(f"j{n}", 1) for n in range(2_000)]
    assert 0.25 < sum(struck) / len(struck) < 0.35
    assert struck == [failures.strike(f"j{n}", 1) for n in range(2_000)]
    assert struck != [failures.strike(f"j{n}", 2) for n in range(2_000)]
    assert not any(Failures().strike(f"j{n}", 1) for n in range(100))


def test_failures_are_read_from_text() -> None:
    assert parsed_failures("") == Failures()
    assert parsed_failures("0.02:7") == Failures(0.02, 7)
    for wrong in ("x", "0.1:y", "1.5", "-1"):
        with pytest.raises(InvalidInput):
            parsed_failures(wrong)
