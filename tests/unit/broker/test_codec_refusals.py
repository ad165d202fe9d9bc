"""What the codec refuses, and what its refusals say."""

from __future__ import annotations

import json

import pytest

from parallax.broker.store.attempts import decode_assignment
from parallax.broker.store.codec import (
    Report,
    decode_about,
    decode_arrival,
    decode_registration,
    decode_report,
    encode,
)
from parallax.broker.store.dispatch import Entry
from parallax.core.errors import InvalidInput
from parallax.core.model import MAX_TOKENS
from tests.unit.broker.messages import (
    ABOUT,
    ARRIVAL,
    ASSIGNMENT,
    SPEC,
    arrived,
    assigned,
)


@pytest.mark.parametrize(
    ("place", "field", "value"),
    [
        (0, "v", 2),
        (0, "v", 0),
        (0, "v", "1"),
        (1, "tenant", "a b"),
        (1, "tenant", "a\n"),
        (1, "tenant", ""),
        (1, "tenant", "x" * 65),
        (1, "tenant", None),
        (2, "prompt", -1),
        (2, "prompt", MAX_TOKENS + 1),
        (2, "prompt", "10"),
        (2, "prompt", True),
        (2, "prompt", 1.5),
        (3, "max", 0),
        (4, "session", None),
        (4, "session", "{x}"),
        (5, "priority", 101),
    ],
)
def test_a_refusal_names_field_and_value(place: int, field: str, value: object) -> None:
    fields = json.loads(SPEC)
    fields[place] = value
    with pytest.raises(InvalidInput) as caught:
        arrived(ARRIVAL.replace(SPEC, json.dumps(fields).encode()))
    assert (caught.value.field, caught.value.value) == (f"spec.{field}", value)
    assert caught.value.allowed


@pytest.mark.parametrize(
    "text", [b"", b"null", b"{}", b"[]", b"1", b'[1,"acme",1]', SPEC + b"x", SPEC[:-1],
             b'[1,"acme",1,2,"",0,"more"]'],
)  # fmt: skip
def test_a_spec_that_is_not_the_array_it_should_be_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidInput, match="spec"):
        arrived(ARRIVAL.replace(SPEC, text))


def test_an_unknown_field_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="colour"):
        decode_registration(b'{"v":1,"slots":1,"colour":"red"}')


@pytest.mark.parametrize("missing", ["v", "slots"])
def test_a_missing_field_is_refused_by_name(missing: str) -> None:
    fields = {name: 1 for name in ("v", "slots") if name != missing}
    with pytest.raises(InvalidInput, match=missing):
        decode_registration(json.dumps(fields).encode())


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "-1", "2e9"])
@pytest.mark.parametrize("place", [7, 8, 9, 11])
def test_times_are_finite_and_in_range(place: int, number: str) -> None:
    fields = encode(Report("acme", "w1")).decode().strip("[]").split(",")
    fields[place] = number
    with pytest.raises(InvalidInput):
        decode_report(f"[{','.join(fields)}]".encode())


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ((b"j1 ", b" "), "id"),
        ((b"j1", b"a{b}"), "id"),
        ((b"j1", b"j1\n"), "id"),
        ((b"j1", "é".encode()), "id"),
        ((b"1500", b""), "accepted"),
        ((b"1500", b"-1"), "accepted"),
        ((b"1500", b"1.5"), "accepted"),
        ((b"1500", b"9" * 17), "accepted"),
        ((b"1500", "²".encode()), "accepted"),
        ((b" - ", b" soon "), "deadline"),
        ((b" 0 ", b" 1000001 "), "attempts"),
        ((b" 0 ", b" -1 "), "attempts"),
    ],
)
def test_a_bad_part_of_an_arrival_is_refused_by_name(
    change: tuple[bytes, bytes], field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        arrived(ARRIVAL.replace(*change, 1))
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ((b"1500", b"soon"), "accepted"),
        ((b"1500", b"9" * 17), "accepted"),
        ((b"abcdef", b"\xe9"), "digest"),
        ((b" 5 ", b" 1.5 "), "length"),
        ((b" 5 ", b" 10000001 "), "length"),
        ((b" 0 ", b" -1 "), "bytes"),
        ((b"inbox", b"\xff"), "reply"),
    ],
)
def test_a_bad_part_of_a_record_is_refused_by_name(change: tuple[bytes, bytes], field: str) -> None:
    with pytest.raises(InvalidInput, match=f"about.{field}"):
        decode_about(ABOUT.replace(*change, 1))


@pytest.mark.parametrize("text", [None, b"", b"1500", ABOUT.rpartition(b" ")[0]])
def test_a_record_that_is_not_there_or_cut_off_is_refused(text: bytes | None) -> None:
    with pytest.raises(InvalidInput, match="about"):
        decode_about(text)


@pytest.mark.parametrize(
    "change",
    [(b"j1", b"a{b}"), (b"j1", b""), (b"j1", b"\xff"), (b" 2 ", b" one "), (b" 2 ", b"  "),
     (b" 2 ", b" -1 "), (b" 2 ", b" \xff "), (b"10.5", b""), (b"10.5", b"nan"), (b"10.5", b"inf"),
     (b"10.5", b"-1"), (b"10.5", b"\xff"), (b" 7", b"")],
)  # fmt: skip
def test_a_bad_assignment_is_refused(change: tuple[bytes, bytes]) -> None:
    with pytest.raises(InvalidInput):
        assigned(ASSIGNMENT.replace(*change, 1))


@pytest.mark.parametrize(
    "fields",
    [[], [b"j"], [b"k", ARRIVAL], [b"j", ARRIVAL, b"j", ARRIVAL], [b"j", ARRIVAL, b"x"]],
    ids=["none", "no value", "another name", "twice", "more"],
)
def test_an_entry_with_other_fields_is_refused(fields: list[bytes]) -> None:
    with pytest.raises(InvalidInput, match="entry"):
        decode_arrival(fields)
    with pytest.raises(InvalidInput, match="entry"):
        decode_assignment(Entry("1-1", fields))


def test_a_refusal_shows_no_more_than_a_line_of_the_junk() -> None:
    with pytest.raises(InvalidInput) as caught:
        arrived(ARRIVAL.replace(SPEC, b'["' + b"x" * 1_000_000 + b'"]'))
    assert len(str(caught.value)) < 300
