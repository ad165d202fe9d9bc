"""What a tenant is told of its jobs is told to nobody else: every question, in every state."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.core.cells import CellAddress
from parallax.core.clock import ManualClock
from parallax.core.errors import InvalidInput
from parallax.core.lifecycle import Outcome, State
from parallax.core.model import NAME, Job, check_name
from parallax.producers.client.cells import Cells
from parallax.producers.client.client import Client, Completion
from parallax.producers.client.interface import Jobs
from parallax.producers.client.tenant_client import TenantClient, stored_id
from tests.examples import examples
from tests.integration.cells import Cell, StuckEngine

NAMES = st.from_regex(NAME, fullmatch=True)
STATES = ("queued", "assigned", "running", "completed", "cancelled", "expired", "forgotten")
_numbers = count()


class Impatient(Client):
    """A client whose waits for news pass on a clock that is moved by hand."""

    def __init__(self, url: str, cell: str) -> None:
        self.clock = ManualClock(1_000.0)
        super().__init__(url, cell, clock=self.clock)

    def news(self, block_ms: int) -> list[Completion]:
        self.clock.wait(1.0)
        return super().news(0)


def brought(cell: Cell, door: Jobs, one: Job, state: str, own_stream: bool = True) -> None:
    """Submit a job and bring it into this state."""
    engine = StuckEngine(1)
    stored = stored_id(one.tenant, one.id) if isinstance(door, TenantClient) else one.id
    cell.scheduler()
    if state != "queued":
        cell.worker(engine)
    if state == "assigned":  # behind another that runs
        cell.submit(Job("first", "somebody", 5, 9))
        cell.until(lambda: cell.state("first") is State.RUNNING, "the first to run")
    deadline_s = 0.001 if state == "expired" else None
    told = Job(one.id, one.tenant, 5, 9, output_tokens=2, deadline_s=deadline_s)
    assert door.submit([told], own_streams=own_stream)[0].word == "ok"
    if state in {"assigned", "running"}:
        cell.until(lambda: cell.state(stored) is State(state), state)
    elif state == "cancelled":
        assert door.cancel(one.id) == "ok"
    elif state != "queued":
        engine.stuck = state == "expired"
        cell.until_ended(stored)
    if state == "forgotten":  # its record has expired, what it told has not
        cell.link.call("DEL", cell.keys.job(stored))


def answers(door: Jobs, job_id: str) -> dict[str, Any]:
    """Return what every question about a job is answered, cancelling it in the end."""
    cursor, notices = door.follow(job_id, "", 0)
    return {
        "records": door.records([job_id]),
        "follow": (cursor, notices),
        "wait": list(door.wait([job_id], 3.0)),
        "cancel": door.cancel(job_id),
    }


def stage(url: str) -> tuple[Cell, Client]:
    name = f"cell-{next(_numbers)}"
    return Cell(partial(Link.to, url), keys=Keys(name)), Impatient(url, name)


def strike(cell: Cell, client: Client) -> None:
    client.close()
    for worker in cell.workers:
        worker.close()
    for scheduler in cell.schedulers:
        scheduler.close()
    cell.link.close()


laws = settings(
    max_examples=examples(40),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.dear
@laws
@given(
    names=st.lists(NAMES, min_size=2, max_size=2, unique=True), job_id=NAMES,
    state=st.sampled_from(STATES), scoped=st.booleans(), own_stream=st.booleans(),
)  # fmt: skip
def test_a_job_of_another_tenant_never_was(
    embedded_url: str, names: list[str], job_id: str, state: str, scoped: bool, own_stream: bool
) -> None:
    cell, client = stage(embedded_url)
    owner, other = names
    mine, theirs = TenantClient(client, owner), TenantClient(client, other)
    door: Jobs = mine if scoped else client  # an operator may have submitted it for the owner
    job = Job(job_id, owner, 5, 9, output_tokens=2)
    brought(cell, door, job, state, own_stream)
    before = door.records([job_id])

    stored = stored_id(owner, job_id)
    never = answers(theirs, "x" if job_id != "x" else "y")
    assert never == {"records": [None], "follow": ("", []), "wait": [], "cancel": "unknown"}
    assert answers(theirs, job_id) == never
    assert answers(theirs, stored) == never  # knowing what it is stored as does not help
    with pytest.raises(InvalidInput, match=r"tenant of job"):
        theirs.submit([job])

    assert door.records([job_id]) == before  # and nothing of it has changed it
    strike(cell, client)


@laws
@given(
    names=st.lists(NAMES, min_size=2, max_size=2, unique=True), job_id=NAMES,
    state=st.sampled_from(STATES),
)  # fmt: skip
def test_an_id_that_another_tenant_uses_is_free(
    embedded_url: str, names: list[str], job_id: str, state: str
) -> None:
    cell, client = stage(embedded_url)
    mine, theirs = (TenantClient(client, name) for name in names)
    brought(cell, mine, Job(job_id, names[0], 5, 9), state)
    before = mine.records([job_id])
    own = Job(job_id, names[1], 700, 9)  # a conflict, were it the same job
    assert [theirs.submit([own])[0].word for _ in range(2)] == ["ok", "dup"]
    (record,) = theirs.records([job_id])
    assert record is not None
    assert (record.job_id, record.tenant, record.prompt_tokens) == (job_id, names[1], 700)
    assert theirs.cancel(job_id) == "ok"
    assert mine.records([job_id]) == before
    strike(cell, client)


def test_the_client_without_a_tenant_does_see_it(embedded_url: str) -> None:
    """The control: the same questions to the whole cell are answered."""
    cell, client = stage(embedded_url)
    brought(cell, client, Job("j", "owner", 5, 9), "completed")
    seen = answers(client, "j")
    assert seen["records"][0].tenant == "owner"
    assert seen["follow"][1][-1].outcome is Outcome.COMPLETED
    assert [end.job_id for end in seen["wait"]] == ["j"]
    assert seen["cancel"] == "late"
    assert client.submit([Job("j", "other", 5, 9)])[0].word == "conflict"
    strike(cell, client)


@pytest.mark.parametrize("connect", ["client", "cells"])
@pytest.mark.sampled(1)
def test_a_tenant_sees_its_own_under_its_own_ids(embedded_url: str, connect: str) -> None:
    cell, client = stage(embedded_url)
    several = Cells.to(
        [CellAddress(cell.keys.cell, embedded_url), CellAddress("empty", embedded_url)]
    )
    owner = next(f"t{n}" for n in range(99) if several.home(f"t{n}") == cell.keys.cell)
    inner: Jobs = client if connect == "client" else several
    mine = TenantClient(inner, owner)
    brought(cell, mine, Job("j", owner, 5, 9), "completed")
    (record,) = mine.records(["j"])
    assert record is not None
    assert (record.job_id, record.tenant, record.outcome) == ("j", owner, Outcome.COMPLETED)
    assert inner.records(["j"]) == [None]
    assert inner.records([stored_id(owner, "j")])[0] is not None  # as operators find it
    _, notices = mine.follow("j", "", 0)
    assert {notice.job_id for notice in notices} == {"j"}
    assert notices[-1].outcome is Outcome.COMPLETED
    assert [end.job_id for end in mine.wait(["j"], 3.0)] == ["j"]
    assert mine.cancel("j") == "late"
    assert mine.cancel("nobody") == "unknown"
    several.close()
    strike(cell, client)


def test_bodies_go_with_their_jobs(embedded_url: str) -> None:
    cell, client = stage(embedded_url)
    mine = TenantClient(client, "t")
    mine.submit([Job("a", "t", 5, 9), Job("b", "t", 5, 9)], bodies={"b": b"prompt"})
    assert cell.link.call("GET", cell.keys.body(stored_id("t", "b"))) == b"prompt"
    strike(cell, client)


@given(NAMES, NAMES, NAMES, NAMES)
def test_no_two_tenants_share_an_id(a: str, x: str, b: str, y: str) -> None:
    check_name("id", stored_id(a, x))
    assert (stored_id(a, x) == stored_id(b, y)) == ((a, x) == (b, y))
    assert stored_id(a, stored_id(a, x)) != stored_id(a, x)


@pytest.mark.parametrize("bad", ["", "a b", "a/b", "x" * 65])
def test_bad_names_are_refused_before_anything_is_asked(bad: str) -> None:
    client = Client("redis://127.0.0.1:1")
    with pytest.raises(InvalidInput, match="tenant"):
        TenantClient(client, bad)
    mine = TenantClient(client, "t")
    asks: list[Callable[[], object]] = [
        lambda: mine.records([bad]), lambda: mine.cancel(bad), lambda: mine.follow(bad, "", 0),
        lambda: list(mine.wait([bad], 1.0)),
    ]  # fmt: skip
    for ask in asks:
        with pytest.raises(InvalidInput, match="job id"):
            ask()
