"""`parallax report`: records in, one file out; what is no record is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from parallax.sim.report.writers import json_text
from tests.unit.cli.invoking import Run as Cli
from tests.unit.sim.runs import done, record_of, run_of

RECORD = json_text(record_of(run_of(done(0), done(1, ttft_s=0.7))))


@pytest.fixture(autouse=True)
def records(run: Cli) -> None:
    Path("run.json").write_text(RECORD)
    cells = Path("comparison/cells")
    cells.mkdir(parents=True)
    for name, text in (("a", RECORD), ("old", RECORD.replace("acme", "gone"))):
        (cells / f"{name}.json").write_text(text)
    Path("comparison/summary.json").write_text(json.dumps({"cells": ["a.json"]}))


def test_the_same_runs_give_the_same_bytes_whatever_the_file_is_called(run: Cli) -> None:
    for name in ("a.html", "b.html"):
        answer = run("report", "run.json", "-o", name)
        assert (answer.code, answer.out) == (0, "")
        assert name in answer.err
    text = Path("a.html").read_text()
    assert text == Path("b.html").read_text()
    assert "parallax report run.json" in text


def test_of_a_comparison_only_the_last_is_shown(run: Cli) -> None:
    assert "1 run" in run("report", "comparison").err
    text = Path("report.html").read_text()
    assert "acme" in text
    assert "gone" not in text


def test_a_directory_of_records_will_do(run: Cli) -> None:
    assert "2 runs" in run("report", "comparison/cells").err


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("no.json", None, "no.json"),
        ("bad.json", "{", "must be readable JSON"),
        ("bad.json", "[" * 100_000, "must be readable JSON"),
        ("bad.json", '{"format": "other"}', "format parallax-run/1"),
        ("bad.json", RECORD.replace('"cdfs"', '"cfds"'), "damaged"),
        ("bad.json", RECORD.replace('"seed": 0,\n', '"seed": NaN,\n', 1), "seed"),
        ("empty", "", "readable JSON"),
        ("comparison/summary.json", "[]", "format"),
    ],
)
def test_what_is_no_record_is_refused_by_name(
    run: Cli, name: str, text: str | None, named: str
) -> None:
    if text is not None:
        Path(name).write_text(text)
    answer = run("report", "run.json", name, "-o", "out.html")
    if named == "seed":  # of the provenance: only shown
        assert answer.code == 0
        return
    assert answer.code == 2
    assert named in answer.err
    assert not Path("out.html").exists()


def test_a_directory_without_records_is_refused(run: Cli) -> None:
    Path("empty").mkdir()
    answer = run("report", "empty")
    assert answer.code == 2
    assert "records" in answer.err


def test_a_summary_cannot_lead_out_of_its_directory(run: Cli) -> None:
    Path("comparison/summary.json").write_text(json.dumps({"cells": ["../../run.json"]}))
    answer = run("report", "comparison")
    assert answer.code == 2
    assert "comparison/cells/run.json" in answer.err
