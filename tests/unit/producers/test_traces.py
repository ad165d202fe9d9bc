"""Recorded loads: a good file becomes a load; a bad one is refused by file, line and column."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallax.core.errors import InvalidInput
from parallax.core.model import MAX_TOKENS
from parallax.producers.load.traces import recorded
from parallax.sim.traces.rows import LONGEST
from tests.examples import examples

HEAD = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
GOOD = (
    HEAD
    + """2023-11-16 18:17:03.9799600,4808,10
2023-11-16 18:17:04.0319600,3180,8
2023-11-16 18:17:04.5,110,27
2023-11-16 18:17:05,0,0
"""
)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.csv"
    path.write_text(GOOD)
    return path


def refusal(path: Path, content: str | bytes) -> InvalidInput:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InvalidInput) as caught:
        list(recorded(path, form="azure"))
    return caught.value


def test_a_good_file_becomes_jobs_at_their_times(trace: Path) -> None:
    load = list(recorded(trace))
    assert [at for at, _ in load] == pytest.approx([0.0, 0.052, 0.52004, 1.02004], abs=1e-5)
    assert [job.prompt_tokens for _, job in load] == [4808, 3180, 110, 0]
    assert [job.output_tokens for _, job in load] == [10, 8, 27, 0]
    assert [job.id for _, job in load] == ["azure-0", "azure-1", "azure-2", "azure-3"]


def test_the_promised_length_does_not_give_away_the_true_one(trace: Path) -> None:
    assert {job.max_tokens for _, job in recorded(trace)} == {LONGEST}


def test_an_answer_longer_than_promised_is_not_cut(trace: Path) -> None:
    trace.write_text(HEAD + "2023-11-16 18:17:03,1,5\n2023-11-16 18:17:03,1,9000\n")
    jobs = [job for _, job in recorded(trace)]
    assert [job.output_tokens for job in jobs] == [5, 9000]
    assert {job.max_tokens for job in jobs} == {16_384}  # the short one promises no less


def test_without_tenants_the_trace_keeps_its_own(trace: Path) -> None:
    assert {job.tenant for _, job in recorded(trace)} == {"azure"}
    trace.write_text("arrival_s,client,prompt_tokens,output_tokens\n0,3,1,1\n0.5,7,1,1\n")
    assert [job.tenant for _, job in recorded(trace)] == ["client-3", "client-7"]
    dealt = [job.tenant for _, job in recorded(trace, tenants=("a", "b"))]
    assert dealt == ["a", "b"]


def test_a_bad_row_is_told_before_the_first_job_is_given_away(trace: Path) -> None:
    trace.write_text(GOOD + "junk\n")
    with pytest.raises(InvalidInput, match="line 6"):
        recorded(trace)


def test_jobs_are_dealt_to_the_tenants_in_turn(trace: Path) -> None:
    load = list(recorded(trace, tenants=("a", "b", "c"), prefix="run"))
    assert [job.tenant for _, job in load] == ["a", "b", "c", "a"]
    assert load[0][1].id == "run-0"


@pytest.mark.parametrize(("limit", "count"), [(0, 0), (1, 1), (3, 3), (4, 4), (99, 4)])
def test_only_so_many_jobs_are_read(trace: Path, limit: int, count: int) -> None:
    assert len(list(recorded(trace, limit))) == count


def test_what_lies_beyond_the_limit_is_not_read(trace: Path) -> None:
    trace.write_text(GOOD + "junk\n")
    assert len(list(recorded(trace, 4))) == 4


def test_times_with_a_zone_as_in_2024(trace: Path) -> None:
    rows = ("2024-05-10 00:00:00.009930+00:00,1,1", "2024-05-10 00:00:01+00:00,1,1")
    trace.write_text(HEAD + "\n".join(rows))
    assert [at for at, _ in recorded(trace)] == pytest.approx([0.0, 0.99007])


def test_a_row_from_before_the_first_comes_at_once(trace: Path) -> None:
    trace.write_text(HEAD + "2023-11-16 18:17:03,1,1\n2023-11-16 18:17:01,1,1\n")
    assert [at for at, _ in recorded(trace)] == [0.0, 0.0]


def test_a_head_without_rows_is_no_jobs(trace: Path) -> None:
    trace.write_text(HEAD)
    with pytest.raises(InvalidInput, match="at least one job"):
        recorded(trace)


@pytest.mark.parametrize(
    ("row", "column", "value"),
    [
        ("yesterday,1,1", "TIMESTAMP", "yesterday"),
        (",1,1", "TIMESTAMP", ""),
        ("2023-13-16 18:17:03,1,1", "TIMESTAMP", "2023-13-16 18:17:03"),
        ("2023-11-16 18:17:03.x,1,1", "TIMESTAMP", "2023-11-16 18:17:03.x"),
        ("2023-11-16 18:17:03,many,1", "ContextTokens", "many"),
        ("2023-11-16 18:17:03,-1,1", "ContextTokens", "-1"),
        ("2023-11-16 18:17:03,1.5,1", "ContextTokens", "1.5"),
        ("2023-11-16 18:17:03,,1", "ContextTokens", ""),
        ("2023-11-16 18:17:03,²,1", "ContextTokens", "²"),
        ("2023-11-16 18:17:03,1,nan", "GeneratedTokens", "nan"),
        (f"2023-11-16 18:17:03,1,{MAX_TOKENS + 1}", "GeneratedTokens", str(MAX_TOKENS + 1)),
    ],
)
def test_a_bad_cell_is_refused_by_file_line_and_column(
    trace: Path, row: str, column: str, value: str
) -> None:
    error = refusal(trace, f"{GOOD}{row}\n")
    assert error.field == f"{trace}, line 6, column {column}"
    assert error.value == value


@pytest.mark.parametrize("row", ["2023-11-16 18:17:03,1", "2023-11-16 18:17:03,1,1,1", "x"])
def test_a_row_with_other_columns_is_refused_by_line(trace: Path, row: str) -> None:
    error = refusal(trace, f"{GOOD}{row}\n")
    assert error.field == f"{trace}, line 6"
    assert "3 columns" in error.allowed


@pytest.mark.parametrize(
    "head", ["", "a,b,c\n", "TIMESTAMP,ContextTokens\n", "2023-11-16 18:17:03,1,1\n", "\ufeff"]
)
def test_another_head_is_refused_and_the_right_one_shown(trace: Path, head: str) -> None:
    error = refusal(trace, head)
    assert error.field == f"{trace}, line 1"
    assert "TIMESTAMP,ContextTokens,GeneratedTokens" in error.allowed


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00", HEAD.encode() + b"\x80", HEAD + "9" * 200_000 + ",1,1\n"],
    ids=["utf-16", "not utf-8", "a field without end"],
)  # fmt: skip
def test_what_is_not_a_csv_file_is_refused_by_name(trace: Path, content: str | bytes) -> None:
    error = refusal(trace, content)
    assert error.field == str(trace)
    assert "a readable CSV file" in error.allowed


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.csv", tmp_path):
        with pytest.raises(InvalidInput) as caught:
            list(recorded(path))
        assert caught.value.field == str(path)


@settings(max_examples=examples(100), deadline=None)
@given(rows=st.lists(st.text(st.sampled_from('0129-: .,"\n+Zx'), max_size=30), max_size=4))
def test_any_rows_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, rows: list[str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_text(HEAD + "\n".join(rows))
    with contextlib.suppress(InvalidInput):
        assert all(at >= 0 for at, _ in recorded(path))
