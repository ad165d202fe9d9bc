"""Two choices, and why fresh beats clever."""

from __future__ import annotations

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
from parallax.sim.experiments.servers import offered
from parallax.sim.report.svg import Series

LOADS = (0.5, 0.7, 0.8, 0.9, 0.95)
AGES = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
#: The name in the pages, the policy behind it, and whether it counts its own dispatches.
ROUTERS = {
    "random": ("random", {}, False),
    "two choices": ("power_of_two", {}, False),
    "three choices": ("power_of_two", {"choices": 3}, False),
    "least loaded": ("least_loaded", {}, False),
    "two choices, counting": ("power_of_two", {}, True),
    "least loaded, counting": ("least_loaded", {}, True),
}
FEW, MANY = 16, 100
JOBS = {"curve": 100_000, "stale": 30_000}
TAILS = 4
CURVE = [("curve", "two choices", MANY, load) for load in LOADS]
STALE = [
    ("stale", router, FEW, age)
    for router in ROUTERS
    for age in AGES
    if age or "counting" not in router
]


def supermarket(load: float, depth: int = 12) -> float:
    """Return the mean response of two choices among infinitely many servers (Mitzenmacher 2001)."""
    return float(sum(load ** (2.0**i - 2) for i in range(1, depth)))


def tail(load: float, depth: int) -> float:
    """Return the share of servers with at least `depth` jobs, in the same model."""
    return float(load ** (2.0**depth - 1))


def measure(case: Case, seed: int) -> Figures:
    """Serve the same jobs with one router: on fresh counts, or on a board that is old."""
    kind, router, servers, number = case
    load, age = (float(number), 0.0) if kind == "curve" else (0.9, float(number))
    policy, parameters, counts = ROUTERS[str(router)]
    jobs = offered(JOBS[str(kind)], load * int(servers), seed)
    before = board(policy, parameters, seed, int(servers), age, counts)
    tails = TAILS if case == ("curve", "two choices", MANY, 0.9) else 0
    found = before.responses(jobs, tails)
    return {"mean_s": found.mean_s, **{f"s{n + 1}": v for n, v in enumerate(found.tails)}}


def judge(measured: Measured) -> Verdict:
    """Hold the curve against the model, and look where the lines cross."""

    def stale(router: str, age: float) -> float:
        return measured.mean("stale", router, FEW, age)

    curve = [(load, measured.mean("curve", "two choices", MANY, load)) for load in LOADS]
    findings = [
        Finding(f"two choices, load {load:g}: mean over the model's", mean / supermarket(load),
                0.96, 1.04)
        for load, mean in curve
    ]  # fmt: skip
    findings += [
        Finding(f"share of servers with ≥ {n} jobs, less the model's",
                measured.mean("curve", "two choices", MANY, 0.9, of=f"s{n}") - tail(0.9, n),
                -0.02, 0.02)
        for n in range(1, TAILS + 1)
    ]  # fmt: skip
    two, least = "two choices", "least loaded"
    findings += [
        Finding("fresh news: least loaded over two choices", stale(least, 0) / stale(two, 0),
                high=0.7),
        Finding("news of one service: the same", stale(least, 1) / stale(two, 1), low=1.0),
        Finding("news of 2 services: least loaded over random",
                stale(least, 2) / stale("random", 2), high=1.0),
        Finding("news of 5 services: the same", stale(least, 5) / stale("random", 5), low=1.0),
        Finding("news of 5 services: three choices over two",
                stale("three choices", 5) / stale(two, 5), low=1.0),
        Finding("news of 5 services: least loaded, once it counts, over what it was",
                stale(least + ", counting", 5) / stale(least, 5), high=0.25),
    ]  # fmt: skip
    lines = [
        Series(name, [(age, min(20.0, stale(name, age))) for age in AGES if _has(name, age)])
        for name in ROUTERS
    ]
    model = Series("model, infinitely many servers", [(x, supermarket(x)) for x in LOADS])
    one = Series("random, M/M/1", [(x, min(10.0, 1 / (1 - x))) for x in LOADS])
    charts = [
        Chart("Mean response on old news, load 0.9, 16 servers", "age of the news (services)",
              "mean response (services; cut at 20)", lines),
        Chart("Mean response on fresh news, 100 servers", "load", "mean response (services)",
              [Series("two choices, measured", curve), model, one]),
    ]  # fmt: skip
    head = ("router", *(f"age {age:g}" for age in AGES))
    rows = [
        (name, *(stale(name, age) if _has(name, age) else "" for age in AGES)) for name in ROUTERS
    ]
    return Verdict(findings, charts, [Table("Mean response, load 0.9, 16 servers", head, rows)])


def _has(router: str, age: float) -> bool:
    return bool(age) or "counting" not in router


EXPERIMENT = Experiment(
    "h1",
    "Two choices, and why fresh beats clever",
    question="""
How much does a router gain by looking at two queues, or at all of them? And what is left of that
when what it sees is old?
""",
    setup="""
16 or 100 servers, Poisson arrivals, exponential services of mean 1; all routers see the same jobs.
The routing policies are the live ones. Old news: they see the queues as they were at the last
multiple of an age; those that *count* add what they have sent since. 100,000 jobs a seed for the
curve, 30,000 for old news; the first fifth is not judged.
""",
    theory="""
With fresh news, two choices among many servers take `sum of load^(2^i - 2)` in the mean, and a
share `load^(2^i - 1)` of the servers has at least *i* jobs (Vvedenskaya et al. 1996; Mitzenmacher
2001): the tail falls doubly exponentially, where with random placement it is exponential. To look
at all queues is better still, as long as the news is fresh. On old news everybody runs to whoever
was idle then: least loaded herds, and the more choices the worse (Mitzenmacher 2000).
""",
    practice="""
One scheduler that counts what it dispatches may look at all workers, and `least_loaded` does.
Where several routers share workers, or load is known from reports only, use `power_of_two`. What
a router has sent must always be added to what was reported: that is worth more than any choice.
""",
    cases=(*CURVE, *STALE),
    measure=measure,
    judge=judge,
)
