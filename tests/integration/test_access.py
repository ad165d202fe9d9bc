"""Each role can do its work under its own user, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from parallax.broker.link.call import Call
from parallax.broker.link.connection import Link
from parallax.broker.link.scripts import script
from parallax.broker.server.embedded import EmbeddedServer
from parallax.broker.store.access import ROLES, acl_file, user_name
from parallax.broker.store.dead_letters import DeadLetters
from parallax.broker.store.intake import Ending, Intake
from parallax.broker.store.keyring import Keyring, new_key
from parallax.broker.store.keys import Keys
from parallax.broker.store.membership import Membership
from parallax.broker.store.policies import Choice, PolicyStore
from parallax.broker.store.results import Results
from parallax.broker.store.tenancy import Tenancy
from parallax.consumers.engines.noop import NoopEngine
from parallax.consumers.worker import Worker
from parallax.core.errors import ParallaxError, StoreFault, Unreachable
from parallax.core.lifecycle import Outcome
from parallax.core.settings import Policies, PolicyChoice, WorkerSettings
from parallax.services.clock import SystemClock
from parallax.services.scheduler import SchedulerService
from parallax.telemetry.scheduling import SchedulingMetrics
from tests.integration.cells import QUICK, job, jobs
from tests.servers import REAL, SERVERS
from tests.waiting import wait_until

CELL, OTHER = "guarded", "another"
KEYS = Keys(CELL)


@pytest.fixture(scope="module", params=REAL)
def server(request: pytest.FixtureRequest) -> Iterator[EmbeddedServer]:
    binary = SERVERS[request.param].path()
    with EmbeddedServer(SystemClock(), ephemeral=True, binary=binary) as server:
        assert server.info is not None
        link = Link.to(server.info.url)
        roles = [*ROLES, "worker-w", "worker-v"]
        for line in acl_file(CELL, {role: f"{role}-secret" for role in roles}).splitlines()[1:]:
            _, name, *rules = line.split()
            link.call("ACL", "SETUSER", name, *rules)
        yield server
        link.close()


def as_role(server: EmbeddedServer, role: str) -> Link:
    assert server.info is not None
    path = urlsplit(server.info.url).path
    return Link.to(f"unix://{user_name(role, CELL)}:{role}-secret@{path}")


def refused(link: Link, *command: str) -> bool:
    try:
        link.call(*command)
    except StoreFault as error:
        return "user" in str(error)
    except ParallaxError:
        return False
    return False


def test_a_cell_works_with_a_user_for_each_role(server: EmbeddedServer) -> None:
    policies = Policies(
        hedging=PolicyChoice("tied", {"budget": 1.0, "saturation": 1.0}),
        stealing=PolicyChoice("steal_half"),
    )
    scheduler = SchedulerService(
        as_role(server, "scheduler"), KEYS, "s", QUICK, policies, SystemClock(), SchedulingMetrics()
    )
    settings = WorkerSettings(heartbeat_s=30.0, block_s=0.001, drain_s=0.0)
    workers = [
        Worker(
            "w", (as_role(server, user), as_role(server, user)), KEYS, NoopEngine(4),
            settings, SystemClock(),
        )
        for user in ("worker", "worker-w")
    ]  # fmt: skip
    producer, gateway, operator, observer = (
        as_role(server, r) for r in ("producer", "gateway", "operator", "observer")
    )
    scheduler.run_once()  # it brings the scripts
    for worker in workers:
        worker.heartbeat.beat()
    Tenancy(operator, KEYS).set_weights({"a": 3.0})
    store = PolicyStore(operator, KEYS)
    store.replace(store.read(), overrides={"ordering": Choice("fcfs")})
    Intake(producer, KEYS).submit([*jobs(60), job("cancelled")], None)
    Intake(gateway, KEYS).terminate([Ending("cancelled", "acme", Outcome.CANCELLED)])

    def over() -> bool:
        scheduler.run_once()
        for worker in workers:
            worker.heartbeat.beat()
            worker.run_once()
        return bool(observer.call("ZCARD", KEYS.open) == 0)

    wait_until(over, "all jobs to end")
    counts = Results(producer, KEYS).counts()
    assert (counts["completed"], counts["cancelled"]) == (60, 1)
    assert len(Membership(observer, KEYS).members()) == 2
    assert DeadLetters(operator, KEYS).newest(5) == []
    _, key = new_key("acme", 1.0)
    Keyring(operator, KEYS).put({"one": key})
    assert Keyring(observer, KEYS).known() == {"one": key}
    assert Keyring(operator, KEYS).revoke("one")
    assert Results(producer, KEYS).follow("j0", "", 0)[1]
    Results(producer, KEYS).forget("j0")
    for worker in workers:
        worker.close()
    scheduler.close()


NEVER = [
    ("KEYS", "*"), ("FLUSHALL",), ("FLUSHDB",), ("CONFIG", "GET", "*"), ("SHUTDOWN",),
    ("CONFIG", "SET", "hz", "1"), ("ACL", "LIST"), ("REPLICAOF", "NO", "ONE"),
    ("CLIENT", "LIST"), ("MONITOR",), ("SCRIPT", "FLUSH"), ("MODULE", "LIST"),
    ("GET", Keys(OTHER).leader), ("SET", "plain", "1"),
    ("EVAL", "return redis.call('GET', KEYS[1])", "1", Keys(OTHER).leader), ("SCAN", "0"),
]  # fmt: skip
BRINGS = [
    ("EVAL", "while true do end", "0"), ("SCRIPT", "LOAD", "return 1"), ("SCRIPT", "KILL"),
]  # fmt: skip
FORBIDDEN = {
    "producer": [
        ("SET", KEYS.heartbeat("w"), "1"), ("HSET", KEYS.policy, "document", "{}"),
        ("HSET", KEYS.ledger, "a", "0"), ("HSET", KEYS.tenants, "a", "9"), ("GET", KEYS.memory),
        ("SET", KEYS.leader, "me"), ("GET", KEYS.leader), ("DEL", KEYS.open),
        ("SET", KEYS.open, "gone"), ("PEXPIRE", KEYS.open, "1"), ("ZREM", KEYS.open, "j0"),
        ("XADD", KEYS.events, "*", "j0", "completed []"), ("XTRIM", KEYS.events, "MAXLEN", "0"),
        ("XADD", KEYS.control("w"), "*", "cancel", "j0"), ("XDEL", KEYS.work("w"), "1-1"),
        *BRINGS,
    ],
    "gateway": [
        ("SET", KEYS.leader, "me"), ("SET", KEYS.heartbeat("w"), "1"), ("GET", KEYS.memory),
        ("HSET", KEYS.ledger, "a", "0"), ("HDEL", KEYS.workers, "w"),
        ("HSET", KEYS.keyring, "one", "{}"), *BRINGS,
    ],
    "worker": [
        ("HSET", KEYS.policy, "document", "{}"), ("HSET", KEYS.ledger, "a", "0"),
        ("SET", KEYS.epoch, "1"), ("HSET", KEYS.tenants, "a", "9"), ("GET", KEYS.record),
        ("SET", KEYS.leader, "me"), ("DEL", KEYS.leader), *BRINGS,
    ],
    "worker-w": [
        ("DEL", KEYS.heartbeat("v-123456")), ("PEXPIRE", KEYS.heartbeat("v-123456"), "1"),
        ("SET", KEYS.heartbeat("w-evil-123456"), "x"), ("XDEL", KEYS.work("v-123456"), "1-1"),
        ("XADD", KEYS.control("v-123456"), "*", "cancel", "j0"), ("SET", KEYS.leader, "me"),
        ("HSET", KEYS.status("v-123456"), "draining", "1"), *BRINGS,
    ],
    "operator": [
        ("HSET", KEYS.ledger, "a", "0"), ("SET", KEYS.epoch, "1"), ("EVAL", "return 1", "0"),
    ],
    "observer": [
        ("GET", KEYS.body("j0")), ("XADD", KEYS.arrivals("a"), "*", "j", "x"),
        ("DEL", KEYS.job("j0")), ("HSET", KEYS.job("j0"), "at", "x"), ("SET", KEYS.leader, "me"),
        ("EVAL", "return 1", "0"), ("XREAD", "STREAMS", KEYS.out("j0"), "0"),
        ("HSET", KEYS.keyring, "one", "{}"), ("HDEL", KEYS.keyring, "one"),
    ],
    "autoscaler": [
        ("SET", KEYS.leader, "me"), ("GET", KEYS.body("j0")), ("HGETALL", KEYS.workers),
        ("XADD", KEYS.arrivals("a"), "*", "j", "x"), ("EVAL", "return 1", "0"), *BRINGS,
    ],
    "scheduler": [],
}  # fmt: skip


@pytest.mark.parametrize("role", sorted(FORBIDDEN))
def test_a_role_can_do_nothing_else(server: EmbeddedServer, role: str) -> None:
    link = as_role(server, role)
    allowed = [command for command in NEVER + FORBIDDEN[role] if not refused(link, *command)]
    assert allowed == []
    link.close()


@pytest.mark.dear
def test_every_role_is_looked_at() -> None:
    assert set(ROLES) <= set(FORBIDDEN)


def test_scripts_that_are_gone_come_back_with_the_leader(server: EmbeddedServer) -> None:
    assert server.info is not None
    everything = Link.to(server.info.url)
    everything.call("SCRIPT", "FLUSH")
    producer, scheduler = as_role(server, "producer"), as_role(server, "scheduler")
    with pytest.raises(Unreachable, match="a scheduler does"):
        Intake(producer, KEYS).submit([job("early")])
    assert scheduler.bring_scripts()
    assert Intake(producer, KEYS).submit([job("early")])[0].accepted
    everything.call("SCRIPT", "FLUSH")
    scheduler.do(Call(script("renew"), [KEYS.leader], ["nobody", 1000], list))
    assert Intake(producer, KEYS).submit([job("early")])[0].word == "dup"


def test_an_operator_ends_a_script_that_runs_for_ever(server: EmbeddedServer) -> None:
    operator = as_role(server, "operator")
    with pytest.raises(StoreFault, match="No scripts in execution"):
        operator.call("SCRIPT", "KILL")


def test_a_wrong_password_is_refused_and_not_told(server: EmbeddedServer) -> None:
    assert server.info is not None
    path = urlsplit(server.info.url).path
    link = Link.to(f"unix://{user_name('worker', CELL)}:guess-me@{path}")
    with pytest.raises(StoreFault) as error:
        link.call("PING")
    assert "guess-me" not in str(error.value)
