"""Logs: one record is one line, for humans or for machines, and never tells a password."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallax.telemetry.logs import (
    MAX_CHARACTERS,
    HumanFormatter,
    JsonFormatter,
    clean,
    configure,
)
from tests.examples import examples

FORMATTERS = [HumanFormatter(), JsonFormatter()]
SECRET_URLS = [
    "redis://user:hunter2@host:6379/0",
    "redis://:hunter2@host:6379",
    "rediss://user:hunter2@host",
    "unix://user:hunter2@/run/redis.sock?db=0",
]


def record(message: str, *args: object, error: BaseException | None = None) -> logging.LogRecord:
    trace = (type(error), error, error.__traceback__) if error is not None else None
    return logging.LogRecord(
        "parallax.services.x", logging.WARNING, "x.py", 1, message, args, trace
    )


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """Give the root logger; put back what it had."""
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)


def test_a_line_for_humans() -> None:
    line = HumanFormatter().format(record("took %d s", 5))
    assert re.fullmatch(r"\d\d:\d\d:\d\d warning x: took 5 s", line)


def test_a_line_for_machines() -> None:
    given_record = record("took %d s", 5)
    given_record.created = 12.34567
    assert json.loads(JsonFormatter().format(given_record)) == {
        "time": 12.346,
        "level": "warning",
        "logger": "parallax.services.x",
        "message": "took 5 s",
    }


@pytest.mark.parametrize("formatter", FORMATTERS)
@pytest.mark.parametrize("url", SECRET_URLS)
def test_a_password_in_a_url_is_never_printed(formatter: logging.Formatter, url: str) -> None:
    line = formatter.format(record("cannot reach %s and %s", url, url))
    assert "hunter2" not in line
    assert line.count("***") == 2
    assert "host" in line or "/run/redis.sock" in line


@pytest.mark.parametrize("formatter", FORMATTERS)
def test_a_password_in_a_traceback_is_never_printed(formatter: logging.Formatter) -> None:
    try:
        raise ValueError(SECRET_URLS[0])  # noqa: TRY301
    except ValueError as error:
        line = formatter.format(record("failed", error=error))
    assert "hunter2" not in line
    assert "Traceback" in line
    assert "ValueError" in line


@pytest.mark.parametrize(
    "text",
    ["redis://host:6379/0", "redis://user@host", "10:30 mail to a@b.example", "a: b@c"],
)
def test_text_without_a_password_stays_as_it_is(text: str) -> None:
    assert clean(text) == text


@settings(max_examples=examples(60), deadline=None)
@given(text=st.text(max_size=3_000))
def test_whatever_is_logged_stays_on_its_line_and_is_bounded(text: str) -> None:
    shown = clean(text)
    assert len(shown) <= MAX_CHARACTERS
    assert shown.isprintable()
    for formatter in FORMATTERS:
        assert len(formatter.format(record("%s", text)).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb", "a\\nb"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\u202eabc", "\\u202eabc"),
        ("naïve 模型", "naïve 模型"),
    ],
)
def test_control_characters_are_escaped_and_letters_are_not(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_a_long_record_is_cut_and_says_so() -> None:
    assert clean("x" * 5_000) == "x" * (MAX_CHARACTERS - 3) + "..."
    assert clean("x" * MAX_CHARACTERS) == "x" * MAX_CHARACTERS


@pytest.mark.parametrize("as_json", [True, False])
def test_configure_sends_what_is_important_enough_to_the_stream(
    root: logging.Logger, as_json: bool
) -> None:
    stream = io.StringIO()
    configure(logging.INFO, stream, json=as_json)
    log = logging.getLogger("parallax.test")
    log.debug("hidden")
    log.info("shown to %s", "all")
    (line,) = stream.getvalue().splitlines()
    assert "shown to all" in line
    assert line.startswith("{") == as_json


def test_configuring_twice_does_not_log_twice(root: logging.Logger) -> None:
    stream = io.StringIO()
    configure(logging.INFO, sys.stderr, json=False)
    configure(logging.INFO, stream, json=False)
    logging.getLogger("parallax.test").warning("once")
    assert stream.getvalue().count("once") == 1
    assert len(root.handlers) == 1
