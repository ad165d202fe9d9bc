"""Scan placement: a whole batch placed by prefix sums."""

from __future__ import annotations

import heapq
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from parallax.core.scans import blelloch, hillis_steele
from parallax.policies.routing.parallel_prefix import placed, rooms
from parallax.sim.binding import EAGER, routed
from parallax.sim.experiments.board import board
from parallax.sim.experiments.experiment import (
    Case,
    Chart,
    Experiment,
    Figures,
    Finding,
    Measured,
    Table,
    Verdict,
)
from parallax.sim.experiments.servers import Numbers, figures, job, offered, responses, run
from parallax.sim.report.svg import Series
from parallax.sim.spec import FaultSpec

Places = npt.NDArray[np.signedinteger[Any]]

BATCHES = ((100, 8), (1_000, 8), (10_000, 8), (100_000, 64))
TICKS = (0.125, 0.5, 2.0)
SERVERS, LOAD, JOBS = 16, 0.85, 15_000
#: Half of the servers are three times as fast as the others; together they do as much as before.
SLOW, FAST = 2.0, 2.0 / 3.0
ROUTERS = {
    "in turn": "round_robin",
    "two choices": "power_of_two",
    "one by one, least loaded": "least_loaded",
    "prefix sums": "parallel_prefix",
}
SNAPSHOT = "all to the least loaded of the snapshot"
ONLINE = [
    ("online", router, tick, uneven)
    for router in (*ROUTERS, SNAPSHOT)
    for tick in TICKS
    for uneven in (False, True)
    if not (uneven and router == SNAPSHOT)
]


def measure(case: Case, seed: int) -> Figures:
    """Place batches, count the work of scans, or let batches come every so often."""
    kind, *rest = case
    if kind == "batch":
        return _batch(int(rest[0]), int(rest[1]), seed)
    if kind == "scan":
        return _scans(int(rest[0]))
    router, tick, uneven = str(rest[0]), float(rest[1]), bool(rest[2])
    return _snapshot(tick, seed) if router == SNAPSHOT else _online(router, tick, uneven, seed)


def _batch(jobs: int, workers: int, seed: int) -> Figures:
    """Return the largest load over the ideal one, and the bound's worst case over uneven fleets."""
    draw = np.random.default_rng((seed, jobs))
    costs, even, idle = draw.lognormal(0.0, 1.0, jobs), np.ones(workers), np.zeros(workers)
    ideal = costs.sum() / workers

    def most(places: Places) -> float:
        return float(np.bincount(places, costs, workers).max() / ideal)

    worst = 0.0
    for _ in range(20):
        speed, backlog = draw.uniform(0.2, 3.0, workers), draw.exponential(ideal, workers)
        load = np.bincount(placed(costs, speed, backlog), costs, workers)
        room = rooms(float(costs.sum()), speed, backlog)
        worst = max(worst, float(np.abs(load - room).max() / costs.max()))
    return {
        "error": worst,
        "prefix sums": most(placed(costs, even, idle)),
        "one by one": most(_one_by_one(costs, workers)),
        "in turn": most(np.arange(jobs) % workers),
        "random": most(draw.integers(0, workers, jobs)),
    }


def _one_by_one(costs: Numbers, workers: int) -> Places:
    """Give each job in its turn to whoever has least (Graham's list scheduling)."""
    heap = [(0.0, worker) for worker in range(workers)]
    places = np.empty(len(costs), dtype=np.int64)
    for n, cost in enumerate(costs):
        load, worker = heap[0]
        places[n] = worker
        heapq.heapreplace(heap, (load + cost, worker))
    return places


def _scans(count: int) -> Figures:
    values = np.ones(count)
    one, other = hillis_steele(values), blelloch(values)
    return {
        "steps_hs": one.steps, "additions_hs": one.additions,
        "steps_b": other.steps, "additions_b": other.additions,
        "equal": float((one.sums == other.sums).all() and one.sums[-1] == count),
    }  # fmt: skip


def _online(router: str, tick: float, uneven: bool, seed: int) -> Figures:
    jobs = [(at, job(n, s)) for n, (at, s) in enumerate(offered(JOBS, SERVERS * LOAD, seed))]
    faults = [FaultSpec("slow", f"w{n:04d}", 0.0, factor=FAST if n % 2 else SLOW)
              for n in range(SERVERS)]  # fmt: skip
    done = run(jobs, SERVERS, routed(ROUTERS[router], EAGER), seed, tick_s=tick,
               faults=tuple(faults) if uneven else ())  # fmt: skip
    return figures(done) | {"jobs": len(responses(done))}


def _snapshot(tick: float, seed: int) -> Figures:
    """Place a batch job by job on the same stale snapshot."""
    jobs = list(offered(JOBS, SERVERS * LOAD, seed))
    ticks = [ceil(at / tick) * tick for at, _ in jobs]
    later = zip(ticks, (seconds for _, seconds in jobs), strict=True)
    wait = sum(due - at for due, (at, _) in zip(ticks, jobs, strict=True)) / len(jobs)
    before = board("least_loaded", {}, seed, SERVERS, tick)
    return {"mean_s": wait + before.responses(later).mean_s}


def judge(measured: Measured) -> Verdict:
    """Check the bound, the counts, and that a batch placed jointly does not herd."""

    def online(router: str, tick: float, uneven: bool = False) -> float:
        return measured.mean("online", router, tick, uneven)

    worst = max(measured.worst("batch", *size, of="error") for size in BATCHES)
    joint, greedy = "prefix sums", "one by one, least loaded"
    findings = [
        Finding("distance of a load from its room, in largest jobs, worst case", worst, high=1.0),
        Finding("1,000 jobs on 8: largest load over the ideal one",
                measured.mean("batch", 1_000, 8, of=joint), high=1.02),
        Finding("the same in turn", measured.mean("batch", 1_000, 8, of="in turn"), low=1.05),
        *_counts(measured),
        *(Finding(f"batches every {t:g}: prefix sums over one by one",
                  online(joint, t) / online(greedy, t), high=1.2) for t in TICKS),
        *(Finding(f"batches every {t:g}: all to the least of the snapshot over prefix sums",
                  online(SNAPSHOT, t) / online(joint, t), low=1.4) for t in TICKS[1:]),
        Finding("speeds of 3:1, batches every 0.5: in turn over prefix sums",
                online("in turn", 0.5, True) / online(joint, 0.5, True), low=10.0),
    ]  # fmt: skip
    lines = [
        Series(name, [(t, min(20.0, online(name, t))) for t in TICKS])
        for name in (*ROUTERS, SNAPSHOT)
    ]
    chart = Chart(
        "Mean response of jobs placed in batches, load 0.85, 16 servers",
        "seconds between batches",
        "mean response (services; cut at 20)",
        lines,
    )
    kinds = ("prefix sums", "one by one", "in turn", "random")
    batches = Table(
        "Largest load over the ideal one, lognormal costs",
        ("jobs, workers", *kinds),
        [
            (f"{n:,}, {m}", *(measured.mean("batch", n, m, of=kind) for kind in kinds))
            for n, m in BATCHES
        ],
    )
    head = ("router", *(f"every {t:g}" for t in TICKS), *(f"3:1, every {t:g}" for t in TICKS))
    rows = [
        (name, *(online(name, t) for t in TICKS),
         *(online(name, t, True) if name != SNAPSHOT else "" for t in TICKS))
        for name in (*ROUTERS, SNAPSHOT)
    ]  # fmt: skip
    return Verdict(findings, [chart], [batches, Table("Mean response, online", head, rows)])


def _counts(measured: Measured) -> list[Finding]:
    """The scans do exactly as many steps and additions as their papers say."""
    expected = {
        1_024: {"steps_hs": 10, "additions_hs": 9_217, "steps_b": 20, "additions_b": 2_046},
        1 << 20: {"steps_hs": 20, "additions_hs": 19_922_945, "steps_b": 40,
                  "additions_b": 2_097_150},
    }  # fmt: skip
    words = {
        "steps_hs": "steps of Hillis & Steele", "additions_hs": "their additions",
        "steps_b": "steps of Blelloch", "additions_b": "his additions",
    }  # fmt: skip
    return [
        Finding(f"{n:,} numbers: {words[key]}", measured.mean("scan", n, of=key), count, count)
        for n, counts in expected.items()
        for key, count in counts.items()
    ]


EXPERIMENT = Experiment(
    "h2",
    "Scan placement",
    question="""
Can a whole batch of jobs be placed at once, by prefix sums, as well as one by one?
""",
    setup="""
A batch of lognormal costs on even and uneven fleets; then 16 servers at load 0.85 whose jobs are
placed every so often, all that came since the last time together. *All to the least loaded of the
snapshot* looks at the queues once per batch and counts nothing; *one by one* counts each job
before it places the next. *3:1* are servers of two speeds, which no router is told.
15,000 jobs a seed. How fast it is, `make bench-scan` measures.
""",
    theory="""
Fill the workers up to a common level like water; what each takes is its room. Lay the rooms end to
end, lay the jobs end to end, and give each job to the room in which its middle lies. Both ends of
a room cut at most half a job, so no worker's load is further from its room than the largest job,
and the last is done at most that much after the fluid optimum. That is three prefix sums and a
binary search, all of it parallel: Hillis & Steele (1986) scan in log n steps with n log n
additions, Blelloch (1989) in twice as many steps with 2(n - 1).
""",
    practice="""
Use `parallel_prefix` where jobs come in batches: ticks, a refill after a stall, a whole backlog
after a new leader took over. It sees the same snapshot that makes least loaded herd, and does not
herd, because the batch is placed jointly. For a job at a time it does what `least_loaded` does.
""",
    cases=(
        *(("batch", *size) for size in BATCHES),
        ("scan", 1_024),
        ("scan", 1 << 20),
        *ONLINE,
    ),
    measure=measure,
    judge=judge,
    seeds=4,
)
