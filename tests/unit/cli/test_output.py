"""How values are shown: few digits for people, JSON for machines, nothing that steers terminals."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallax.cli.output import cell_text, facts, printable, show
from tests.examples import examples


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0"),
        (0.12345, "0.123"),
        (12.345, "12.3"),
        (999.4, "999"),
        (1234567.8, "1,234,568"),
        (-1500.2, "-1,500"),
        (1234567, "1,234,567"),
        (True, "yes"),
        ("acme", "acme"),
        ("a\x1b[31m\n", "a\\x1b[31m\\n"),
    ],
)
def test_a_cell_of_a_table(value: object, text: str) -> None:
    assert cell_text(value) == text


@settings(max_examples=examples(100), deadline=None)
@given(text=st.text())
def test_no_text_can_steer_a_terminal(text: str) -> None:
    assert printable(text).isprintable()


ROWS = [("acme", 4.0, 10), ("bo\x1bb", None, 123456)]


def test_a_plain_table_has_aligned_columns(capsys: pytest.CaptureFixture[str]) -> None:
    show(None, as_json=False, title="T", head=("tenant", "weight", "waiting"), rows=ROWS)
    assert capsys.readouterr().out.splitlines() == [
        "tenant   weight  waiting",
        "acme     4       10",
        "bo\\x1bb  -       123,456",
    ]


def test_a_table_without_rows_is_its_head(capsys: pytest.CaptureFixture[str]) -> None:
    show(None, as_json=False, title="T", head=("tenant", "weight"), rows=[])
    assert capsys.readouterr().out == "tenant  weight\n"


def test_on_a_terminal_a_table_has_a_title(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    show(None, as_json=False, title="Tenants", head=("[b]tenant", "weight", "n"), rows=ROWS)
    text = capsys.readouterr().out
    assert "Tenants" in text
    assert "bo\\x1bb" in text


@pytest.mark.parametrize(
    "pairs", [{}, {"a": 1, "b": None}, {"text": 'quo"te\x1b\n', "list": [1.5, {"x": True}]}]
)
def test_json_is_one_document_with_the_values_as_they_are(
    capsys: pytest.CaptureFixture[str], pairs: Mapping[str, object]
) -> None:
    facts(pairs, as_json=True, title="T")
    assert json.loads(capsys.readouterr().out) == pairs


def test_facts_have_no_head(capsys: pytest.CaptureFixture[str]) -> None:
    facts({"leader": "none", "open jobs": 5}, as_json=False, title="T")
    assert capsys.readouterr().out.splitlines() == ["leader     none", "open jobs  5"]
