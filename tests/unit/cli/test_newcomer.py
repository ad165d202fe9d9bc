"""What a newcomer types: short help, misspelt words, a shell that completes."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import BashComplete

from parallax.cli.main import COMMANDS, PANELS, parallax
from tests.unit.cli.invoking import CLOSED, Run
from tests.unit.cli.test_help import EVERY

ROOT = Path(__file__).parents[3]


def completed(words: str, incomplete: str) -> list[str]:
    shell = BashComplete(parallax, {}, "parallax", "_PARALLAX_COMPLETE")
    return [item.value for item in shell.get_completions(words.split(), incomplete)]


def test_every_command_stands_in_one_panel() -> None:
    named = [name for names in PANELS.values() for name in names]
    assert sorted(named) == sorted(COMMANDS)


def test_the_help_shows_the_panels(run: Run) -> None:
    shown = run("-h").out
    headings = re.findall(r"^(\S.*):$", shown, re.MULTILINE)
    assert headings == ["Options", *PANELS]
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.sampled(6)
@pytest.mark.parametrize("words", EVERY)
def test_h_is_help(run: Run, words: str) -> None:
    short, long = run(*words.split(), "-h"), run(*words.split(), "--help")
    assert (short.code, short.out) == (0, long.out)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["statu"], "status"),
        (["loadgn"], "loadgen"),
        (["tenants", "lst"], "list"),
        (["status", "--jsn"], "--json"),
        (["simulate", "chta"], "chat"),
        (["simulate", "chat", "--routing", "kv_locallity"], "kv_locality"),
        (["simulate", "chat", "--set", "routing.sticknes=1"], "stickiness"),
        (["policy", "show", "round-robin"], "round_robin"),
        (["trace", "stats", "trace.csv", "--format", "azur"], "azure"),
        (["up", "--fairness", "fare_queuing"], "fair_queuing"),
        (["validate", "mooncak", "--traces", ".", "--published", "."], "mooncake"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_misspelt_word_is_answered_with_what_was_meant(
    run: Run, words: list[str], meant: str
) -> None:
    Path("trace.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0,1,1\n")
    answer = run(*words)
    assert answer.code == 2
    assert meant in answer.err
    assert "traceback" not in answer.err.lower()


def test_what_is_like_nothing_gets_no_guess(run: Run) -> None:
    assert "Did you mean" not in run("zzzzzz").err


def test_a_shell_completes_commands_without_importing_them() -> None:
    before = set(sys.modules)
    assert completed("", "st") == ["status"]
    assert completed("", "re") == ["replay", "report", "record"] or set(completed("", "re")) == {
        "replay", "report", "record",
    }  # fmt: skip
    assert not {name for name in set(sys.modules) - before if name.startswith("parallax.")}


@pytest.mark.parametrize(
    ("words", "begun", "offered"),
    [
        ("up --routing", "power", ["power_of_two"]),
        ("loadgen --hedging", "ti", ["tied"]),
        ("compare chat --routing", "round_robin,least_l", ["round_robin,least_loaded"]),
        ("policy show", "fair_q", ["fair_queuing"]),
        ("policy set", "sj", ["sjf"]),
        ("worker --engine", "c", ["cpu", "clock"]),
        ("simulate chat --profile", "lap", ["lap", "laptop"]),  # the former is a file's
    ],
)
def test_a_shell_completes_names(words: str, begun: str, offered: list[str]) -> None:
    assert sorted(completed(words, begun)) == sorted(offered)


def test_a_shell_completes_loads_and_files() -> None:
    assert completed("simulate", "cha") == ["chat", "cha"]  # the shell makes files of the second


def test_the_routing_policy_has_one_name_everywhere() -> None:
    for words, command in EVERY.items():
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert "--policy" not in parameter.opts, words
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    assert not [page.name for page in pages if re.search(r"--policy\b", page.read_text("utf-8"))]


@pytest.mark.parametrize("shown", [False, True])
def test_the_address_is_told_with_its_password_only_if_asked(run: Run, shown: bool) -> None:
    secret = CLOSED.replace("redis://", "redis://user:hunter2@")
    more = ["--show-password"] if shown else []
    answer = run("url", "--redis", secret, *more)
    assert answer.code == 0
    assert ("hunter2" in answer.out) == shown
    assert "127.0.0.1:1" in answer.out


def test_without_a_server_there_is_no_address(run: Run) -> None:
    answer = run("url")
    assert (answer.code, answer.out) == (4, "")
    assert "parallax up" in answer.err
