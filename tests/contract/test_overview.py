"""The one reader: what is in the store is what it says, in a fixed number of round trips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from parallax.broker.link.scripts import Argument
from parallax.broker.store.codec import VERSION, Registration
from parallax.broker.store.figures import (
    KEPT_MS,
    Event,
    Figures,
    Sample,
    TenantFigures,
    WorkerFigures,
    decode_figures,
    publish,
    rates,
)
from parallax.broker.store.figures import VERSION as FIGURES
from parallax.broker.store.overview import Overview
from parallax.broker.store.tenancy import Tenancy
from parallax.core.errors import Fenced
from tests.contract.conftest import Cell, job

JUNK = (b"", b"{}", b"\xff", b"[1]", b'{"v":99,"at":1}', b'{"v":1,"at":"x"}', b"[" * 5_000)


def overview(cell: Cell) -> Overview:
    return Overview(cell.link, cell.keys)


def figures(at: float, **more: Any) -> Figures:
    return Figures(FIGURES, at, at - 100, at - 50, **more)


def test_an_empty_cell(cell: Cell) -> None:
    seen = overview(cell).read()
    assert (seen.leader, seen.open_jobs, seen.waiting_jobs, seen.dead_letters) == (None, 0, 0, 0)
    assert (list(seen.workers), list(seen.tenants), seen.stale) == ([], [], True)
    assert seen.waiting_is_exact
    assert seen.per_s("admitted") == 0.0


def test_jobs_tenants_and_workers_are_seen(cell: Cell) -> None:
    cell.join("w1", 4)
    cell.join("w2", 4)
    cell.die("w2")
    cell.lead()
    cell.submit(job("a"), job("b"), job("c", "bert"))
    Tenancy(cell.link, cell.keys).set_weights({"acme": 3.0, "idle": 2.0})
    seen = overview(cell).read()
    assert [(one.name, one.state) for one in seen.workers] == [("w1", "alive"), ("w2", "dead")]
    assert [(t.name, t.weight, t.waiting_jobs) for t in seen.tenants] == [
        ("acme", 3.0, 2), ("bert", 1.0, 1),
    ]  # fmt: skip
    assert [t.due for t in seen.tenants] == [0.75, 0.25]
    assert (seen.open_jobs, seen.waiting_jobs, seen.totals["accepted"]) == (3, 3, 3)
    assert seen.tenants_weighted == 2
    assert seen.leader is not None
    assert seen.leader.name.endswith("-leader")
    assert [t.name for t in overview(cell).tenants()] == ["acme", "bert", "idle"]


def test_states_of_workers(cell: Cell) -> None:
    for name, fields in (("a", {}), ("b", {"draining": 1}), ("c", {"unready": "loads"})):
        cell.join(name)
        if fields:
            cell.membership.report(name, 60_000, fields)
    assert [one.state for one in overview(cell).read().workers] == ["alive", "draining", "unready"]


def test_what_the_leader_tells_is_seen(cell: Cell) -> None:
    lease, now = cell.lead(), overview(cell).read().at
    cell.join("w1")
    told = figures(
        now, latest=Sample(now, {"completed": 160}), minute=Sample(now - 40, {"completed": 80}),
        tally={"admitted": 100}, latencies={"ttft_s": [(100, 3)]},
        tenants=[TenantFigures("acme", 30.0, 3, 0, 10, 1), TenantFigures("bert", 10.0, 1, 0, 5, 0)],
        workers=[WorkerFigures("w1", 2, 3.0)], events=[Event(1, now, "stolen", "j1")],
    )  # fmt: skip
    publish(cell.link, cell.keys, lease, told)
    seen = overview(cell).read()
    assert seen.figures == told
    assert not seen.stale
    assert seen.rates == {"completed": 2.0}
    assert seen.per_s("admitted") == pytest.approx(2.0)
    assert {t.name: (t.share, t.due) for t in seen.tenants} == {
        "acme": (0.75, 0.5), "bert": (0.25, 0.5),
    }  # fmt: skip
    assert seen.workers[0].is_slow
    assert seen.sketches["ttft_s"].count == 3
    assert 0 < cell.link.call("PTTL", cell.keys.figures) <= KEPT_MS


def test_who_leads_no_more_tells_nothing(cell: Cell) -> None:
    lease = cell.lead()
    cell.link.call("SET", cell.keys.leader, "another|9", "PX", 60_000)
    with pytest.raises(Fenced):
        publish(cell.link, cell.keys, lease, figures(1.0))
    assert cell.link.call("EXISTS", cell.keys.figures) == 0


def test_old_figures_are_said_to_be_old(cell: Cell) -> None:
    publish(cell.link, cell.keys, cell.lead(), figures(overview(cell).read().at - 60))
    seen = overview(cell).read()
    assert seen.stale
    assert seen.figures_age_s is not None
    assert seen.figures_age_s > 59


@pytest.mark.parametrize("junk", JUNK)
def test_figures_that_cannot_be_understood_are_none(cell: Cell, junk: bytes) -> None:
    assert decode_figures(junk) is None
    cell.link.call("SET", cell.keys.figures, junk)
    cell.link.call("HSET", cell.keys.policy, "document", junk)
    cell.link.call("HSET", cell.keys.workers, "w1", junk, b"\xff", junk)
    cell.link.call("SADD", cell.keys.active, b"\xff", b"a b")
    seen = overview(cell).read()
    assert (seen.figures, list(seen.workers), list(seen.tenants)) == (None, [], [])


def test_a_look_takes_two_round_trips(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    cell.lead()
    for n in range(30):
        cell.membership.beat(f"w{n}", "life", 60_000, Registration(VERSION, 1))
    cell.submit(*(job(f"j{n}", f"t{n}") for n in range(30)))
    trips = list[int]()
    calls = cell.link.calls

    def counted(commands: Sequence[Sequence[Argument]]) -> list[Any]:
        trips.append(len(commands))
        return calls(commands)

    monkeypatch.setattr(cell.link, "calls", counted, raising=False)
    seen = overview(cell).read()
    assert len(seen.workers) == len(seen.tenants) == 30
    assert len(trips) == 2


def test_rates_of_totals_that_began_anew_are_not_negative() -> None:
    before, after = Sample(1.0, {"completed": 9}), Sample(3.0, {"completed": 5, "failed": 2})
    assert rates(before, after) == {"completed": 0.0, "failed": 1.0}
    assert rates(after, after) == {}
