"""The same input gives the same bytes, whatever the order of its keys."""

from __future__ import annotations

import csv
import io
import json
from math import inf, nan

import pytest

from parallax.core.errors import InvalidInput
from parallax.sim.report.record import BINS, checked, timelines
from parallax.sim.report.writers import jobs_csv, json_text, runs_csv
from tests.unit.sim.runs import SPEC, done, lost, record_of, run_of


def test_keys_are_sorted_and_noise_of_the_last_bit_is_gone() -> None:
    assert json_text({"b": 0.1 + 0.2, "a": 1}) == json_text({"a": 1, "b": 0.3})
    assert json_text({"a": 0.300001}) != json_text({"a": 0.3})


@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_what_is_no_number_is_null(value: float) -> None:
    assert json.loads(json_text({"a": [value]})) == {"a": [None]}


def test_a_record_is_the_same_twice_and_comes_back_whole() -> None:
    run = run_of(done(0), done(1, ttft_s=2.0), lost(2, "rejected"))
    text = json_text(record_of(run))
    assert text == json_text(record_of(run))
    back = checked(json.loads(text), "run.json")
    assert json_text(back) == text
    assert back["spec"] == SPEC.document()


def test_a_record_names_no_time_and_no_machine() -> None:
    assert set(record_of(run_of())["provenance"]) == {
        "seed", "spec_sha256", "inputs", "versions", "source_sha256",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["format"], "other/1"),
        (["figures"], []),
        (["figures", "goodput"], "<script>"),
        (["figures", "goodput"], nan),
        (["figures", "goodput"], 10**400),
        (["figures", "goodput"], True),
        (["tenants"], [1]),
        (["tenants"], [{"tenant": ["a"]}]),
        (["cdfs", "ttft_ms"], [[1, "2"]]),
        (["timelines", "queued"], [[1]]),
        (["notes"], "text"),
        (["spec", "seed"], {}),
    ],
    ids=str,
)
def test_a_damaged_record_is_refused(path: list[str], value: object) -> None:
    document = record_of(run_of(done(0)))
    document["spec"] = dict(document["spec"])
    part = document
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    with pytest.raises(InvalidInput, match=r"run\.json"):
        checked(document, "run.json")


@pytest.mark.parametrize("document", [None, [], 3, {}], ids=str)
def test_what_is_no_record_is_refused(document: object) -> None:
    with pytest.raises(InvalidInput, match="format"):
        checked(document, "run.json")


def test_jobs_are_lines_with_the_verdict_on_each() -> None:
    jobs = [done(0), done(1, ttft_s=1.5), lost(2, "rejected", "beta")]
    rows = list(csv.DictReader(io.StringIO(jobs_csv(jobs, SPEC.document()))))
    assert [row["good"] for row in rows] == ["1", "0", "0"]
    assert [row["ttft_s"] for row in rows] == ["0.5", "1.5", ""]
    assert rows[2]["tenant"] == "beta"


def test_names_with_commas_and_quotes_stay_one_cell() -> None:
    text = runs_csv([{"variant": 'a="x", b', "goodput": 0.5}, {"variant": "c", "steals": None}])
    rows = list(csv.reader(io.StringIO(text)))
    assert rows == [["variant", "goodput", "steals"], ['a="x", b', "0.5", ""], ["c", "", ""]]


def test_time_lines_count_every_job_once_and_stay_short() -> None:
    run = run_of(*(done(n % 100) for n in range(500)), duration_s=103.0)
    lines = timelines(run)
    assert len(lines["arrivals_per_s"]) <= BINS
    width = lines["arrivals_per_s"][1][0]
    for name in ("arrivals_per_s", "completed_per_s"):
        assert sum(rate for _, rate in lines[name]) * width == pytest.approx(500)


def test_a_run_that_took_no_time_has_no_time_lines() -> None:
    assert timelines(run_of(duration_s=0.0)) == {}
