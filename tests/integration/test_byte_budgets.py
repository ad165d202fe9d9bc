"""Memory is bounded in bytes where prefixes are long, and who has short ones does not wait."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.dispatch import ENTRY_BYTES, READ_BYTES, Dispatching, before
from parallax.core.lifecycle import Outcome
from parallax.core.model import Job
from parallax.scheduling.events import JobArrived
from parallax.services import prefixes
from parallax.services import term as term_module
from parallax.services.inbox import arrivals
from parallax.services.scheduler import SchedulerService
from tests.integration.cells import Cell, StuckEngine, job, scheduler_of

BLOCKS = 400
ROOM = 16 * BLOCKS * prefixes.HASH_BYTES  # for sixteen such jobs


@pytest.fixture
def cell(connect: Callable[[], Link], monkeypatch: pytest.MonkeyPatch) -> Cell:
    monkeypatch.setattr(prefixes, "HELD_BYTES", ROOM)
    monkeypatch.setattr(term_module, "HELD_BYTES", ROOM)
    return Cell(connect)


def long(name: str, tenant: str) -> Job:
    """Return a job with a long prefix of its own."""
    start = int.from_bytes(f"{tenant}{name}".encode()[-7:]) << 5
    return job(name, tenant, prompt_tokens=16 * BLOCKS, prefix=tuple(range(start, start + BLOCKS)))


@pytest.mark.dear
def test_what_waits_in_memory_is_bounded_and_all_of_it_is_served(cell: Cell) -> None:
    jobs = [long(f"{tenant}{n}", tenant) for n in range(20) for tenant in "ab"]
    for start in range(0, len(jobs), 40):
        assert all(r.accepted for r in cell.submit(*jobs[start : start + 40]))
    service = cell.scheduler()
    engine = StuckEngine(2)
    cell.worker(engine)
    most = 0

    def held() -> int:
        return scheduler_of(service).hashes() * prefixes.HASH_BYTES

    for _ in range(40):
        cell.turn()
        most = max(most, held())
    assert ROOM // 3 <= most <= ROOM
    engine.stuck = False
    cell.until_ended(*(j.id for j in jobs))
    assert {cell.outcome(j.id) for j in jobs} == {Outcome.COMPLETED}


def test_a_tenant_with_short_prompts_is_served_while_others_fill_their_room(cell: Cell) -> None:
    cell.submit(*(long(f"l{n}", "long") for n in range(20)))
    service = cell.scheduler()
    engine = StuckEngine(1)
    cell.worker(engine)
    cell.until(lambda: scheduler_of(service).hashes("long"), "long prefixes to be read")
    cell.submit(job("short", "short"))
    cell.until(lambda: scheduler_of(service).held("short"), "the short one to be read")
    engine.stuck = False
    cell.until_ended("short")


def test_tenants_that_come_one_after_the_other_stay_within_the_room(cell: Cell) -> None:
    service = cell.scheduler()
    cell.worker(StuckEngine(1))
    names = [f"t{n}" for n in range(12)]
    for name in names:
        cell.submit(*(long(f"{name}-{n}", name) for n in range(10)))
        cell.until(partial(reads, service, name), f"{name} to be read")
        assert scheduler_of(service).hashes() * prefixes.HASH_BYTES <= ROOM


def reads(service: SchedulerService, tenant: str) -> int:
    return scheduler_of(service).held(tenant)  # whichever scheduler it has by now


def test_a_prefix_longer_than_its_room_is_served_all_the_same(
    cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(term_module, "HELD_BYTES", 1)
    jobs = [long(f"j{n}", "a") for n in range(5)]
    cell.submit(*jobs)
    cell.scheduler()
    cell.worker()
    cell.until_ended(*(j.id for j in jobs))


def read(taken: list[JobArrived]) -> list[tuple[str, int]]:
    return [(event.job.id, len(event.job.prefix)) for event in taken]


def arrived(cell: Cell, *jobs: Job) -> prefixes.Arrivals:
    """Submit jobs of one tenant and read their arrivals."""
    cell.submit(*jobs)
    tenant = jobs[0].tenant
    turn = Dispatching(cell.link, cell.keys).read([tenant], 100, 0)
    events, _, apart = arrivals(tenant, turn.arrivals[tenant])
    return prefixes.Arrivals(tenant, events, apart)


def test_the_stream_is_read_again_from_what_found_no_room(cell: Cell) -> None:
    rewound: dict[str, str] = {}
    some = arrived(cell, long("a", "t"), job("b", "t"), long("c", "t"), job("d", "t"))
    reader = prefixes.Prefixes(cell.link, cell.keys, rewound.__setitem__)
    size = some.apart["a"] * prefixes.HASH_BYTES // prefixes.HASH_TEXT
    assert read(reader.taken([some], lambda _: size, ROOM)) == [("a", BLOCKS), ("b", 0)]
    assert rewound == {"t": before(some.jobs[2].entry)}


def test_a_turn_reads_so_many_bytes_and_one_job_at_least(
    cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefixes, "TURN_BYTES", 1)
    rewound: dict[str, str] = {}
    some = [arrived(cell, long("a", "t"), long("b", "t")), arrived(cell, long("c", "u"))]
    reader = prefixes.Prefixes(cell.link, cell.keys, rewound.__setitem__)
    assert read(reader.taken(some, lambda _: ROOM, ROOM)) == [("a", BLOCKS)]
    assert set(rewound) == {"t", "u"}


def test_when_all_of_the_room_is_taken_jobs_come_without(cell: Cell) -> None:
    some = arrived(cell, long("a", "t"))
    reader = prefixes.Prefixes(cell.link, cell.keys, lambda *_: None)
    assert read(reader.taken([some], lambda _: ROOM, 1)) == [("a", 0)]


@pytest.mark.parametrize("text", [None, "junk", "[1,2"])
def test_a_prefix_that_cannot_be_understood_is_no_prefix(cell: Cell, text: str | None) -> None:
    some = arrived(cell, long("a", "t"))
    if text is None:
        cell.link.call("HDEL", cell.keys.job("a"), "prefix")
    else:
        cell.link.call("HSET", cell.keys.job("a"), "prefix", text)
    reader = prefixes.Prefixes(cell.link, cell.keys, lambda *_: None)
    assert read(reader.taken([some], lambda _: ROOM, ROOM)) == [("a", 0)]


@pytest.mark.parametrize("tenants", [1, 50, 126, 512])
def test_one_read_is_bounded_in_bytes_whatever_the_number_of_tenants(
    cell: Cell, monkeypatch: pytest.MonkeyPatch, tenants: int
) -> None:
    counts: list[int] = []
    calls = cell.link.calls

    def noted(commands: list[tuple[object, ...]]) -> object:
        counts.extend(
            int(command[command.index("COUNT") + 1])  # type: ignore[call-overload]
            for command in commands
            if "XREAD" in command and cell.keys.arrivals("t0") in command
        )
        return calls(commands)  # type: ignore[arg-type]

    monkeypatch.setattr(cell.link, "calls", noted)
    Dispatching(cell.link, cell.keys).read([f"t{n}" for n in range(tenants)], 200, 0)
    assert counts[0] * tenants * ENTRY_BYTES <= READ_BYTES
    assert counts[0] == 200 or tenants > 100


@pytest.mark.parametrize(
    ("entry", "smaller"),
    [("5-7", "5-6"), ("5-0", "4-18446744073709551615"), ("0-1", "0-0")],
)
def test_before_leaves_nothing_between(entry: str, smaller: str) -> None:
    assert before(entry) == smaller
