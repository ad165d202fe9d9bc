"""A file of jobs is sent whole or not at all, and mended and sent again nothing is sent twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.intake import Receipt
from parallax.broker.store.keys import Keys
from parallax.core.errors import InvalidInput, StoreFault, Unreachable
from parallax.core.model import Job
from parallax.producers.client import submission
from parallax.producers.client.client import Client
from parallax.producers.client.submission import checked_jobs
from tests.unit.cli.invoking import Run

GOOD = '{"prompt_tokens": 5, "max_tokens": 2}'
BAD = '{"prompt_tokens": 5, "max_token": 2}'
LINES, WRONG = 1_000, 601


def written(path: Path, wrong: str = BAD) -> str:
    lines = [GOOD] * LINES
    lines[WRONG - 1] = wrong
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.fixture
def ask(run: Run, embedded_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("PARALLAX_REDIS", embedded_url)
    return lambda *arguments: run("submit", "--detach", *arguments)


def accepted(url: str) -> int:
    link = Link.to(url)
    try:
        return int(link.call("ZCARD", Keys().open))
    finally:
        link.close()


def test_a_bad_line_in_the_middle_sends_nothing(
    ask: Run, embedded_url: str, tmp_path: Path
) -> None:
    answer = ask("-f", written(tmp_path / "jobs.jsonl"))
    assert (answer.code, answer.out) == (2, "")
    assert f"line {WRONG}, field max_token" in answer.err
    assert accepted(embedded_url) == 0
    answer = ask("-f", written(tmp_path / "jobs.jsonl", GOOD))
    assert answer.code == 0
    assert answer.out.count(" accepted\n") == LINES == accepted(embedded_url)


@pytest.mark.dear
def test_a_file_with_a_name_is_sent_once_however_often(
    ask: Run, embedded_url: str, tmp_path: Path
) -> None:
    file = written(tmp_path / "jobs.jsonl", GOOD)
    for _ in range(2):
        answer = ask("-f", file, "--id", "nightly")
        assert answer.code == 0
        assert answer.out.splitlines()[-1] == f"nightly-{LINES} accepted"
    assert accepted(embedded_url) == LINES


def test_when_redis_falls_silent_every_job_has_a_receipt(
    ask: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit, calls = Client.submit, list[int]()

    def breaks(client: Client, jobs: list[Job], **options: object) -> list[Receipt]:
        calls.append(len(jobs))
        if len(calls) > 1:
            raise Unreachable("nobody there")
        return submit(client, jobs, **options)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(Client, "submit", breaks)
    answer = ask("-f", written(tmp_path / "jobs.jsonl", GOOD), "--id", "n", "--json")
    assert answer.code == 1
    told = [json.loads(line) for line in answer.out.splitlines()]
    assert {line["id"] for line in told if line["state"] == "unknown"} == {
        f"n-{n}" for n in range(calls[0] + 1, LINES + 1)
    }


@pytest.mark.sampled(1)
@pytest.mark.parametrize("error", [StoreFault("it broke"), InvalidInput("a body", 1, "smaller")])
def test_what_was_accepted_is_told_whatever_befalls_a_later_batch(
    ask: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    submit, calls = Client.submit, list[int]()

    def breaks(client: Client, jobs: list[Job], **options: object) -> list[Receipt]:
        calls.append(len(jobs))
        if len(calls) > 1:
            raise error
        return submit(client, jobs, **options)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(Client, "submit", breaks)
    answer = ask("-f", written(tmp_path / "jobs.jsonl", GOOD), "--id", "n", "--json")
    assert answer.code == 1
    told = [json.loads(line) for line in answer.out.splitlines()]
    assert [line["id"] for line in told] == [f"n-{n}" for n in range(1, LINES + 1)]
    assert [line["state"] for line in told].count("accepted") == calls[0]


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("stopped", "code"), [(KeyboardInterrupt(), 130), (StoreFault("it broke"), 1)]
)
@pytest.mark.parametrize("where", ["wait", "submit"])
def test_who_stops_waiting_knows_what_was_accepted(
    run: Run, embedded_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    stopped: BaseException, code: int, where: str,
) -> None:  # fmt: skip
    submit, calls = Client.submit, list[int]()

    def stops(*_: object) -> Iterator[None]:
        yield from ()
        raise stopped

    def breaks(client: Client, jobs: list[Job], **options: object) -> list[Receipt]:
        calls.append(len(jobs))
        if where == "submit" and len(calls) > 1:
            raise KeyboardInterrupt
        return submit(client, jobs, **options)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setenv("PARALLAX_REDIS", embedded_url)
    monkeypatch.setattr(Client, "wait", stops)
    monkeypatch.setattr(Client, "submit", breaks)
    file = written(tmp_path / "jobs.jsonl", GOOD)
    answer = run("submit", "-f", file, "--id", "n", "--json")
    assert answer.code == (code if where == "wait" else 130)
    told = [json.loads(line) for line in answer.out.splitlines()]
    many = LINES if where == "wait" else calls[0]
    assert {line["id"] for line in told} == {f"n-{n}" for n in range(1, many + 1)}
    assert {line["state"] for line in told} == {"waiting" if where == "wait" else "accepted"}


def test_a_file_is_bounded_and_is_kept_on_the_disk_beyond_a_few_megabytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(submission, "MAX_LINES", 10)
    monkeypatch.setattr(submission, "IN_MEMORY", 64)
    defaults = {"tenant": "acme"}
    assert [job.id for job, _ in checked_jobs([GOOD] * 10, defaults, "j")][-1] == "j-10"
    with pytest.raises(InvalidInput, match="line 11"):
        next(checked_jobs([GOOD] * 11, defaults, "j"))
