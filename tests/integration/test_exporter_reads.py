"""A look at a whole cell: everything is found, and what may not be asked is left out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.beside import look_beside
from parallax.broker.store.codec import VERSION, Registration
from parallax.broker.store.intake import Intake
from parallax.broker.store.keys import Keys
from parallax.broker.store.membership import Leadership, Membership
from parallax.broker.store.tenancy import Tenancy
from parallax.core.clock import ManualClock
from parallax.core.errors import StoreFault
from parallax.core.model import Job
from parallax.services.cell_watch import CellWatch
from parallax.telemetry.cell import CellMetrics

KEYS = Keys()


@pytest.fixture
def link(connect: Callable[[], Link]) -> Link:
    """Fill a cell: two tenants, three workers of which one is dead and one drains, a leader."""
    link = connect()
    Intake(link, KEYS).submit([Job(f"j{n}", "acme" if n % 3 else "bob", 10, 5) for n in range(9)])
    Tenancy(link, KEYS).set_weights({"acme": 3.0, "eve": 2.0})
    members = Membership(link, KEYS)
    for worker in ("w1", "w2", "w3"):
        members.beat(worker, "i", 60_000, Registration(VERSION, 4, "clock"))
        members.report(worker, 60_000, {"heartbeat_ms": 60_000, "draining": int(worker == "w2")})
    link.call("DEL", KEYS.heartbeat("w3"))
    Leadership(link, KEYS, "s1", 60_000).acquire()
    return link


def watched(link: Link) -> CellMetrics:
    metrics = CellMetrics()
    CellWatch(link, KEYS, metrics, ManualClock(100.0), 2.0).run_once()
    return metrics


def value(metrics: CellMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"parallax_{name}", labels)


def test_an_overview_becomes_metrics(link: Link) -> None:
    metrics = watched(link)
    assert value(metrics, "cell_up") == value(metrics, "cell_leader") == 1
    assert value(metrics, "cell_queue_depth", tenant="acme") == 6
    assert value(metrics, "cell_open_jobs") == 9
    assert value(metrics, "cell_workers", state="dead") == 1
    assert value(metrics, "cell_due_ratio", tenant="acme") == 0.75
    assert value(metrics, "cell_workers", state="draining") == 1
    age = value(metrics, "cell_heartbeat_age_seconds", worker="w1")
    assert age is not None
    assert 0 <= age < 60
    assert value(metrics, "cell_heartbeat_age_seconds", worker="w3") == 0.0


def test_an_empty_cell_has_metrics_too(connect: Callable[[], Link]) -> None:
    metrics = watched(connect())
    assert value(metrics, "cell_up") == 1
    assert value(metrics, "cell_leader") == 0
    assert value(metrics, "cell_workers", state="alive") == 0


def test_what_may_not_be_asked_is_left_out(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = link.calls

    def refusing(commands: list[tuple[str, ...]]) -> object:
        if commands and commands[0][0] == "INFO":
            raise StoreFault("NOPERM this user has no permissions to run the 'info' command")
        return calls(commands)

    monkeypatch.setattr(link, "calls", refusing)
    assert look_beside(link, KEYS, ["acme"], 0.0).server == {}
    assert value(watched(link), "cell_up") == 1


def test_a_cell_is_looked_at_when_it_is_due(connect: Callable[[], Link]) -> None:
    link, metrics, clock = connect(), CellMetrics(), ManualClock(100.0)
    watch = CellWatch(link, KEYS, metrics, clock, 2.0)
    watch.run_once()
    Intake(link, KEYS).submit([Job("j", "acme", 10, 5)])
    turns = 0
    while value(metrics, "cell_open_jobs") == 0:
        watch.run_once()
        turns += 1
    assert clock.monotonic() >= 102.0
    assert turns > 1
