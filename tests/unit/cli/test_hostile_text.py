"""What workers, jobs and whoever else writes: shown by every command, steering none of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.codec import VERSION, Registration, Report, encode
from parallax.broker.store.intake import Intake
from parallax.broker.store.keyring import ApiKey
from parallax.broker.store.keys import Keys
from parallax.broker.store.policies import PolicyDocument, Verdict
from parallax.cli.main import COMMANDS
from parallax.core.model import Job
from parallax.core.text import printable
from tests.unit.cli.invoking import Run

#: Sets a title, clears the screen, writes a line of its own, turns the direction of writing.
HOSTILE = "x\x1b]0;owned\x07\x1b[2J\nforged completed\r\x9b31m\u2028\u202e[bold]y"
JOB = ("--prompt-tokens", "10", "--max-tokens", "5")
#: How each command is asked that shows what others wrote.
ASKED: dict[str, tuple[tuple[str, ...], ...]] = {
    "status": ((),),
    "get": (("j1",), ("j2",)),
    "tenants": (("list",),),
    "top": (("--once",),),
    "workers": ((),),
    "models": ((),),
    "backend": (("list",), ("drain", "w1"), ("drain", HOSTILE), ("undrain", "w1")),
    "cells": ((), ("acme",)),
    "dead": (("list",), ("show", "j1"), ("requeue", "j1"), ("purge", "j1")),
    "policy": (("current",),),
    "canary": (("status",), ("rollback",)),
    "submit": (("--id", "j1", *JOB), ("--detach", "--id", "j9", *JOB)),
    "cancel": (("j1",), ("j9",)),
    "doctor": ((),),
    "explain": (("j1",),),
    "keys": (("list",),),
}
#: Commands that look at no server that others write to, or run until they are stopped.
OTHERS = {
    "demo", "up", "scheduler", "worker", "loadgen", "replay", "simulate", "compare", "report",
    "experiment", "validate", "trace", "lab", "record", "bench", "verify", "acl", "version",
    "gateway", "exporter", "dashboard", "autoscaler", "calibrate", "advise",
}  # fmt: skip
AS_JSON = {"status", "top", "get", "tenants", "workers", "cells", "doctor"}


def test_every_command_is_walked() -> None:
    assert set(COMMANDS) <= set(ASKED) | OTHERS | {"url"}, "say here how it is asked"


@pytest.fixture
def hostile(run: Run, embedded_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Fill a cell with such text, wherever text can be."""
    link, keys = Link.to(embedded_url), Keys()
    monkeypatch.setenv("PARALLAX_REDIS", embedded_url)
    Intake(link, keys).submit([Job("j1", "acme", 10, 5), Job("j2", "acme", 10, 5)])
    registration = Registration(
        VERSION,
        4,
        HOSTILE,
        version=HOSTILE,
        role=HOSTILE,
        about={HOSTILE: HOSTILE, "backend": HOSTILE, "kind": HOSTILE, "models": HOSTILE},
    )
    key = ApiKey(VERSION, "0" * 64, "acme", 0.0, (HOSTILE,), (HOSTILE,))
    end = "failed w1/1/1-1 1 2"
    report = Report("acme", HOSTILE[:64], 1, error=HOSTILE)
    letter = ("job", "j1", "why", HOSTILE, "stream", HOSTILE, "sample", HOSTILE)
    verdict = Verdict(HOSTILE, HOSTILE, {HOSTILE: (1, 1)})
    link.calls(
        [
            ("HSET", keys.workers, "w1", encode(registration)),
            ("HSET", keys.keyring, HOSTILE, encode(key)),
            ("HSET", keys.status("w1"), "unready", HOSTILE, "jobs", HOSTILE),
            ("HSET", keys.status("w1"), HOSTILE, HOSTILE, "kv_used", HOSTILE),
            ("SET", keys.heartbeat("w1"), HOSTILE, "PX", 60_000),
            ("SET", keys.leader, HOSTILE, "PX", 60_000),
            ("HSET", keys.job("j1"), "at", end, "result", encode(report)),
            ("HSET", keys.job("j2"), "at", end, "result", HOSTILE, "hedge", HOSTILE),
            ("XADD", keys.dead, "*", *letter),
            ("XADD", keys.dead, "*", "why", HOSTILE, HOSTILE, HOSTILE),
            ("HSET", keys.counts, HOSTILE, 3, "completed", HOSTILE),
            ("HSET", keys.policy, "serial", HOSTILE, "document",
             encode(PolicyDocument(HOSTILE, verdict=verdict))),
            ("SADD", keys.active, HOSTILE, "acme"),
        ]
    )  # fmt: skip
    link.close()
    return run


def is_clean(text: str) -> bool:
    """Whether every line is one that we wrote, and nothing in it steers a terminal."""
    lines = text.split("\n")
    return all(c.isprintable() for line in lines for c in line) and not any(
        line.lstrip().startswith("forged") for line in lines
    )


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", sorted(ASKED))
def test_no_command_writes_it_as_it_is(name: str, hostile: Run) -> None:
    for arguments in ASKED[name]:
        for flags in ((), ("--json",)) if name in AS_JSON else ((),):
            answer = hostile(
                name,
                *arguments,
                *flags,
                *(("--timeout", "0.1") if name == "submit" and "--detach" not in arguments else ()),
            )
            assert answer.code in {0, 1, 2}, answer.err
            assert is_clean(answer.out), (arguments, answer.out)
            assert is_clean(answer.err), (arguments, answer.err)
            assert "Traceback" not in answer.err


def test_a_record_is_shown_with_its_text_made_printable(hostile: Run) -> None:
    out = hostile("get", "j1").out
    assert "forged completed" in out
    assert "\\x1b]0;owned" in out


@pytest.mark.parametrize("character", HOSTILE)
def test_one_function_makes_any_text_printable(character: str) -> None:
    shown = printable(f"a{character}b")
    assert shown.isprintable()
    assert shown[0] + shown[-1] == "ab"
    assert printable(shown) == shown


def test_the_control_of_the_test_itself() -> None:
    is_bad: Callable[[str], bool] = lambda text: not is_clean(text)  # noqa: E731
    assert all(map(is_bad, ("a\x1b[2J", "a\rb", "a\nforged b", "a\u202eb", "a\x9b31m")))
    assert is_clean("a\nb")
