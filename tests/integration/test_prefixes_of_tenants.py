"""What a tenant can learn of another's prompts from how much of its own was cached: nothing."""

from __future__ import annotations

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.intake import Intake
from parallax.consumers.engines.registry import build_engine
from parallax.core.model import Job
from parallax.producers.client.client import Client
from parallax.producers.client.tenant_client import TenantClient, stored_id
from parallax.services.clock import SystemClock
from tests.integration.cells import Cell

SECRET, OTHER = tuple(range(1000, 1040)), tuple(range(5000, 5040))


def asks(name: str, tenant: str, prefix: tuple[int, ...]) -> Job:
    return Job(name, tenant, 640, 10, output_tokens=5, prefix=prefix)


@pytest.fixture
def cell(server_url: str) -> Cell:
    cell = Cell(lambda: Link.to(server_url))
    cell.scheduler()
    cell.worker(build_engine("clock", profile="laptop", slots=8, speed=1000.0, clock=SystemClock()))
    return cell


def cached(cell: Cell, *names: str) -> list[int]:
    cell.until_ended(*names)
    records = [cell.record(name) for name in names]
    return [record.report.cached_tokens for record in records if record is not None]


def test_a_spy_sees_no_difference_and_the_owner_still_has_its_hits(
    cell: Cell, server_url: str
) -> None:
    client = Client(server_url, cell.keys.cell)
    victim, spy = TenantClient(client, "victim"), TenantClient(client, "spy")
    victim.submit([asks("v", "victim", SECRET)])
    cell.until_ended(stored_id("victim", "v"))
    spy.submit([asks("guess", "spy", SECRET), asks("control", "spy", OTHER)])
    assert cached(cell, stored_id("spy", "guess"), stored_id("spy", "control")) == [0, 0]
    victim.submit([asks("again", "victim", SECRET)])
    assert cached(cell, stored_id("victim", "again"))[0] > 600
    client.close()


def test_in_a_trace_prefixes_are_shared_as_before(cell: Cell) -> None:
    intake = Intake(cell.link, cell.keys, shared_prefixes=True)
    intake.submit([asks("a", "one", SECRET)])
    cell.until_ended("a")
    intake.submit([asks("b", "two", SECRET)])
    assert cached(cell, "b")[0] > 600  # what makes the difference above
