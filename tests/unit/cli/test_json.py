"""`--json` is an interface: every command has it, and prints what `parallax.cli.contract` says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args, get_type_hints

import click
import msgspec
import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.codec import VERSION, Registration, Report, encode
from parallax.broker.store.keys import Keys
from parallax.broker.store.membership import Membership
from parallax.cli.contract import DOCUMENTS, LINES, WITHOUT, kinds, page
from parallax.cli.documents import Cancelled, Document, JobLine, JobRecord
from parallax.core.lifecycle import Outcome, State
from parallax.producers.cli.jobs import _SAID
from parallax.producers.cli.lines import detailed
from parallax.producers.client.completion import Completion
from tests.unit.cli.invoking import CLOSED, Answer, Run
from tests.unit.cli.test_help import EVERY

ROOT = Path(__file__).parents[3]
_SNAKE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
LEAVES = {name for name, command in EVERY.items() if not isinstance(command, click.Group)}
LOAD = 'kind = "singles"\nstages = [{ rate = 20.0, seconds = 2.0 }]\n'
ANSWER = b'{"choices":[{"index":0,"message":{"content":"hi"}}],"usage":{}}'
JOB = ("--prompt-tokens", "10", "--max-tokens", "20", "--detach")


def fits(command: str, document: Any) -> None:
    """Hold a document against what its command promises; fail with the reasons."""
    faults = []
    for kind in kinds(command):
        try:
            msgspec.convert(document, kind, strict=True)
        except msgspec.ValidationError as error:
            faults.append(str(error))
        else:
            return
    pytest.fail(f"{command}: {'; '.join(faults)}\n{document}")


def keys_of(document: Any) -> set[str]:
    """Return all keys in a document, however deep."""
    if isinstance(document, dict):
        return {*document, *(key for value in document.values() for key in keys_of(value))}
    if isinstance(document, list):
        return {key for value in document for key in keys_of(value)}
    return set()


def test_every_command_has_a_document_or_says_why_not() -> None:
    assert set(DOCUMENTS) | set(WITHOUT) == LEAVES
    assert not set(DOCUMENTS) & set(WITHOUT)
    for name in LEAVES:
        has = any("--json" in parameter.opts for parameter in EVERY[name].params)
        assert has == (name in DOCUMENTS), name


def test_documents_know_every_state_of_a_job_and_every_answer() -> None:
    told = {"accepted", "refused", "unknown", "waiting"}
    assert words(JobLine, "state") == told | set(map(str, Outcome))
    assert words(JobRecord, "state") == set(map(str, State))
    assert words(Cancelled, "answer") == set(_SAID)


def words(kind: type[Document], key: str) -> set[str]:
    """Return the words that may stand there."""
    return set(get_args(get_type_hints(kind)[key]))


def test_the_page_is_up_to_date() -> None:
    """`python -m parallax.cli.contract > docs/json.md` makes it."""
    assert (ROOT / "docs" / "json.md").read_text("utf-8") == page()


#: command -> calls of it, in an empty directory; SERVER stands for the options that name one.
OFFLINE: dict[str, list[str]] = {
    "doctor": ["doctor", "--redis", CLOSED],
    "version": ["version"],
    "url": ["url", "--redis", CLOSED],
    "policy list": ["policy", "list"],
    "policy show": ["policy", "show", "canary"],
    "policy new": ["policy", "new", "routing", "my_own"],
    "acl": ["acl", "-o", "acl"],
    "cells": ["cells", "--cells", "a,b", "acme"],
    "simulate": ["simulate", "load.toml"],
    "compare": ["compare", "load.toml", "-o", "grid", "--seeds", "2", "--jobs", "1"],
    "advise": [
        "advise",
        "load.toml",
        "--slo-ttft",
        "9s",
        "--routing",
        "kv_locality",
        "--jobs",
        "1",
        "--ordering",
        "sjf",
        "--admission",
        "thresholds",
        "--seeds",
        "1",
    ],
    "trace formats": ["trace", "formats"],
    "trace stats": ["trace", "stats", "load.toml"],
    "experiment list": ["experiment", "list"],
}


@pytest.mark.sampled(6)
@pytest.mark.parametrize("command", OFFLINE)
def test_without_a_server(run: Run, command: str) -> None:
    Path("load.toml").write_text(LOAD)
    answer = run(*OFFLINE[command], "--json")
    assert answer.code in (0, 1), answer.err
    fits(command, answer.document)
    assert all(map(_SNAKE.fullmatch, keys_of(answer.document) - {"a", "b"})), answer.out


def test_a_report_is_a_file_and_a_count(run: Run) -> None:
    Path("load.toml").write_text(LOAD)
    assert run("simulate", "load.toml", "-o", "run.json").code == 0
    answer = run("report", "run.json", "--json")
    assert answer.document == {"file": "report.html", "count": 1}
    fits("report", answer.document)


@pytest.fixture
def ask(run: Run, server_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs `parallax` against a cell with a worker, a job and a letter."""
    monkeypatch.setenv("PARALLAX_REDIS", server_url)
    link, keys = Link.to(server_url), Keys()
    Membership(link, keys).beat("w1", "w1", 60_000, Registration(VERSION, 4, "cpu"))
    run("submit", *JOB, "--id", "j1", "--tenant", "acme")
    run("submit", *JOB, "--id", "j2")
    link.call("XADD", keys.dead, "*", "job", "j2", "why", "attempts used up", "sample", "boom")
    link.close()

    def asked(command: str, *arguments: str) -> Answer:
        return run(*command.split(), *arguments, "--json")

    return asked


@pytest.mark.sampled(8)
@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("status", []),
        ("top", []),
        ("status", ["--cells", "main,other"]),
        ("get", ["j1"]),
        ("cancel", ["j1", "nobody"]),
        ("workers", []),
        ("models", []),
        ("backend list", []),
        ("backend drain", ["w1"]),
        ("tenants list", []),
        ("tenants set", ["acme", "--weight", "2"]),
        ("dead list", []),
        ("dead show", ["j2"]),
        ("dead requeue", ["j2"]),
        ("dead purge", ["--all"]),
        ("cells", []),
        ("doctor", []),
        ("url", []),
        ("policy set", ["round_robin"]),
        ("policy reset", []),
        ("policy current", []),
        ("canary status", []),
        ("canary start", ["power_of_two"]),
        ("keys create", ["--tenant", "acme"]),
        ("keys list", []),
        ("keys revoke", ["nobody"]),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_of_a_cell(ask: Run, command: str, arguments: list[str]) -> None:
    answer = ask(command, *arguments)
    assert answer.code in (0, 1), answer.err
    fits(command, answer.document)
    assert all(map(_SNAKE.fullmatch, keys_of(answer.document))), answer.out


@pytest.mark.parametrize("word", ["promote", "rollback"])
def test_of_a_canary_that_ends(ask: Run, word: str) -> None:
    ask("canary start", "power_of_two", "--percent", "10")
    fits(f"canary {word}", ask(f"canary {word}").document)
    status = ask("canary status").document
    assert status["verdict"] == f"by hand: {word}"
    fits("canary status", status)


def test_of_a_key_that_is_rotated(ask: Run) -> None:
    made = ask("keys create", "--tenant", "acme", "--hours", "1", "--model", "echo").document
    rotated = ask("keys rotate", made["id"])
    fits("keys rotate", rotated.document)
    assert rotated.document["key"] != made["key"]
    listed = ask("keys list")
    fits("keys list", listed.document)
    assert {row["id"] for row in listed.document} == {made["id"], rotated.document["id"]}
    assert not [one for one in (made, rotated.document) if one["key"] in listed.out]


def test_submitted_jobs_are_a_line_each(ask: Run) -> None:
    Path("jobs.jsonl").write_text('{"prompt_tokens": 1, "max_tokens": 1}\n' * 3)
    answer = ask("submit", "--detach", "-f", "jobs.jsonl")
    lines = [json.loads(line) for line in answer.out.splitlines()]
    assert [line["state"] for line in lines] == ["accepted"] * 3
    for line in lines:
        fits("submit", line)
    assert "submit" in LINES


def test_a_line_of_a_job_may_say_all_that_a_report_does() -> None:
    full = Report(
        "acme", "w1", 1, 2.0, 3, 4, 5, 0.1, 0.2, 0.3, "broke", 0.4, 0.5, reason="no_worker"
    )
    ended = Completion("j1", Outcome.FAILED, encode(full), ANSWER)
    line = {"id": "j1", "state": "failed", **detailed(ended)}
    fits("submit", line)
    assert set(line) == {*JobLine.__struct_fields__}


def test_a_number_that_json_does_not_have_is_null(capsys: pytest.CaptureFixture[str]) -> None:
    from parallax.cli.output import write_json

    write_json({"a": float("nan"), "b": [float("inf")], "c": "ü\x1b"})
    text = capsys.readouterr().out
    assert json.loads(text) == {"a": None, "b": [None], "c": "ü\x1b"}
    assert text.isascii()
