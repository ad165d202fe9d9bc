"""Cells on a Redis Cluster of three masters, reached by the URL of one that does not have them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.server.eviction import refuse_eviction
from parallax.broker.store.access import ROLES, acl_file, user_name
from parallax.broker.store.intake import Intake
from parallax.broker.store.results import Results
from parallax.consumers.engines.noop import NoopEngine
from parallax.core.errors import InvalidSettings, StoreFault, Unreachable
from parallax.core.lifecycle import Outcome
from parallax.core.settings import Policies, PolicyChoice
from parallax.producers.client.client import Client
from tests.asynchronous import LinkOverAsync
from tests.cluster import LocalCluster, Node
from tests.integration.cells import QUICK, Cell, StuckEngine, job, jobs, scheduler_of
from tests.unit.cli.invoking import run_main
from tests.waiting import wait_until

pytestmark = pytest.mark.dear

BOTH = pytest.mark.parametrize("kind", [Link, LinkOverAsync])
MASTERS = pytest.mark.parametrize("number", range(3))
RESCUERS = Policies(
    hedging=PolicyChoice("tied", {"budget": 1.0, "saturation": 1.0}),
    stealing=PolicyChoice("steal_half"),
    gate=PolicyChoice("jbsq", {"prefetch": 6}),
)


@pytest.fixture(scope="module")
def running() -> Iterator[LocalCluster]:
    with LocalCluster() as cluster:
        yield cluster


@pytest.fixture
def cluster(running: LocalCluster) -> LocalCluster:
    """Three empty masters."""
    running.flush()
    return running


def another(cluster: LocalCluster, number: int) -> Node:
    """Return a master that does not have the cells of this one."""
    return cluster.masters[(number + 1) % 3]


def names(count: int) -> list[str]:
    return [f"j{n}" for n in range(count)]


def key_counts(cluster: LocalCluster) -> list[int]:
    return [master.call("DBSIZE") for master in cluster.masters]


# -- whole jobs


@MASTERS
def test_a_cell_works_on_whichever_master_its_slot_is(cluster: LocalCluster, number: int) -> None:
    url = another(cluster, number).url
    cell = Cell(lambda: Link.to(url), RESCUERS, cluster.cell_on(number))
    cell.scheduler()
    slow = [StuckEngine(4), StuckEngine(4)]
    for engine in slow:
        cell.worker(engine)
    cell.submit(job("first"))
    cell.until(lambda: (r := cell.record("first")) and r.hedge_worker, "a second attempt")
    cell.submit(*jobs(150))
    cell.until(
        lambda: all(w.desk.waiting for w in cell.workers), "some to wait where nothing moves"
    )
    cell.worker(NoopEngine(4))
    cell.until(lambda: cell.counts().get("stolen", 0), "the third one to take some")
    for engine in slow:
        engine.stuck = False
    cell.until_ended("first", *names(150))
    cell.until(lambda: scheduler_of(cell.schedulers[0]).in_flight == 0, "all ends to be told")
    assert cell.counts()["completed"] == 151
    assert cell.counts()["hedged"] > 0
    assert cell.link.call("ZCARD", cell.keys.open) == 0
    assert [bool(count) for count in key_counts(cluster)] == [n == number for n in range(3)]


@MASTERS
def test_a_producer_needs_the_url_of_any_node(cluster: LocalCluster, number: int) -> None:
    url, keys = another(cluster, number).url, cluster.cell_on(number)
    cell = Cell(lambda: Link.to(url), keys=keys)
    cell.scheduler()
    cell.worker()
    client = Client(url, keys.cell)
    client.ping()
    client.submit(jobs(20))
    assert client.submit([job("late")], own_streams=True)[0].word == "ok"
    assert client.cancel("late") in {"ok", "late"}
    cell.until_ended(*names(20))
    assert {c.outcome for c in client.wait(names(20), 5.0)} == {Outcome.COMPLETED}
    client.close()


def test_tenants_nobody_rang_for_are_found_where_the_cell_is(cluster: LocalCluster) -> None:
    """SCAN names no key: it must be asked of the right node."""
    url = another(cluster, 2).url
    cell = Cell(lambda: Link.to(url), keys=cluster.cell_on(2))
    cell.scheduler()
    cell.worker()
    cell.submit(job("j0"))
    cell.link.call("DEL", cell.keys.active, cell.keys.bell)
    cell.until_ended("j0")


# -- a slot moves


def tried(submit: Any) -> bool:
    try:
        submit()
    except Unreachable:
        return False
    return True


@BOTH
def test_a_slot_moves_while_jobs_run(cluster: LocalCluster, kind: type[Link]) -> None:
    keys = cluster.cell_on(0, f"moving-{kind.__name__}")
    source, target, bystander = cluster.masters
    cell = Cell(lambda: kind.to(bystander.url), RESCUERS, keys)
    quick = replace(QUICK, lease_s=0.4)  # the one that stands by waits a quarter of it each turn
    cell.scheduler(quick)
    cell.scheduler(quick)
    engines = [StuckEngine(20), StuckEngine(20)]
    for engine in engines:
        cell.worker(engine)
    batches = [[job(f"b{b}-{n}", "abc"[n % 3]) for n in range(10)] for b in range(30)]
    everything = [one.id for batch in batches for one in batch]
    for _ in range(10):
        cell.submit(*batches.pop(), reply="inbox")
    cell.until(lambda: all(w.desk.running for w in cell.workers), "both workers to be busy")
    refused = 0
    for step in cluster.moving(keys.slot, source, target, page=60):
        if step == "migrating":
            for engine in engines:
                engine.stuck = False  # their ends are reported while the keys are on their way
        if batches and tried(lambda: cell.submit(*batches[-1], reply="inbox")):
            batches.pop()
        else:
            refused += 1
        cell.turn()
    assert refused > 0  # else nothing was in the way of anybody
    for batch in batches:
        cell.submit(*batch, reply="inbox")
    cell.until(lambda: cell.link.call("ZCARD", keys.open) == 0, "all to end")
    assert {cell.outcome(name) for name in everything} == {Outcome.COMPLETED}
    assert cell.counts()["completed"] == cell.counts()["accepted"] == len(everything)
    assert sorted(ends(cell)) == sorted(everything)  # each told once
    assert source.call("CLUSTER", "COUNTKEYSINSLOT", keys.slot) == 0
    assert cell.link.address.endswith(f":{target.port}")
    cluster.await_agreement()


def ends(cell: Cell) -> list[str]:
    """Return the jobs whose ends were told, as often as they were."""
    results, cursor = Results(cell.link, cell.keys), ""
    told: list[str] = []
    while True:
        cursor, notices = results.follow("inbox", cursor, 0)
        if not notices:
            return told
        told += [notice.job_id for notice in notices if notice.outcome is not None]


@BOTH
def test_a_link_whose_node_is_gone_comes_back_through_its_url(
    cluster: LocalCluster, kind: type[Link]
) -> None:
    keys = cluster.cell_on(1, f"gone-{kind.__name__}")
    first, home, other = cluster.masters
    link = kind.to(first.url)
    link.call("SET", keys.bell, "here")
    assert link.address.endswith(f":{home.port}")
    link.close()
    for _ in cluster.moving(keys.slot, home, other):
        pass
    home.kill()
    try:
        with pytest.raises(Unreachable):
            link.call("GET", keys.bell)
        assert link.call("GET", keys.bell) == b"here"
        assert link.address.endswith(f":{other.port}")
    finally:
        home.start()
        link.close()
    cluster.await_agreement()


@pytest.mark.slow
def test_a_cell_outlives_the_very_node_its_url_names() -> None:
    with LocalCluster(replicas=1) as cluster:
        keys, first = cluster.cell_on(0), cluster.masters[0]
        cell = Cell(lambda: Link.to(first.url), keys=keys)
        cell.scheduler()
        cell.worker()
        cell.submit(job("before"))
        cell.until_ended("before")
        cell.link.call("WAIT", 1, 5_000)
        first.kill()
        wait_until(lambda: tried(lambda: cell.submit(job("after"))), "the replica to take over")
        cell.until(
            lambda: tried(lambda: cell.outcome("after")) and cell.outcome("after"), "its end"
        )
        assert cell.outcome("before") is Outcome.COMPLETED
        assert cell.link.address.endswith(f":{cluster.nodes[-1].port}")


# -- what is asked of a server, and not of a key


def test_the_cells_own_node_must_not_evict(cluster: LocalCluster) -> None:
    home, keys = cluster.masters[2], cluster.cell_on(2)
    home.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        refuse_eviction(Link.to(home.url), cluster.cell_on(1))
        with pytest.raises(InvalidSettings, match="noeviction"):
            refuse_eviction(Link.to(another(cluster, 2).url), keys)
    finally:
        home.call("CONFIG", "SET", "maxmemory-policy", "noeviction")


def test_doctor_says_where_the_cell_is(
    cluster: LocalCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    home, keys = cluster.masters[1], cluster.cell_on(1)
    where = ("--redis", another(cluster, 1).url, "--cell", keys.cell)
    answer = run_main(capsys, "doctor", "--json", *where)
    found = {row["check"]: (row["finding"], row["note"]) for row in answer.document}
    assert found["cluster"] == ("ok", "its state is ok")
    assert found["slot"][1].startswith(f"cell {keys.cell} is in slot {keys.slot}, on 127.0.0.1:")
    assert found["slot"][1].endswith(f":{home.port}")
    for command in ("status", "workers", "tenants list", "policy current", "dead list"):
        assert run_main(capsys, *command.split(), "--json", *where).code == 0, command


def test_each_role_finds_its_way_with_its_own_user(cluster: LocalCluster) -> None:
    keys = cluster.cell_on(0, "guarded")
    for line in acl_file(keys.cell, dict.fromkeys(ROLES, "secret")).splitlines()[1:]:
        _, name, *rules = line.split()
        for master in cluster.masters:
            master.call("ACL", "SETUSER", name, *rules)
    bare = cluster.masters[1].url.rpartition("@")[2]
    for role in ROLES:
        link = Link.to(f"redis://{user_name(role, keys.cell)}:secret@{bare}")
        asked = ("GET", keys.load) if role == "autoscaler" else ("HGET", keys.counts, "completed")
        assert link.call(*asked) is None
        assert next(link._route._others) is None
        assert next(link._route._others) is not None  # it was told of others
        link.close()
    refused = {entry[7] for master in cluster.masters for entry in master.call("ACL", "LOG")}
    assert refused <= {b"client|setinfo"}  # a courtesy of redis-py


@BOTH
def test_keys_of_two_cells_are_never_in_one_command(
    cluster: LocalCluster, kind: type[Link]
) -> None:
    link = kind.to(cluster.masters[0].url)
    one, other = cluster.cell_on(0), cluster.cell_on(1)
    with pytest.raises(StoreFault, match="same slot"):
        link.call("DEL", one.bell, other.bell)
    link.close()


@BOTH
def test_one_link_may_even_serve_several_cells(cluster: LocalCluster, kind: type[Link]) -> None:
    link = kind.to(cluster.masters[0].url)
    for n in (0, 1, 2, 0):
        assert Intake(link, cluster.cell_on(n)).submit([job("j")], "")[0].word in {"ok", "dup"}
    link.close()


@BOTH
def test_what_a_cluster_cannot_do_now_is_unreachable(
    cluster: LocalCluster, kind: type[Link]
) -> None:
    keys = cluster.cell_on(0, f"partly-{kind.__name__}")
    source, target, _ = cluster.masters
    link = kind.to(source.url)
    link.call("MSET", keys.bell, 1, keys.open, 1)
    steps = cluster.moving(keys.slot, source, target)
    assert [next(steps), next(steps)] == ["importing", "migrating"]
    with pytest.raises(Unreachable, match="is being moved"):
        link.call("GET", keys.leader)
    with pytest.raises(Unreachable):
        link.call("EXISTS", keys.leader, keys.bell)
    again = "redis.call('DEL', KEYS[1]); return redis.call('EXISTS', KEYS[1])"
    with pytest.raises(Unreachable):
        link.call("EVAL", again, 1, keys.open)
    assert list(steps)[-1] == "given"
    assert link.call("EXISTS", keys.leader, keys.bell) == 1
    link.close()
    cluster.await_agreement()
