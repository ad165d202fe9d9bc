"""The codec refuses what it does not know, with InvalidInput alone, and all else survives it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from math import inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallax.broker.store.attempts import decode_assignment
from parallax.broker.store.codec import (
    VERSION,
    About,
    Registration,
    Report,
    decode_about,
    decode_arrival,
    decode_registration,
    decode_report,
    encode,
    usage_of,
)
from parallax.broker.store.dispatch import Entry
from parallax.broker.store.specs import spec_of, ticket_of
from parallax.core.errors import InvalidInput
from parallax.core.model import MAX_TOKENS, Job, Usage
from tests.examples import examples
from tests.unit.broker.messages import (
    ABOUT,
    ARRIVAL,
    ASSIGNMENT,
    SPEC,
    Decoder,
    arrived,
    assigned,
    each_decoder,
)

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
TOKENS = st.integers(0, MAX_TOKENS)
SECONDS = st.none() | st.floats(0, 1e9)
JOBS = st.builds(
    Job,
    id=NAMES,
    tenant=NAMES,
    prompt_tokens=TOKENS,
    max_tokens=st.just(MAX_TOKENS),
    session=st.just("") | NAMES,
    output_tokens=st.none() | TOKENS,
    deadline_s=st.none() | st.floats(0.001, 1e6),
    priority=st.integers(-100, 100),
)
REPORTS = st.builds(
    Report,
    tenant=NAMES,
    worker=NAMES,
    attempt=st.integers(0, 1_000_000),
    estimate=st.floats(0, 1e12),
    prompt_tokens=TOKENS,
    output_tokens=TOKENS,
    cached_tokens=TOKENS,
    wait_s=SECONDS,
    prefill_s=SECONDS,
    service_s=SECONDS,
    error=st.text(st.characters(codec="utf-8"), max_size=50),
    retry_after_s=SECONDS,
)
REGISTRATIONS = st.builds(
    Registration,
    v=st.just(VERSION),
    slots=st.integers(1, 100_000),
    engine=NAMES,
    kv_capacity=TOKENS,
    weight=st.floats(0.001, 1e6),
    about=st.dictionaries(NAMES, NAMES | st.integers(-(2**60), 2**60), max_size=3),
)


def survives(decode: Callable[[Any], object], data: object) -> None:
    """Decode; the only refusal is InvalidInput, which says what is allowed."""
    with contextlib.suppress(InvalidInput):
        assert decode(data) is not None


@st.composite
def mutated(draw: st.DrawFn, valid: bytes) -> bytes:
    """Return a valid ASCII message with a few bytes replaced, inserted or cut out."""
    data = bytearray(valid)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        piece = draw(st.sampled_from([b"", b'"', b"{", b"}", b",", b"-", b"9", b"e9", b"null",
                                      b"\\", b" ", b"\x00", b"true", b"1.5", b"[1]"]))  # fmt: skip
        data[at : at + draw(st.integers(0, 5))] = piece
    return bytes(data)


# -- arbitrary and mutated input


@each_decoder
@settings(max_examples=examples(50), deadline=None)
@given(data=st.data())
def test_arbitrary_bytes_are_decoded_or_refused(
    decode: Decoder, valid: bytes, data: st.DataObject
) -> None:
    survives(decode, data.draw(st.binary(max_size=200)))


@each_decoder
@settings(max_examples=examples(100), deadline=None)
@given(data=st.data())
def test_a_mutated_message_is_decoded_or_refused(
    decode: Decoder, valid: bytes, data: st.DataObject
) -> None:
    survives(decode, data.draw(mutated(valid)))


@each_decoder
@settings(max_examples=examples(50), deadline=None)
@given(data=st.data())
def test_arbitrary_json_is_decoded_or_refused(
    decode: Decoder, valid: bytes, data: st.DataObject
) -> None:
    names = st.sampled_from(["v", "slots", "engine", "about", "weight"])
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    values = (
        st.lists(leaves | st.lists(leaves, max_size=2), max_size=13)
        | st.dictionaries(names, leaves | st.dictionaries(names, leaves, max_size=2), max_size=5)
        | leaves
    )
    text = json.dumps(data.draw(values)).encode()
    survives(decode, text)
    survives(decode, valid.replace(SPEC, text))


@settings(max_examples=examples(100), deadline=None)
@given(
    fields=st.lists(st.sampled_from([b"j", b"J", b"", b"\xff", ARRIVAL, ASSIGNMENT]), max_size=5)
)
def test_an_entry_of_arbitrary_fields_is_decoded_or_refused(fields: list[bytes]) -> None:
    survives(decode_arrival, fields)
    survives(decode_assignment, Entry("1-1", fields))


@settings(max_examples=examples(200), deadline=None)
@given(
    place=st.integers(0, 4),
    value=st.binary(max_size=20) | st.integers().map(lambda n: str(n).encode()),
)
def test_one_arbitrary_part_is_decoded_or_refused(place: int, value: bytes) -> None:
    for decode, valid in (arrived, ARRIVAL), (assigned, ASSIGNMENT), (decode_about, ABOUT):
        parts = valid.split(b" ")
        parts[min(place, len(parts) - 1)] = value
        survives(decode, b" ".join(parts))


@each_decoder
def test_deeply_nested_junk_is_refused(decode: Decoder, valid: bytes) -> None:
    deep = (b"[" * 100_000, b'{"about":' * 100_000, b'[1,"a",' + b"[" * 100_000)
    for junk in (*deep, *(valid.replace(SPEC, text) for text in deep if SPEC in valid)):
        with pytest.raises(InvalidInput):
            decode(junk)


@each_decoder
@pytest.mark.parametrize(
    "junk",
    [b"\xff", b'["\xff"]', b'["x","\xff"]', b'{"tenant":"\xff"}', b'[1,"acme",1,2,"\xff\xfe"]',
     b'{"v":"x","engine":"\xff"}', b'{"nope":1,"engine":"\xff"}'],
)  # fmt: skip
def test_what_is_not_utf_8_is_refused(decode: Decoder, valid: bytes, junk: bytes) -> None:
    with pytest.raises(InvalidInput):
        decode(valid.replace(SPEC, junk) if SPEC in valid else junk)


# -- round trips


@settings(max_examples=examples(50), deadline=None)
@given(job=JOBS, accepted=st.integers(1, 2**50), attempt=st.integers(0, 1000))
def test_a_job_arrives_as_it_was_sent(job: Job, accepted: int, attempt: int) -> None:
    due = None if job.deadline_s is None else accepted + int(job.deadline_s * 1000)
    head = f"{job.id} {accepted} {'-' if due is None else due} {attempt} ".encode()
    view = arrived(head + spec_of(job))
    assert (view.id, view.tenant, view.session) == (job.id, job.tenant, job.session)
    assert (view.prompt_tokens, view.max_tokens) == (job.prompt_tokens, job.max_tokens)
    assert (view.priority, view.attempt) == (job.priority, attempt)
    assert view.arrival == accepted / 1000
    assert view.deadline == (inf if due is None else due / 1000)


@settings(max_examples=examples(50), deadline=None)
@given(report=REPORTS)
def test_a_report_survives_the_wire(report: Report) -> None:
    assert decode_report(encode(report)) == report


@settings(max_examples=examples(50), deadline=None)
@given(registration=REGISTRATIONS)
def test_a_registration_survives_the_wire(registration: Registration) -> None:
    assert decode_registration(encode(registration)) == registration


def about(job: Job, body: bytes = b"", reply: str = "") -> About:
    return decode_about(f"1500 {ticket_of(job, body, reply)} ".encode() + spec_of(job))


@settings(max_examples=examples(50), deadline=None)
@given(job=JOBS, reply=st.just("") | NAMES, body=st.binary(max_size=20))
def test_what_a_record_says_survives_the_wire(job: Job, reply: str, body: bytes) -> None:
    read = about(job, body, reply)
    assert (read.accepted, read.reply, read.body_bytes) == (1.5, reply, len(body))
    assert read.output_tokens == job.output_tokens
    assert read.spec.tenant == job.tenant


def test_an_assignment_is_read_as_it_was_written() -> None:
    read = assigned(ASSIGNMENT)
    assert (read.entry, read.job_id, read.attempt, read.estimate) == ("9-1", "j1", "2", 10.5)
    assert read.signature("w1") == "w1/2/9-1"


def test_the_scheduler_is_not_told_the_true_length() -> None:
    assert b"777" not in spec_of(Job("j", "acme", 1, 4096, output_tokens=777))


# -- the digest: equal jobs are one job, others are a conflict

BASE = Job("j", "acme", 10, 20, "s", 5, 30.0, 1)


def digest(job: Job, body: bytes = b"") -> str:
    return about(job, body).digest


def test_the_same_job_has_the_same_digest_whoever_waits_for_it() -> None:
    again = Job("j", "acme", 10, 20, "s", 5, 30.0, 1)
    assert digest(BASE) == digest(again) == about(again, reply="inbox").digest


@pytest.mark.parametrize(
    "other",
    [
        Job("j", "bob", 10, 20, "s", 5, 30.0, 1),
        Job("j", "acme", 11, 20, "s", 5, 30.0, 1),
        Job("j", "acme", 10, 21, "s", 5, 30.0, 1),
        Job("j", "acme", 10, 20, "t", 5, 30.0, 1),
        Job("j", "acme", 10, 20, "s", 6, 30.0, 1),
        Job("j", "acme", 10, 20, "s", None, 30.0, 1),
        Job("j", "acme", 10, 20, "s", 5, None, 1),
        Job("j", "acme", 10, 20, "s", 5, 30.0, 2),
    ],
)
def test_another_content_has_another_digest(other: Job) -> None:
    assert digest(BASE) != digest(other)


def test_another_body_has_another_digest() -> None:
    assert digest(BASE, b"one") != digest(BASE, b"two")


def test_usage_is_what_the_report_says() -> None:
    assert usage_of(Report(prompt_tokens=9, output_tokens=4, cached_tokens=2)) == Usage(9, 4, 2)
    assert usage_of(Report(prefill_s=0.5, service_s=1.5)) == Usage(0, 0, 0, 1.5, 0.5)
