"""Jobs as JSON lines: good ones become jobs, bad ones are refused by line, field and value."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallax.core.errors import InvalidInput
from parallax.core.model import MAX_TOKENS, Job
from parallax.producers.client.submission import FIELDS, MAX_LINE, checked_jobs, jobs_from_lines
from tests.examples import examples

GOOD = {"prompt_tokens": 10, "max_tokens": 20}
DEFAULTS: dict[str, Any] = {"tenant": "default"}


def read(*lines: str, **defaults: Any) -> list[Job]:
    return [job for job, _ in jobs_from_lines(lines, DEFAULTS | defaults, "run")]


def asked(line: dict[str, Any], **defaults: Any) -> tuple[Job, Any]:
    """Return the job of a line, and its body as it would be read."""
    ((job, body),) = jobs_from_lines([json.dumps(line)], DEFAULTS | defaults, "run")
    return job, json.loads(body)


def refusal(line: str) -> InvalidInput:
    """Return the refusal of a line that stands third, after a good one and a blank one."""
    with pytest.raises(InvalidInput) as caught:
        read(json.dumps(GOOD), "", line)
    assert caught.value.field.startswith("line 3")
    return caught.value


def test_a_line_becomes_a_job() -> None:
    fields = {
        "id": "j1", "tenant": "acme", "prompt_tokens": 1, "max_tokens": 9, "session": "s",
        "output_tokens": 5, "deadline_s": 1.5, "priority": -2, "max_attempts": 4, "prefix": (7, 8),
        "prefix_block": 32, "keep": True, "model": "m", "trace": f"00-{'1' * 32}-{'2' * 16}-01",
    } | {"prompt_tokens": 64}  # fmt: skip
    assert {*fields, "prompt", "body"} == set(FIELDS)
    assert read(json.dumps(fields)) == [Job(**fields)]  # type: ignore[arg-type]


def test_what_is_left_out_takes_the_defaults() -> None:
    (job,) = read(json.dumps(GOOD), priority=3, session="s1")
    assert job == Job("run-1", "default", 10, 20, "s1", priority=3)


def test_what_is_given_beats_the_defaults() -> None:
    (job,) = read(json.dumps(GOOD | {"tenant": "acme", "id": "mine"}), max_tokens=99)
    assert (job.id, job.tenant, job.max_tokens) == ("mine", "acme", 20)


def test_ids_are_made_of_the_prefix_and_the_line() -> None:
    line = json.dumps(GOOD)
    assert [job.id for job in read(line, line)] == ["run-1", "run-2"]


@pytest.mark.parametrize("blank", ["", "\n", "   \n", "\t\r\n"])
def test_blank_lines_are_skipped_but_counted(blank: str) -> None:
    assert [job.id for job in read(blank, json.dumps(GOOD), blank)] == ["run-2"]


def test_no_lines_no_jobs() -> None:
    assert read() == []


def test_jobs_before_a_bad_line_come_out() -> None:
    jobs = jobs_from_lines([json.dumps(GOOD), "junk"], DEFAULTS, "run")
    assert next(jobs)[0].id == "run-1"
    with pytest.raises(InvalidInput, match="line 2"):
        next(jobs)


def test_a_file_with_a_bad_line_gives_no_job() -> None:
    """Else the mended file would send twice what stands before that line."""
    jobs = checked_jobs([json.dumps(GOOD), "junk"], DEFAULTS, "run")
    with pytest.raises(InvalidInput):
        next(jobs)


def test_a_file_without_one_gives_all_its_jobs_though_it_can_be_read_once() -> None:
    lines = [json.dumps(GOOD), "", json.dumps(GOOD | {"prompt": "Hello"})]
    jobs = list(checked_jobs(iter(lines), DEFAULTS, "run"))
    assert jobs == list(jobs_from_lines(lines, DEFAULTS, "run"))
    assert len(jobs) == 2


@pytest.mark.parametrize(
    "line", ["junk", "{", "{'a': 1}", '{"prompt_tokens": 1,}', '{"a": 1} {"b": 2}', "\ufeff{}",
             "[" * 100_000, '{"prompt_tokens": 1' + "0" * 5_000 + "}"],
)  # fmt: skip
def test_what_is_not_json_is_refused(line: str) -> None:
    error = refusal(line)
    assert error.field == "line 3"
    assert "one JSON object" in error.allowed


@pytest.mark.parametrize("line", ["[]", "null", "5", '"text"', "true", '[{"prompt_tokens": 1}]'])
def test_json_that_is_no_object_is_refused(line: str) -> None:
    error = refusal(line)
    assert (error.field, error.allowed) == ("line 3", "one JSON object")


@pytest.mark.parametrize("name", ["stream", "Tenant", "arrival", "", "__class__"])
def test_an_unknown_field_is_refused_and_the_known_are_listed(name: str) -> None:
    error = refusal(json.dumps(GOOD | {name: 1}))
    assert error.field == f"line 3, field {name}"
    assert all(known in error.allowed for known in FIELDS)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt_tokens", "10"),
        ("prompt_tokens", 1.5),
        ("prompt_tokens", True),
        ("prompt_tokens", None),
        ("prompt_tokens", -1),
        ("prompt_tokens", MAX_TOKENS + 1),
        ("prompt_tokens", 10**100),
        ("prompt_tokens", [1]),
        ("max_tokens", 0),
        ("output_tokens", 21),
        ("output_tokens", "5"),
        ("deadline_s", 0),
        ("deadline_s", -1.0),
        ("deadline_s", "soon"),
        ("deadline_s", 10**400),
        ("priority", 101),
        ("priority", 0.0),
        ("max_attempts", 0),
        ("max_attempts", 21),
        ("tenant", ""),
        ("tenant", "a b"),
        ("tenant", "a\n"),
        ("tenant", 5),
        ("tenant", None),
        ("tenant", "x" * 65),
        ("id", "{x}"),
        ("id", None),
        ("session", "a/b"),
        ("session", 5),
        ("session", ["s"]),
    ],
)
def test_a_wrong_value_is_refused_by_line_field_and_value(field: str, value: object) -> None:
    error = refusal(json.dumps(GOOD | {field: value}))
    assert (error.field, error.value) == (f"line 3, field {field}", value)
    assert error.allowed


# -- what a line asks -------------------------------------------------------------------------


def test_a_prompt_becomes_a_request_and_its_lengths_are_estimated() -> None:
    job, body = asked({"prompt": "Say hello"})
    assert (job.prompt_tokens, job.max_tokens) == (3, 64)  # nine bytes, four a token
    assert body == {"messages": [{"role": "user", "content": "Say hello"}], "max_tokens": 64}


@pytest.mark.parametrize(
    ("line", "defaults", "lengths"),
    [
        ({"max_tokens": 9}, {}, (3, 9)),
        ({}, {"max_tokens": 7}, (3, 7)),
        ({"max_tokens": 9}, {"max_tokens": 7}, (3, 9)),
        ({"prompt_tokens": 50}, {}, (50, 64)),
        ({}, {"prompt_tokens": 40}, (40, 64)),
        ({"prompt_tokens": 50}, {"prompt_tokens": 40}, (50, 64)),
    ],
)
def test_lengths_that_are_given_beat_the_estimate(
    line: dict[str, int], defaults: dict[str, int], lengths: tuple[int, int]
) -> None:
    job, body = asked({"prompt": "Say hello", **line}, **defaults)
    assert (job.prompt_tokens, job.max_tokens) == lengths
    assert body["max_tokens"] == job.max_tokens


def test_a_body_is_sent_as_it_is() -> None:
    body = {"messages": [{"role": "user", "content": "grüß dich"}], "max_tokens": 5, "top_p": 0.5}
    job, sent = asked({"body": body, "tenant": "acme"}, max_tokens=99)
    assert (job.tenant, job.prompt_tokens, job.max_tokens) == ("acme", 3, 5)
    assert sent == body


def test_a_body_that_allows_any_length_takes_the_one_beside_it() -> None:
    job, body = asked({"body": {"messages": []}, "max_tokens": 8})
    assert (job.prompt_tokens, job.max_tokens, body) == (0, 8, {"messages": []})


def test_what_asks_nothing_has_no_body() -> None:
    ((_, body),) = jobs_from_lines([json.dumps(GOOD)], DEFAULTS, "run")
    assert body == b""


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": "\ud800"}, "prompt"),
        ({"prompt": "a", "max_tokens": 0}, "max_tokens"),
        ({"prompt": "a", "max_tokens": "9"}, "max_tokens"),
        ({"prompt": "a", "body": {}}, "body"),
        ({"body": "a", "max_tokens": 1}, "body"),
        ({"body": [], "max_tokens": 1}, "body"),
        ({"body": {}}, "max_tokens"),
        ({"body": {"max_tokens": 0}}, "max_tokens"),
        ({"body": {"max_tokens": 5}, "max_tokens": 6}, "max_tokens"),
        ({"body": {"max_tokens": 5, "stream": True}}, "body.stream"),
    ],
)
def test_what_cannot_be_asked_is_refused(line: dict[str, Any], field: str) -> None:
    assert refusal(json.dumps(line)).field == f"line 3, field {field}"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_not_finite_are_refused(number: str) -> None:
    line = f'{{"prompt_tokens": 1, "max_tokens": 1, "deadline_s": {number}}}'
    assert refusal(line).field.startswith("line 3")


@pytest.mark.parametrize("missing", ["prompt_tokens", "max_tokens"])
def test_a_missing_length_is_refused_by_name(missing: str) -> None:
    fields = {name: value for name, value in GOOD.items() if name != missing}
    assert refusal(json.dumps(fields)).field == f"line 3, field {missing}"


def test_a_field_given_twice_is_refused() -> None:
    error = refusal('{"prompt_tokens": 1, "max_tokens": 1, "prompt_tokens": 2}')
    assert "twice" in error.allowed


def test_a_line_that_is_too_long_is_refused_without_being_shown() -> None:
    error = refusal(json.dumps(GOOD).replace("}", " " * MAX_LINE + "}"))
    assert str(MAX_LINE) in error.allowed
    assert len(str(error)) < 200


def test_the_longest_line_is_accepted() -> None:
    line = json.dumps(GOOD)
    assert len(read(line.ljust(MAX_LINE))) == 1


@settings(max_examples=examples(200), deadline=None)
@given(line=st.text(max_size=50) | st.text(st.sampled_from('{}[]":,0eE+-. \\untrue'), max_size=40))
def test_any_line_is_read_or_refused(line: str) -> None:
    with contextlib.suppress(InvalidInput):
        read(line)


@settings(max_examples=examples(200), deadline=None)
@given(
    fields=st.dictionaries(
        st.sampled_from([name for name in FIELDS if name != "session"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    )
)
def test_any_values_of_known_fields_give_a_valid_job_or_are_refused(fields: dict[str, Any]) -> None:
    with contextlib.suppress(InvalidInput):
        assert len(read(json.dumps(GOOD | fields))) == 1
