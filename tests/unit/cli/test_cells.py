"""Commands over several cells: what they show, what a silent one leaves of it, and `--as`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.core.cells import home
from parallax.producers.client.tenant_client import stored_id
from tests.unit.cli.invoking import CLOSED, Answer, Run

SIZE = ("--prompt-tokens", "10", "--max-tokens", "20", "--detach")
TENANT = {cell: next(f"t{n}" for n in range(99) if home(f"t{n}", "ab") == cell) for cell in "ab"}
SECRET = CLOSED.replace("redis://", "redis://user:hunter2@")


@pytest.fixture
def ask(run: Run, embedded_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs `parallax` over the cells a and b of an empty server."""
    monkeypatch.setenv("PARALLAX_REDIS", embedded_url)
    monkeypatch.setenv("PARALLAX_CELLS", "a,b")

    def asked(command: str, *arguments: str) -> Answer:
        return run(*command.split(), *arguments)

    return asked


@pytest.fixture
def half(ask: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The same, and nobody answers for cell b."""
    monkeypatch.setenv("PARALLAX_CELLS", f"a,b={CLOSED}")
    return ask


def submitted(ask: Run, cell: str, name: str, *more: str) -> Answer:
    return ask("submit", *SIZE, "--tenant", TENANT[cell], "--id", name, *more)


# -- two cells


def test_jobs_go_home_and_are_found_from_outside(ask: Run, embedded_url: str) -> None:
    for cell in "ab":
        assert submitted(ask, cell, f"j{cell}").out == f"j{cell} accepted\n"
        assert ask("get", f"j{cell}", "--json").document["tenant"] == TENANT[cell]
        assert ask("get", f"j{cell}", "--cell", cell).code == 0  # a flag beats the environment
    assert ask("get", "ja", "--cell", "b").code == 1
    status = ask("status", "--json").document
    assert {one["cell"]: one["open_jobs"] for one in status["cells"]} == {"a": 1, "b": 1}
    assert status["open_jobs"] == status["totals"]["accepted"] == 2
    assert ask("cancel", "ja", "jb", "--json").document == [
        {"id": "ja", "answer": "ok"}, {"id": "jb", "answer": "ok"},
    ]  # fmt: skip
    assert ask("status", "--json").document["open_jobs"] == 0


def test_a_file_of_jobs_is_spread(ask: Run) -> None:
    lines = [{"id": f"j{n}", "prompt_tokens": 9, "max_tokens": 9, "tenant": f"t{n % 9}"}
             for n in range(90)]  # fmt: skip
    Path("jobs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    answer = ask("submit", "--detach", "-f", "jobs.jsonl")
    assert answer.out.splitlines() == [f"j{n} accepted" for n in range(90)]
    cells = ask("status", "--json").document["cells"]
    at_home = {cell: sum(home(f"t{n % 9}", "ab") == cell for n in range(90)) for cell in "ab"}
    assert {one["cell"]: one["open_jobs"] for one in cells} == at_home


def test_the_cells_are_listed(ask: Run) -> None:
    submitted(ask, "b", "j1")
    rows = ask("cells", "--json").document
    assert [(r["cell"], r["answers"], r["leader"], r["workers"], r["open_jobs"]) for r in rows] == [
        ("a", True, None, 0, 0), ("b", True, None, 0, 1),
    ]  # fmt: skip
    plain = ask("cells")
    assert (plain.code, plain.err) == (0, "")
    assert len(plain.out.splitlines()) == 3


def test_where_tenants_live_needs_no_server(run: Run) -> None:
    answer = run("cells", "--cells", f"a,b={CLOSED}", TENANT["a"], TENANT["b"], "--json")
    assert (answer.code, answer.document) == (0, [
        {"tenant": TENANT["a"], "cell": "a"}, {"tenant": TENANT["b"], "cell": "b"},
    ])  # fmt: skip
    assert run("cells", "--cells", "a:1000,b:0.001", TENANT["b"], "--json").document == [
        {"tenant": TENANT["b"], "cell": "a"}
    ]


def test_weights_are_set_at_home_and_listed_with_the_cell(ask: Run) -> None:
    for cell in "ab":
        assert ask("tenants set", TENANT[cell], "--weight", "3").code == 0
    rows = ask("tenants list", "--json").document
    assert [(row["tenant"], row["cell"], row["weight"]) for row in rows] == [
        (TENANT["a"], "a", 3.0), (TENANT["b"], "b", 3.0),
    ]  # fmt: skip


def test_cells_may_stand_in_the_settings_file(
    ask: Run, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.delenv("PARALLAX_CELLS")
    Path("parallax.toml").write_text('cells = "x,y"\n')
    assert [one["cell"] for one in ask("status", "--json").document["cells"]] == ["x", "y"]
    assert [row["cell"] for row in ask("cells", "--json").document] == ["x", "y"]
    monkeypatch.setenv("PARALLAX_CELL", "z")  # the environment beats the file
    assert [row["cell"] for row in ask("cells", "--json").document] == ["z"]
    Path("parallax.toml").write_text("[cells]\njson = true\n")
    assert [row["cell"] for row in ask("cells").document] == ["z"]


# -- one of two is silent


def test_what_answers_is_shown_and_the_silent_one_is_named(half: Run) -> None:
    for command in ("status", "cells", "tenants list"):
        answer = half(command, "--json")
        assert answer.code == 1, command
        assert answer.document is not None
        assert answer.err.startswith("parallax: cell b: Redis does not answer")
        assert len(answer.err.splitlines()) == 1
    assert half("status", "--json").document["silent"] == ["b"]


def test_jobs_of_a_silent_cell_are_told_to_be_unknown(half: Run) -> None:
    lines = [{"id": f"j{cell}", "prompt_tokens": 9, "max_tokens": 9, "tenant": TENANT[cell]}
             for cell in "ab"]  # fmt: skip
    Path("jobs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    answer = half("submit", "--detach", "-f", "jobs.jsonl")
    assert answer.code == 1
    first, second = answer.out.splitlines()
    assert first == "ja accepted"
    assert second.startswith('jb unknown error="job jb: cell b: Redis does not answer')


def test_if_nothing_was_reachable_it_ends_with_4(half: Run) -> None:
    answer = submitted(half, "b", "j1", "--json")
    assert answer.code == 4
    assert answer.document["state"] == "unknown"
    assert "cell b: Redis does not answer" in answer.err
    assert half("tenants set", TENANT["b"], "--weight", "2").code == 4


def test_what_a_silent_cell_may_know_is_not_denied(half: Run) -> None:
    submitted(half, "a", "ja")
    assert half("get", "ja").code == 0
    assert half("get", "nobody").code == 4
    assert half("cancel", "nobody").code == 4
    answer = half("cancel", "ja", "nobody", "--json")
    assert (answer.code, answer.document) == (1, [
        {"id": "ja", "answer": "ok"}, {"id": "nobody", "answer": "silent"},
    ])  # fmt: skip


def test_a_load_is_offered_to_cells_that_run_only(half: Run) -> None:
    answer = half("loadgen", "--workers", "2")
    assert answer.code == 2
    assert "--workers: 2 is not allowed" in answer.err


# -- how they are named


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--cells", "a,a"], "each cell may be named once"),
        (["--cells", "a,{b}"], "--cells, cell 2: '{b}'"),
        (["--cells", "a=http://x"], "URLs begin with redis://"),
        (["--cells", "a", "--cell", "b"], "either --cell or --cells"),
    ],
)
def test_bad_cells_end_with_2(run: Run, arguments: list[str], named: str) -> None:
    for command in (["status"], ["get", "j"], ["cells"], ["up"], ["loadgen"]):
        answer = run(*command, *arguments, "--redis", CLOSED)
        assert (answer.code, answer.out) == (2, "")
        assert named in answer.err


def test_a_password_among_the_arguments_is_warned_of_and_not_told(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = run("status", "--cells", f"a={SECRET},b={SECRET}")
    assert answer.code == 4
    assert "a password stands among the arguments" in answer.err
    assert "PARALLAX_CELLS" in answer.err
    assert "hunter2" not in answer.err
    monkeypatch.setenv("PARALLAX_CELLS", f"a={SECRET},b={SECRET}")
    answer = run("status")
    assert "arguments" not in answer.err
    assert "hunter2" not in answer.err


# -- for one tenant


def test_ids_of_a_tenant_are_its_own(ask: Run) -> None:
    for tenant in TENANT.values():
        answer = ask("submit", *SIZE, "--as", tenant, "--id", "j1")
        assert (answer.code, answer.out) == (0, "j1 accepted\n")
        record = ask("get", "j1", "--as", tenant, "--json").document
        assert (record["id"], record["tenant"]) == ("j1", tenant)
    assert ask("get", "j1").code == 1
    assert ask("get", stored_id(TENANT["a"], "j1")).code == 0  # as operators see it
    assert ask("cancel", "j1", "--as", TENANT["a"], "--json").document == [
        {"id": "j1", "answer": "ok"}
    ]
    assert ask("get", "j1", "--as", TENANT["b"], "--json").document["state"] == "queued"


def test_anothers_job_and_none_are_answered_alike(ask: Run) -> None:
    ask("submit", *SIZE, "--as", "owner", "--id", "j1")
    submitted(ask, "a", "j2")
    for name in ("j1", "j2", "j3", stored_id("owner", "j1")):
        answer = ask("get", name, "--as", "other")
        assert (answer.code, answer.out) == (1, "")
        assert answer.err == f"parallax: there is no record of {name}; it may have expired\n"
        cancelled = ask("cancel", name, "--as", "other", "--json")
        assert (cancelled.code, cancelled.document) == (1, [{"id": name, "answer": "unknown"}])


def test_a_tenant_submits_for_itself(ask: Run) -> None:
    answer = ask("submit", *SIZE, "--as", "acme", "--tenant", "bob", "--id", "j1")
    assert (answer.code, answer.out) == (2, "")
    assert "tenant of job j1: 'bob' is not allowed; acme" in answer.err
    assert ask("status", "--json").document["open_jobs"] == 0


def test_a_tenant_needs_a_name(ask: Run) -> None:
    assert ask("get", "j1", "--as", "a b").code == 2


def test_a_reader_may_ask_for_a_record(ask: Run, embedded_url: str) -> None:
    """Who only looks leaves nothing to delete, which it might not be allowed to."""
    submitted(ask, "a", "j1")
    link = Link.to(embedded_url)
    rules = ["on", ">pw", f"~{Keys('a').job('*')}", "+hmget", "+auth", "+hello", "+select"]
    link.call("ACL", "SETUSER", "reader", *rules)
    try:
        answer = ask(
            "get", "j1", "--cell", "a", "--redis", f"unix://reader:pw@{embedded_url.split('@')[1]}"
        )
    finally:
        link.call("ACL", "DELUSER", "reader")
        link.close()
    assert answer.code == 0
