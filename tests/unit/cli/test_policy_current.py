"""`parallax policy current`: what is in force of every kind, and where each choice was made."""

from __future__ import annotations

from dataclasses import replace

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.broker.store.membership import Leadership
from parallax.broker.store.policies import PolicyStore
from parallax.core.settings import Policies, PolicyChoice
from parallax.services.choices import CHANGEABLE, told
from tests.unit.cli.invoking import Answer, Run

STARTED = replace(Policies(), ordering=PolicyChoice("edf"))


@pytest.fixture
def ask(run: Run, server_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs `parallax` against a server of the test's own."""
    monkeypatch.setenv("PARALLAX_REDIS", server_url)

    def asked(command: str, *arguments: str) -> Answer:
        return run(*command.split(), *arguments)

    return asked


@pytest.fixture
def led(server_url: str) -> None:
    """A leader has led, whose process was told an ordering policy."""
    link, keys = Link.to(server_url), Keys()
    lease = Leadership(link, keys, "host-1", 60_000).acquire()
    assert lease is not None
    PolicyStore(link, keys).keep(lease, "", {}, told(STARTED))
    link.close()


def current(ask: Run) -> dict[str, tuple[str, str]]:
    rows = ask("policy current", "--json").document
    return {row["kind"]: (row["name"], row["source"]) for row in rows}


def test_before_anybody_has_led_it_is_said(ask: Run) -> None:
    answer = ask("policy current")
    assert answer.code == 0
    assert "no scheduler has led cell main yet" in answer.err


@pytest.mark.usefixtures("led")
def test_each_choice_has_its_source(ask: Run) -> None:
    found = current(ask)
    assert set(found) == set(CHANGEABLE)
    assert found["ordering"] == ("edf", "scheduler")
    assert found["routing"] == (Policies().routing.name, "default")
    assert ask("policy set", "round_robin").code == 0
    assert current(ask)["routing"] == ("round_robin", "policy set")
    assert ask("canary start", "power_of_two").code == 0
    found = current(ask)
    assert found["candidate"] == ("power_of_two", "canary")
    assert found["rollout"] == ("canary", "canary")
    assert ask("canary promote").code == 0
    assert current(ask)["routing"] == ("power_of_two", "canary")
    assert ask("policy reset").code == 0
    assert current(ask)["routing"] == (Policies().routing.name, "default")
