"""`parallax trace`: figures, conversion, samples."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from tests.unit.cli.invoking import Run

TRACE = "arrival_s,client,prompt_tokens,output_tokens\n" + "".join(
    f"{n * 0.5},{n % 3},{100 + n},{10 + n % 7}\n" for n in range(60)
)


@pytest.fixture(autouse=True)
def trace(run: Run) -> None:
    Path("trace.csv").write_text(TRACE)


def rows(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_stats_as_a_document_and_as_a_table(run: Run) -> None:
    answer = run("trace", "stats", "trace.csv", "--json")
    assert (answer.code, answer.err) == (0, "")
    found = answer.document
    assert (found["jobs"], found["tenants"], found["rate_per_s"]) == (60, 3, 60 / 29.5)
    assert found["reuse_blocks"] is None
    shown = run("trace", "stats", "trace.csv").out
    assert "rate_per_s" in shown
    assert "reuse_blocks" not in shown  # nothing is known of it


def test_stats_of_a_load_that_comes_with_the_package(run: Run) -> None:
    found = run("trace", "stats", "agents", "--limit", "200", "--json").document
    assert found["jobs"] == 200
    assert found["reuse_blocks"] > 0.3


def test_a_converted_trace_has_the_same_figures(run: Run) -> None:
    assert run("trace", "convert", "trace.csv", "-o", "copy.jsonl").err == (
        "60 jobs written to copy.jsonl\n"
    )
    one, other = (run("trace", "stats", name, "--json") for name in ("trace.csv", "copy.jsonl"))
    assert one.document == other.document
    assert run("trace", "convert", "trace.csv").out == Path("copy.jsonl").read_text()


def test_conversion_scales_and_deals(run: Run) -> None:
    words = ("--rate-scale", "2", "--tenants", "2", "--limit", "4")
    found = rows(run("trace", "convert", "trace.csv", *words).out)
    assert [row["arrival_s"] for row in found] == [0.0, 0.25, 0.5, 0.75]
    assert [row["tenant"] for row in found] == ["tenant-0", "tenant-1"] * 2


def test_a_sample_is_a_part_and_the_same_for_the_same_seed(run: Run) -> None:
    words = ("trace", "sample", "trace.csv", "--share", "0.5", "--begin", "5", "--seconds", "10")
    part = run(*words).out
    assert 0 < len(rows(part)) < 20
    assert run(*words).out == part
    assert run(*words, "--seed", "1").out != part
    whole = rows(run(*words[:3], "--share", "1", "--begin", "5", "--seconds", "10").out)
    assert [row["arrival_s"] for row in whole] == [n * 0.5 for n in range(20)]


def test_a_sample_can_be_simulated(run: Run) -> None:
    run("trace", "sample", "trace.csv", "--share", "0.5", "-o", "part.jsonl")
    kept = len(rows(Path("part.jsonl").read_text()))
    answer = run("simulate", "part.jsonl", "--json")
    assert answer.document["jobs_completed"] == kept


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["stats", "missing.csv"], "missing.csv"),
        (["stats", "trace.csv", "--format", "azure"], "trace.csv, line 1"),
        (["stats", "trace.csv", "--format", "nope"], "format: 'nope'"),
        (["stats", "trace.csv", "--limit", "0"], "workload.limit: 0"),
        (["stats", "trace.csv", "--seed", "-1"], "--seed: -1"),
        (["stats", "bad.csv"], "bad.csv, line 2, column client"),
        (["stats", "bad.toml"], "bad.toml: stages"),
        (["convert", "trace.csv", "--rate-scale", "nan"], "workload.rate_scale: nan"),
        (["convert", "trace.csv", "--tenants", "0"], "workload.tenants: 0"),
        (["convert", "trace.csv", "--jitter", "-1"], "workload.jitter_s: -1"),
        (["convert", "trace.csv", "-o", "no/dir/x"], "no/dir/x"),
        (["sample", "trace.csv", "--share", "0"], "share: 0.0"),
        (["sample", "trace.csv", "--share", "nan"], "share: nan"),
        (["sample", "trace.csv", "--begin", "-1"], "begin: -1.0"),
        (["sample", "trace.csv", "--seconds", "0"], "seconds: 0.0"),
        (["sample", "trace.csv", "--begin", "99", "-o", "x"], "there are none"),
    ],
)
def test_wrong_input_ends_with_2_and_one_line(run: Run, words: list[str], named: str) -> None:
    Path("bad.csv").write_text("arrival_s,client,prompt_tokens,output_tokens\n0,,1,1\n")
    Path("bad.toml").write_text('kind = "singles"\n')
    answer = run("trace", *words)
    assert (answer.code, answer.out) == (2, "")
    assert named in answer.err
    assert len(answer.err.splitlines()) == 1
    assert not Path("x").exists()


def test_a_pipe_does_as_well_as_a_file(run: Run, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(TRACE,), daemon=True)
    writer.start()
    answer = run("trace", "stats", str(pipe), "--json")
    assert answer.document == run("trace", "stats", "trace.csv", "--json").document
    writer.join(timeout=10)


def test_a_comparison_needs_a_file_that_stays(run: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    answer = run("compare", "pipe", "-o", "grid")
    assert answer.code == 2
    assert "a file, not a pipe" in answer.err


@pytest.mark.parametrize(
    "words",
    [
        ["trace", "stats"], ["trace", "convert"], ["trace", "sample"], ["simulate"],
        ["compare", "-o", "grid", "--jobs", "1"], ["replay", "--workers", "1"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_load_without_jobs_never_ends_with_0(run: Run, words: list[str]) -> None:
    Path("none.csv").write_text(TRACE.partition("\n")[0] + "\n")
    answer = run(*words, "none.csv")
    assert answer.code == (1 if words[0] == "compare" else 2)  # there its run has failed
    assert "at least one job" in answer.err


def test_a_made_up_load_without_jobs_never_ends_with_0(run: Run) -> None:
    answer = run("loadgen", "--rate", "0.001", "--duration", "0.01", "--workers", "1")
    assert (answer.code, answer.out) == (2, "")
    assert "no job comes" in answer.err


def test_a_part_without_jobs_never_ends_with_0(run: Run) -> None:
    answer = run("trace", "sample", "trace.csv", "--begin", "99")
    assert (answer.code, answer.out) == (2, "")
    assert "there are none" in answer.err
