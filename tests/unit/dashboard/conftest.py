"""A dashboard over a cell with two workers, three jobs, weights and a dead letter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from parallax.broker.link.connection import Link
from parallax.broker.store.codec import VERSION, Registration
from parallax.broker.store.intake import Intake
from parallax.broker.store.keys import Keys
from parallax.broker.store.membership import Membership
from parallax.broker.store.tenancy import Tenancy
from parallax.core.cells import CellAddress
from parallax.core.model import Job
from parallax.dashboard.app import Dashboard
from parallax.dashboard.lab import Lab
from parallax.dashboard.pages import STATIC
from parallax.services.clock import SystemClock

TOKEN = "token-of-a-test-0123456789"  # noqa: S105
BASE = "http://127.0.0.1:8090"
BEARER = {"authorization": f"Bearer {TOKEN}"}
HOSTILE = "<img src=x onerror=alert(1)>\x1b[2J"


@pytest.fixture
def link(embedded_url: str) -> Iterator[Link]:
    link, keys = Link.to(embedded_url), Keys()
    members = Membership(link, keys)
    for name, engine in (("w1", "cpu"), ("w2", HOSTILE)):
        members.beat(name, f"{name}-life", 60_000, Registration(VERSION, 4, engine))
    members.report("w2", 60_000, {"running": 2, "unready": HOSTILE, "kv_used": "0.5"})
    Tenancy(link, keys).set_weights({"acme": 3.0, "idle": 2.0})
    Intake(link, keys).submit([Job(f"j{n}", "acme" if n else "bert", 10, 5) for n in range(3)])
    link.call("XADD", keys.dead, "*", "job", "j1", "why", HOSTILE, "stream", "s", "sample", "x")
    yield link
    link.close()


def dashboard(url: str, path: Path, *, local: bool = True, static: Path | None = None) -> Dashboard:
    return Dashboard(
        CellAddress("main", url), SystemClock(), TOKEN, local=local, static=static or STATIC,
        lab=Lab(path / "lab"),
    )  # fmt: skip


@pytest.fixture
def web(link: Link, embedded_url: str, tmp_path: Path) -> Iterator[TestClient]:
    with TestClient(dashboard(embedded_url, tmp_path).app, base_url=BASE) as client:
        yield client
