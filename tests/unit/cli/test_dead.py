"""Dead letters: seen, offered again once, removed; and what is no job is not offered."""

from __future__ import annotations

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.dead_letters import DeadLetters
from parallax.broker.store.keys import Keys
from parallax.core.errors import InvalidInput
from tests.unit.cli.invoking import Answer, Run

KEYS = Keys("main")
JOB = ("--prompt-tokens", "10", "--max-tokens", "20", "--tenant", "acme", "--session", "s")


@pytest.fixture
def link(server_url: str) -> Link:
    return Link.to(server_url)


@pytest.fixture
def ask(run: Run, server_url: str) -> Run:
    """Return a function that runs `parallax` against a server of the test's own."""

    def asked(command: str, *arguments: str) -> Answer:
        return run(*command.split(), *arguments, "--redis", server_url)

    return asked


def die(ask: Run, link: Link, job: str, *more: str) -> str:
    """Submit a job and write the letter that its last attempt leaves; return the entry."""
    assert ask("submit", *JOB, *more, "--detach", "--id", job).code == 0
    why = ("why", "attempts used up", "sample", "boom\x1b[31m")
    entry: bytes = link.call("XADD", KEYS.dead, "*", "job", job, *why)
    return entry.decode()


def junk(link: Link) -> str:
    fields = ("why", "spec: not JSON", "stream", KEYS.arrivals("acme"), "entry", "1-1")
    entry: bytes = link.call("XADD", KEYS.dead, "*", *fields, "sample", "{")
    return entry.decode()


def test_they_are_listed_the_newest_first_and_cannot_steer_a_terminal(ask: Run, link: Link) -> None:
    first, second = die(ask, link, "j1"), junk(link)
    listed = ask("dead list")
    assert listed.out.index(second) < listed.out.index(first)
    assert "\x1b" not in listed.out
    assert [one["entry"] for one in ask("dead list", "--count", "1", "--json").document] == [second]
    assert ask("dead show", "j1", "--json").document[0]["why"] == "attempts used up"


def test_a_job_comes_again_once_with_all_that_it_asked_for(ask: Run, link: Link) -> None:
    entry = die(ask, link, "j1", "--priority", "7")
    (letter,) = DeadLetters(link, KEYS).find(["j1"])
    answer = ask("dead requeue", entry)
    assert answer.code == 0
    assert answer.out == f"j1 again as {letter.successor}\n"
    again = ask("get", letter.successor, "--json").document
    assert (again["tenant"], again["session"], again["max_tokens"]) == ("acme", "s", 20)
    assert ask("dead list", "--json").document == []
    waiting = link.call("XLEN", KEYS.arrivals("acme"))
    assert DeadLetters(link, KEYS).requeue(letter).word == "dup", "as after a crash in between"
    assert link.call("XLEN", KEYS.arrivals("acme")) == waiting


def test_what_is_no_job_or_has_no_record_any_more_is_not_offered(ask: Run, link: Link) -> None:
    entry = junk(link)
    die(ask, link, "j1")
    link.call("DEL", KEYS.job("j1"))
    answer = ask("dead requeue", entry, "j1")
    assert answer.code == 1
    assert "a job, not an entry" in answer.err
    assert "has not expired" in answer.err
    assert len(ask("dead list", "--json").document) == 2, "they are kept"


def test_they_are_removed_by_name_or_all_together(ask: Run, link: Link) -> None:
    entries = [die(ask, link, f"j{n}") for n in range(4)]
    assert ask("dead purge", entries[0], "j1").out == "2 removed\n"
    assert ask("dead purge").code == 2
    assert ask("dead purge", "j2", "--all").code == 2
    assert ask("dead purge", "--all").out == "2 removed\n"
    assert ask("dead list", "--json").document == []
    assert ask("get", "j3").code == 0, "the record stays"


def test_an_unknown_one_is_named_and_nothing_is_done(ask: Run, link: Link) -> None:
    die(ask, link, "j1")
    answer = ask("dead purge", "j1", "nobody")
    assert answer.code == 2
    assert "nobody" in answer.err
    assert len(ask("dead list", "--json").document) == 1


def test_more_than_a_page_is_searched(ask: Run, link: Link) -> None:
    entry = die(ask, link, "j1")
    link.calls([("XADD", KEYS.dead, "*", "why", "x", "sample", "") for _ in range(1_200)])
    (letter,) = DeadLetters(link, KEYS).find([entry])
    assert letter.job == "j1"
    with pytest.raises(InvalidInput, match="j9"):
        DeadLetters(link, KEYS).find(["j9"])
