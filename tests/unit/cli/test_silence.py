"""A command that waits says after a while what for: no leader, no worker; and who leads instead."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.codec import VERSION, Registration
from parallax.broker.store.keys import Keys
from parallax.broker.store.membership import Membership
from parallax.cli.leader import leader_name, leader_of
from parallax.cli.scheduler import _standing_by
from parallax.cli.silence import SILENCE_S, reasons, said_after
from parallax.consumers.cli import _leaderless
from parallax.core.cells import CellAddress
from parallax.core.errors import Unreachable
from parallax.services.scheduler import SchedulerService
from tests.unit.cli.invoking import CLOSED, Run
from tests.waiting import wait_until


@pytest.fixture
def place(embedded_url: str) -> CellAddress:
    return CellAddress("main", embedded_url)


@pytest.fixture
def link(place: CellAddress) -> Link:
    return Link.to(place.url)


def lead(link: Link) -> None:
    link.call("SET", Keys().leader, "host-1-abc|7", "PX", 60_000)


def work(link: Link) -> None:
    Membership(link, Keys()).beat("w1", "w1", 60_000, Registration(VERSION, 4, "cpu"))


def test_what_is_missing_is_named(place: CellAddress, link: Link) -> None:
    first, second = reasons(place)
    assert "no scheduler leads cell main" in first
    assert "no worker of cell main" in second
    lead(link)
    (only,) = reasons(place)
    assert "parallax worker" in only
    work(link)
    assert reasons(place) == []


def test_who_leads_is_told_without_the_epoch(place: CellAddress, link: Link) -> None:
    assert leader_of(place) is None
    lead(link)
    assert leader_of(place) == "host-1-abc"
    assert leader_name(b"host-1\x1b[2J|7") == "host-1\\x1b[2J"
    assert leader_name(None) is None


def told_by(sentences: Sequence[str] | Exception) -> list[str]:
    """Return what is said about a body that ends when something was, or something else happened."""
    heard: list[str] = []
    asked = threading.Event()

    def tell() -> Sequence[str]:
        asked.set()
        if isinstance(sentences, Exception):
            raise sentences
        return sentences

    count = 1 if isinstance(sentences, Exception) else len(sentences)
    with said_after(tell, after_s=0.0, tell=heard.append):
        wait_until(asked.is_set, "it was asked")
        wait_until(lambda: len(heard) == count, "it was said")
    return heard


def test_it_is_said_once_and_cannot_steer_a_terminal() -> None:
    assert told_by(["no worker\x1b[2J", "no leader"]) == ["no worker\\x1b[2J", "no leader"]


def test_a_server_that_is_gone_is_a_reason_too() -> None:
    secret = CLOSED.replace("redis://", "redis://user:hunter2@")
    (sentence,) = told_by(Unreachable(f"Redis does not answer at {secret}"))
    assert "does not answer" in sentence
    assert "hunter2" not in sentence


def test_what_is_over_in_time_is_not_explained() -> None:
    heard: list[str] = []
    with said_after(lambda: ["late"], after_s=3600.0, tell=heard.append):
        pass
    assert heard == []
    assert SILENCE_S == 2.0


@pytest.mark.dear
def test_submit_says_why_nothing_comes(
    run: Run, embedded_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parallax.cli.silence.SILENCE_S", 0.0)
    answer = run("submit", "--prompt-tokens", "1", "--max-tokens", "1", "--timeout", "1.5",
                 "--redis", embedded_url)  # fmt: skip
    assert answer.code == 1
    assert "no scheduler leads cell main" in answer.err
    assert "no worker of cell main" in answer.err


@dataclass
class Duty:
    """What is asked of a scheduler."""

    leading: bool


def test_a_standby_says_who_leads(place: CellAddress, link: Link) -> None:
    standby = cast("SchedulerService", Duty(leading=False))
    assert _standing_by(standby, place) == []  # nobody does: it is about to lead
    lead(link)
    (sentence,) = _standing_by(standby, place)
    assert "standing by: host-1-abc leads cell main" in sentence
    assert _standing_by(cast("SchedulerService", Duty(leading=True)), place) == []


def test_a_worker_that_nobody_leads_says_so(place: CellAddress, link: Link) -> None:
    (sentence,) = _leaderless(place)
    assert "no scheduler leads cell main" in sentence
    lead(link)
    assert _leaderless(place) == []
