"""`parallax doctor` and `version`: what is found, how bad it is, and what to do about it."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from parallax import __version__
from parallax.broker.link.connection import Link
from parallax.broker.link.scripts import Argument
from parallax.broker.store.codec import VERSION, Registration
from parallax.broker.store.keys import Keys
from parallax.broker.store.membership import Leadership, Membership
from parallax.cli import doctor
from parallax.core.errors import StoreFault
from tests.unit.cli.invoking import CLOSED, Answer, Run

KEYS = Keys("main")


@pytest.fixture
def link(server_url: str) -> Iterator[Link]:
    made = Link.to(server_url)
    names = ("maxmemory-policy", "appendfsync")
    before = {name: made.call("CONFIG", "GET", name)[1] for name in names}
    yield made
    for name, value in before.items():
        made.call("CONFIG", "SET", name, value)
    made.close()


def findings(answer: Answer) -> dict[str, tuple[str, str]]:
    return {row["check"]: (row["finding"], row["note"]) for row in answer.document}


# -- version


def test_versions_are_shown(run: Run) -> None:
    answer = run("version", "--json")
    assert answer.code == 0
    assert answer.document["parallax"] == __version__
    assert answer.document["python"] == platform.python_version()
    assert {name.replace("-", "_") for name in doctor.PACKAGES} == set(answer.document["packages"])
    assert answer.document["packages"]["redis"]


def test_versions_in_a_pipe_are_plain_lines(run: Run) -> None:
    assert run("version").out.splitlines()[0].split() == ["parallax", __version__]


# -- without a server


def test_without_a_server_it_is_said_how_to_start_one(run: Run) -> None:
    answer = run("doctor", "--json")
    assert answer.code == 0
    word, text = findings(answer)["server"]
    assert word == "warning"
    assert "parallax up" in text


def test_a_server_that_does_not_answer_is_bad(run: Run) -> None:
    answer = run("doctor", "--json", "--redis", CLOSED)
    assert answer.code == 1
    word, text = findings(answer)["server"]
    assert word == "bad"
    assert "does not answer" in text


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_the_password_is_never_printed(
    run: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    url = "redis://user:hunter2@127.0.0.1:1"
    monkeypatch.setenv("PARALLAX_REDIS", url)
    for answer in (run("doctor", *arguments), run("doctor", *arguments, "--redis", url)):
        assert "hunter2" not in answer.out + answer.err
        assert "redis://user:***@127.0.0.1:1" in answer.out


# -- with a server


def test_every_finding_of_a_server_has_a_word_and_a_text(run: Run, server_url: str) -> None:
    found = findings(run("doctor", "--json", "--redis", server_url))
    assert {word for word, _ in found.values()} <= {"ok", "warning", "bad"}
    assert all(text for _, text in found.values())
    word, text = found["version"]
    assert found["server"][0] == "ok"
    assert word == "ok" or "security fixes" in text


def test_a_cell_without_a_scheduler_is_said_to_wait(run: Run, server_url: str) -> None:
    word, text = findings(run("doctor", "--json", "--redis", server_url))["cell main"]
    assert word == "warning"
    assert "parallax scheduler" in text


def test_a_cell_without_a_worker_is_said_to_wait(run: Run, server_url: str, link: Link) -> None:
    Leadership(link, KEYS, "leader", 60_000).acquire()
    word, text = findings(run("doctor", "--json", "--redis", server_url))["cell main"]
    assert word == "warning"
    assert "parallax worker" in text


def test_a_cell_with_both_is_ok(run: Run, server_url: str, link: Link) -> None:
    Leadership(link, KEYS, "leader", 60_000).acquire()
    Membership(link, KEYS).beat("w1", "life-1", 60_000, Registration(VERSION, 4))
    word, text = findings(run("doctor", "--json", "--redis", server_url))["cell main"]
    assert word == "ok"
    assert "1 workers" in text


def test_a_server_that_may_evict_jobs_is_bad(run: Run, server_url: str, link: Link) -> None:
    link.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    answer = run("doctor", "--json", "--redis", server_url)
    assert answer.code == 1
    word, text = findings(answer)["maxmemory-policy"]
    assert word == "bad"
    assert text.startswith("allkeys-lru: ")


@pytest.mark.parametrize(
    ("fsync", "lost"), [("always", "nothing"), ("everysec", "up to 2 s"), ("no", "much")]
)
def test_durability_says_what_a_crash_may_lose(
    run: Run, server_url: str, link: Link, fsync: str, lost: str
) -> None:
    link.call("CONFIG", "SET", "appendfsync", fsync)
    _, text = findings(run("doctor", "--json", "--redis", server_url))["durability"]
    assert text.startswith(f"{fsync}: ")
    assert f"may lose {lost}" in text


class Told:
    """A link to a server that says it is of some version and refuses everything else."""

    def __init__(self, info: str) -> None:
        self._info = info

    def call(self, *command: Argument) -> Any:
        if command[0] == "INFO":
            return self._info.encode()
        raise StoreFault("NOPERM this user has no permissions")

    def calls(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        return [self.call(*command) for command in commands]

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("info", "word", "text"),
    [
        ("redis_version:5.0.14", "bad", "6.2 or later"),
        ("redis_version:6.0.20", "bad", "6.2 or later"),
        ("redis_version:6.2.19", "warning", "6.2.20"),
        ("redis_version:6.2.20", "ok", "Redis 6.2.20"),
        ("redis_version:7.4.5", "warning", "7.4.6"),
        ("redis_version:8.4.0", "ok", "Redis 8.4.0"),
        ("redis_version:7.2.4\r\nvalkey_version:9.0.1", "ok", "Valkey 9.0.1"),
        ("", "bad", "6.2 or later"),
    ],
)
def test_the_servers_version_is_judged(
    run: Run, monkeypatch: pytest.MonkeyPatch, info: str, word: str, text: str
) -> None:
    monkeypatch.setattr(Link, "to", lambda _: Told(f"# Server\r\n{info}\r\n"))
    found = findings(run("doctor", "--json", "--redis", CLOSED))
    assert found["version"][0] == word
    assert text in found["version"][1]


def test_a_user_who_may_not_read_the_settings_is_warned(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Link, "to", lambda _: Told("redis_version:8.4.0"))
    found = findings(run("doctor", "--json", "--redis", CLOSED))
    assert found["maxmemory-policy"][0] == found["appendonly"][0] == "warning"


class Node(Told):
    """A link to a node of a cluster that is not well."""

    address = "10.0.0.1:6379"

    def call(self, *command: Argument) -> Any:
        if command == ("CLUSTER", "INFO"):
            return b"cluster_state:fail\r\ncluster_slots_assigned:16384\r\n"
        return None if command[0] == "EXISTS" else super().call(*command)


def test_a_cluster_that_has_failed_is_bad(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Link, "to", lambda _: Node("redis_version:7.4.6\r\nredis_mode:cluster"))
    answer = run("doctor", "--json", "--redis", CLOSED)
    found = findings(answer)
    assert answer.code == 1
    assert found["cluster"] == ("bad", "its state is fail")
    assert found["slot"] == ("ok", f"cell main is in slot {KEYS.slot}, on 10.0.0.1:6379")
