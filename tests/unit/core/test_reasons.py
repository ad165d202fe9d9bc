"""One list of reasons: whoever refuses uses its words, and each word says what it means."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from parallax.broker.store.codec import Report, decode_report, encode
from parallax.broker.store.intake import Receipt
from parallax.core.errors import InvalidInput, Refused
from parallax.core.model import Rejection
from parallax.core.reasons import REASONS, Reason
from parallax.core.words import Submitted

SOURCE = Path(__file__).parents[3] / "parallax"


def said_by_policies() -> set[str]:
    """Return the reasons that admission policies and the line name in their source."""
    files = [*(SOURCE / "policies/admission").glob("*.py"), SOURCE / "scheduling/line.py"]
    found = [re.findall(r"Rejection\(\s*Reason\.(\w+)", file.read_text()) for file in files]
    return {Reason[name].value for names in found for name in names}


def test_every_reason_has_a_word_and_a_sentence_of_its_own() -> None:
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", reason.value) for reason in Reason)
    assert len({reason.sentence for reason in Reason}) == len(Reason)
    assert all(not reason.sentence.endswith(".") for reason in Reason)


def test_what_policies_say_is_the_list_of_what_admission_says() -> None:
    by_admission = {reason.value for reason in Reason if reason.by_admission}
    assert said_by_policies() == by_admission - {"policy"}
    six = {"rate_limited", "larger_than_burst", "overloaded", "saturated", "queue_delay",
           "hopeless"}  # fmt: skip
    assert six <= by_admission


def test_a_policy_may_say_the_word_itself_and_nothing_else() -> None:
    assert Rejection("queue_full").reason is Reason.QUEUE_FULL  # type: ignore[arg-type]
    for word in ("no idea", "deadline", ""):
        with pytest.raises(InvalidInput, match=r"reason.*known: tenant_queue_full, .*policy"):
            Rejection(word)  # type: ignore[arg-type]


def test_the_word_travels_with_the_report() -> None:
    report = Report("acme", error="rejected: overloaded", reason=Reason.OVERLOADED)
    assert decode_report(encode(report)).reason == Reason.OVERLOADED


@pytest.mark.parametrize("word", ["UPPER", "two words", "x" * 65, "\u001b[31m"])
def test_a_report_takes_no_prose_for_a_word(word: str) -> None:
    with pytest.raises(InvalidInput, match="reason"):
        decode_report(encode(Report("acme", reason=word)))


@pytest.mark.parametrize(
    ("detail", "reason", "said"),
    [("7", Reason.TENANT_QUEUE_FULL, "7 jobs"), ("0", Reason.TENANTS_FULL, "as many tenants")],
)
def test_the_door_of_the_store_says_a_reason_too(detail: str, reason: Reason, said: str) -> None:
    error = Receipt("j1", Submitted.FULL, detail).error()
    assert isinstance(error, Refused)
    assert error.reason is reason
    assert said in str(error)
    assert error.retry_after_s > 0


def test_verdicts_of_workers_have_reasons() -> None:
    assert not any(reason.by_admission for reason in REASONS.values())


def test_every_reason_is_in_the_documentation_with_its_sentence() -> None:
    text = (SOURCE.parent / "docs/operations.md").read_text(encoding="utf-8")
    for reason in Reason:
        assert f"| `{reason.value}` | {reason.sentence} |" in text
