"""Commands against a server: what they show, as JSON too, and how they end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.codec import VERSION, Registration
from parallax.broker.store.keys import Keys
from parallax.broker.store.membership import Membership
from tests.unit.cli.invoking import Answer, Run

JOB = ("--prompt-tokens", "10", "--max-tokens", "20", "--tenant", "acme")


@pytest.fixture
def ask(run: Run, server_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs `parallax` against an empty server."""
    monkeypatch.setenv("PARALLAX_REDIS", server_url)

    def asked(command: str, *arguments: str) -> Answer:
        return run(*command.split(), *arguments)

    return asked


def submitted(ask: Run, *more: str) -> Answer:
    return ask("submit", *JOB, "--detach", *more)


# -- an empty cell


@pytest.mark.parametrize("command", ["status", "workers", "tenants list", "doctor"])
def test_an_empty_cell_can_be_looked_at(ask: Run, command: str) -> None:
    as_json = ask(command, "--json")
    assert as_json.code == 0
    assert isinstance(as_json.document, dict | list)
    assert as_json.err == ""
    plain = ask(command)
    assert plain.code == 0
    assert "\x1b" not in plain.out


def test_the_status_of_an_empty_cell(ask: Run) -> None:
    status = ask("status", "--json").document
    assert status["leader"] is None
    assert status["workers"] == status["open_jobs"] == status["waiting_jobs"] == 0


# -- jobs


def test_a_submitted_job_waits_and_has_a_record(ask: Run) -> None:
    answer = submitted(ask, "--id", "j1", "--session", "s1")
    assert (answer.code, answer.out) == (0, "j1 accepted\n")
    status = ask("status", "--json").document
    assert (status["open_jobs"], status["waiting_jobs"], status["active_tenants"]) == (1, 1, 1)
    record = ask("get", "j1", "--json").document
    assert (record["id"], record["tenant"], record["state"]) == ("j1", "acme", "queued")
    assert (record["prompt_tokens"], record["max_tokens"]) == (10, 20)
    assert (record["session"], record["worker"], record["e2e_s"]) == ("s1", None, None)


def test_a_job_without_a_name_gets_one_of_its_own(ask: Run) -> None:
    first, second = submitted(ask).out, submitted(ask).out
    assert first != second
    assert first.startswith("job-")


def test_the_same_job_twice_is_the_same_job(ask: Run) -> None:
    assert submitted(ask, "--id", "j1").code == 0
    assert submitted(ask, "--id", "j1").code == 0
    assert ask("status", "--json").document["open_jobs"] == 1


def test_another_job_under_the_same_name_is_refused(ask: Run) -> None:
    submitted(ask, "--id", "j1")
    answer = submitted(ask, "--id", "j1", "--priority", "5", "--json")
    assert answer.code == 1
    assert answer.document["state"] == "refused"
    assert "another content" in answer.document["error"]


def test_a_file_of_jobs_is_submitted(ask: Run) -> None:
    lines = [{"id": f"j{n}", "prompt_tokens": n, "max_tokens": 9} for n in range(3)]
    Path("jobs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    answer = ask("submit", "--detach", "-f", "jobs.jsonl", "--tenant", "bob")
    assert answer.code == 0
    assert answer.out.splitlines() == ["j0 accepted", "j1 accepted", "j2 accepted"]
    assert ask("get", "j2", "--json").document["tenant"] == "bob"


def test_a_job_nobody_runs_is_told_to_wait(ask: Run) -> None:
    answer = ask("submit", *JOB, "--id", "j1", "--timeout", "0.01", "--json")
    assert answer.code == 1
    assert answer.document["state"] == "waiting"


def test_a_job_without_a_record_ends_with_1(ask: Run) -> None:
    answer = ask("get", "nobody", "--json")
    assert (answer.code, answer.out) == (1, "")
    assert "no record of nobody" in answer.err


def test_cancelling_ends_a_job_once(ask: Run) -> None:
    submitted(ask, "--id", "j1")
    answer = ask("cancel", "j1", "--json")
    assert (answer.code, answer.document) == (0, [{"id": "j1", "answer": "ok"}])
    assert ask("get", "j1", "--json").document["state"] == "cancelled"
    assert ask("status", "--json").document["open_jobs"] == 0


def test_cancelling_what_is_not_known_ends_with_1(ask: Run) -> None:
    submitted(ask, "--id", "j1")
    answer = ask("cancel", "j1", "nobody")
    assert answer.code == 1
    assert [line.split(maxsplit=1) for line in answer.out.splitlines()[1:]] == [
        ["j1", "cancelled"], ["nobody", "is not known"],
    ]  # fmt: skip


# -- tenants and workers


def test_weights_can_be_set_and_listed(ask: Run) -> None:
    assert ask("tenants set", "acme", "--weight", "2.5").code == 0
    submitted(ask, "--tenant", "bob")
    rows = {row["tenant"]: row for row in ask("tenants list", "--json").document}
    assert float(rows["acme"]["weight"]) == 2.5
    assert rows["acme"]["waiting_jobs"] == 0
    assert float(rows["bob"]["weight"]) == 1
    assert rows["bob"]["waiting_jobs"] == 1


def test_workers_are_listed_dead_or_alive(ask: Run, server_url: str) -> None:
    link = Link.to(server_url)
    keys = Keys()
    registration = Registration(VERSION, 4, "cpu", about={"gpu": "a\x1b[31m"})
    for name in ("w1", "w2"):
        Membership(link, keys).beat(name, name, 60_000, registration)
    link.call("DEL", keys.heartbeat("w2"))
    link.close()
    rows = ask("workers", "--json").document
    assert [(row["worker"], row["state"], row["slots"]) for row in rows] == [
        ("w1", "alive", 4), ("w2", "dead", 4),
    ]  # fmt: skip
    assert "\x1b" not in ask("workers").out


def test_cells_do_not_see_each_other(ask: Run) -> None:
    submitted(ask, "--id", "j1", "--cell", "blue")
    assert ask("get", "j1").code == 1
    assert ask("get", "j1", "--cell", "blue").code == 0
    assert ask("status", "--json").document["open_jobs"] == 0
