"""Exit codes and error messages: what was wrong, why, and what is right; secrets stay secret."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from parallax.cli import main as command_line
from parallax.core.errors import (
    Conflict,
    Fenced,
    InvalidInput,
    InvalidSettings,
    Refused,
    StoreFault,
    StoreFull,
    UnknownPolicy,
    Unreachable,
)
from tests.unit.cli.invoking import CLOSED, Run

ASK_THE_SERVER = [
    ["status"],
    ["cells"],
    ["get", "job-1"],
    ["get", "job-1", "--as", "acme"],
    ["cancel", "job-1"],
    ["cancel", "job-1", "--as", "acme"],
    ["workers"],
    ["tenants", "list"],
    ["tenants", "set", "acme", "--weight", "2"],
    ["submit", "--prompt-tokens", "1", "--max-tokens", "1"],
    ["replay", "trace.csv"],
]
by_words = pytest.mark.parametrize("words", ASK_THE_SERVER, ids=" ".join)


@pytest.fixture(autouse=True)
def trace(run: Run) -> None:
    Path("trace.csv").write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,1,1\n"
    )


def test_the_codes_are_the_documented_ones() -> None:
    codes = (
        command_line.EXIT_FAILED,
        command_line.EXIT_USAGE,
        command_line.EXIT_MISSED,
        command_line.EXIT_UNREACHABLE,
    )
    assert codes == (1, 2, 3, 4)


@by_words
def test_a_server_that_does_not_answer_ends_with_4(run: Run, words: list[str]) -> None:
    answer = run(*words, "--redis", CLOSED)
    assert (answer.code, answer.out) == (4, "")
    assert answer.err.startswith("parallax: Redis does not answer")
    assert "127.0.0.1:1" in answer.err
    assert len(answer.err.splitlines()) == 1


@pytest.mark.parametrize(
    "words", [w for w in ASK_THE_SERVER if w[0] != "replay"], ids=" ".join
)  # fmt: skip
def test_without_any_server_the_message_says_what_to_type(run: Run, words: list[str]) -> None:
    answer = run(*words)
    assert answer.code == 4
    assert "parallax up" in answer.err
    assert "--redis URL" in answer.err


@by_words
def test_a_password_is_never_printed(run: Run, words: list[str]) -> None:
    answer = run(*words, "--redis", "redis://user:hunter2@127.0.0.1:1")
    assert answer.code == 4
    assert "hunter2" not in answer.out + answer.err


@by_words
def test_a_url_that_cannot_be_ends_with_2_without_its_password(run: Run, words: list[str]) -> None:
    answer = run(*words, "--redis", "http://user:hunter2@host")
    assert answer.code == 2
    assert "redis url" in answer.err
    assert "use redis://" in answer.err
    assert "hunter2" not in answer.err


@pytest.mark.sampled(10)
@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["get", "a b"], "JOB: 'a b'"),
        (["cancel", "{x}"], "job id: '{x}'"),
        (["get", "j1", "--as", "a b"], "tenant: 'a b'"),
        (["cells", "--cells", "a,b", "a b"], "tenant: 'a b'"),
        (["status", "--cell", "a}b"], "cell: 'a}b'"),
        (["tenants", "set", "a b", "--weight", "1"], "'a b'"),
        (["tenants", "set", "acme", "--weight", "nan"], "weight: nan"),
        (["tenants", "set", "acme", "--weight", "0"], "weight: 0.0"),
        (["submit"], "--prompt-tokens"),
        (["submit", "--prompt-tokens", "1"], "--max-tokens"),
        (["submit", "--prompt-tokens", "-1", "--max-tokens", "1"], "prompt_tokens: -1"),
        (["submit", "--prompt-tokens", "1", "--max-tokens", "1", "--id", "a b"], "id: 'a b'"),
        (["replay", "missing.csv"], "missing.csv"),
        (["replay", "trace.csv", "--kill", "redis"], "--kill: 'redis'"),
        (["replay", "trace.csv", "--tenants", "a,a"], "tenant: 'a'"),
        (["loadgen", "--tenants", "a:x"], "share of a: 'x'"),
        (["loadgen", "--weights", "a:0"], "share of a"),
        (["scheduler", "--routing", "nope"], "routing policy: 'nope'"),
        (["scheduler", "--lease", "nan"], "lease_s: nan"),
        (["scheduler", "--window", "0"], "window: 0"),
        (["worker", "--name", "a b"], "--name: 'a b'"),
        (["worker", "--heartbeat", "0"], "heartbeat_s: 0"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_bad_value_ends_with_2_naming_what_and_what_is_allowed(
    run: Run, words: list[str], named: str
) -> None:
    server = [] if words[0] == "demo" else ["--redis", CLOSED]
    answer = run(*words, *server)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("parallax: ")
    assert named in answer.err
    assert "is not allowed; " in answer.err


@pytest.mark.sampled(10)
@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["nope"], "nope"),
        (["status", "--nope"], "--nope"),
        (["get"], "JOB"),
        (["tenants", "set", "acme"], "--weight"),
        (["submit", "--prompt-tokens", "many"], "many"),
        (["submit", "-f", "missing.jsonl"], "missing.jsonl"),
        (["policy", "show"], "NAME"),
        (["replay", "trace.csv", "--speed", "nan"], "--speed"),
        (["loadgen", "--prompt-tokens", "0"], "--prompt-tokens"),
        (["scheduler", "--metrics-port", "99999"], "--metrics-port"),
        (["worker", "--engine", "nope"], "'cpu'"),
        (["up", "--workers", "0"], "--workers"),
        (["up", "--schedulers", "11"], "--schedulers"),
        (["demo", "--duration", "nan"], "--duration"),
        (["demo", "--workers", "1"], "--workers"),
        (["demo", "--rate", "inf"], "--rate"),
        (["up", "--engine", "vllm"], "'clock', 'cpu', 'echo', 'noop'"),
        (["up", "--profile", "h200"], "'laptop'"),
        (["up", "--engine-speed", "nan"], "--engine-speed"),
        (["up", "--durability", "never"], "'always'"),
        (["loadgen", "--engine", "vllm"], "'clock', 'cpu', 'echo', 'noop'"),
        (["loadgen", "--rate", "nan"], "--rate"),
        (["loadgen", "--seed", "-1"], "--seed"),
        (["replay", "trace.csv", "--engine", "vllm"], "'cpu'"),
        (["replay", "trace.csv", "--workers", "0"], "--workers"),
        (["worker", "--role", "both-of-them"], "'prefill'"),
        (["worker", "--slots", "0"], "--slots"),
        (["statsu"], "Did you mean status?"),
        (["simulate", "chat", "--profile", "h200"], "'laptop'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_ends_with_2_and_points_to_the_help(
    run: Run, words: list[str], named: str
) -> None:
    answer = run(*words)
    assert (answer.code, answer.out) == (2, "")
    assert named in answer.err
    assert "--help" in answer.err


def test_bad_jobs_in_a_file_are_named_by_line_and_field(run: Run) -> None:
    Path("jobs.jsonl").write_text('\n{"prompt_tokens": 1, "max_tokens": "x"}\n')
    answer = run("submit", "-f", "jobs.jsonl", "--redis", CLOSED)
    assert (answer.code, answer.out) == (2, "")
    assert "line 2, field max_tokens: 'x' is not allowed" in answer.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidInput("field", "value", "what is allowed"), 2),
        (InvalidSettings("field", "value", "what is allowed"), 2),
        (UnknownPolicy("field", "value", "what is allowed"), 2),
        (Unreachable("silent"), 4),
        (Refused("full", 1.0), 1),
        (Conflict("another content"), 1),
        (StoreFull("no memory"), 1),
        (StoreFault("WRONGTYPE"), 1),
        (Fenced("deposed"), 1),
        (click.UsageError("wrong"), 2),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_every_known_error_has_its_code_and_one_line_on_stderr(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    def failing(**_: object) -> None:
        raise error

    monkeypatch.setattr(command_line, "parallax", failing)
    answer = run("anything")
    assert (answer.code, answer.out) == (code, "")
    assert str(error) in answer.err
    assert "Traceback" not in answer.err


def test_an_unknown_error_is_not_hidden(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(**_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(command_line, "parallax", failing)
    with pytest.raises(ZeroDivisionError):
        run("anything")
