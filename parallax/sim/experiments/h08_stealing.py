"""Stealing: how near many queues come to one."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import replace
from math import log2
from statistics import fmean

from parallax.core.settings import PolicyChoice
from parallax.sim.binding import EAGER, routed
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
from parallax.sim.experiments.servers import STEP_S, WARM_UP, figures, job, offered, poisson, run
from parallax.sim.report.svg import Series
from parallax.sim.timed import Timed

PLACEMENT = {"random": "random", "in turn": "round_robin", "two choices": "power_of_two"}
STEALING = {"none": "never", "half": "steal_half", "longest": "longest_victim"}
LOADS = (0.5, 0.7, 0.9)
SERVERS, JOBS, BAG = 16, 20_000, 400
FLEETS = (2, 4, 8, 16)


def erlang_c(servers: int, load: float) -> float:
    """Return the mean response of M/M/n, one queue before all servers (Erlang 1917)."""
    erlangs, blocked = servers * load, 1.0
    for n in range(1, servers + 1):
        blocked = erlangs * blocked / (n + erlangs * blocked)
    waits = blocked / (1 - load * (1 - blocked))
    return 1 + waits / (servers * (1 - load))


def one_queue(jobs: Sequence[Timed], servers: int) -> float:
    """Return the mean response of the same jobs in one queue (Lindley's recursion)."""
    free, times = [0.0] * servers, []
    for at, one in jobs:
        end = max(at, heapq.heappop(free)) + (one.output_tokens or 0) * STEP_S
        heapq.heappush(free, end)
        times.append(end - at)
    return fmean(times[int(WARM_UP * len(times)) :])


def measure(case: Case, seed: int) -> Figures:
    """Place jobs in one way and steal in another; or spread a bag of jobs from one worker."""
    kind, placement, stealing, number = case
    if kind == "bag":
        return _bag(str(stealing), int(number), seed)
    policies = replace(
        routed(PLACEMENT[str(placement)], EAGER), stealing=PolicyChoice(STEALING[str(stealing)])
    )
    jobs = poisson(JOBS, SERVERS * float(number), seed)
    done = run(jobs, SERVERS, policies, seed)
    steals = done.counters["steals"] / len(jobs)
    return {**figures(done), "steals": steals, "one_s": one_queue(jobs, SERVERS)}


def _bag(stealing: str, servers: int, seed: int) -> Figures:
    """Return how long a bag of jobs takes that all lie before one worker, over the bound."""
    lengths = [s for _, s in offered(BAG, 1.0, seed)]
    jobs = [
        (0.0, replace(job(n, s), prompt_tokens=100, prefix=(1,))) for n, s in enumerate(lengths)
    ]
    home = routed("consistent_hash", EAGER, bound=1e6)  # one prefix, one worker
    done = run(jobs, servers, replace(home, stealing=PolicyChoice(STEALING[stealing])), seed)
    bound = sum(lengths) / servers + max(lengths) + log2(servers)
    return {
        "over_bound": done.duration_s / bound,
        "speed_up": sum(lengths) / done.duration_s,
        "steals": done.counters["steals"],
    }


def judge(measured: Measured) -> Verdict:
    """Check how much of the way to one queue each kind of stealing goes."""

    def queue(placement: str, stealing: str, load: float = 0.9, of: str = "mean_s") -> float:
        return measured.mean("queue", placement, stealing, load, of=of)

    central = {load: queue("random", "none", load, "one_s") for load in LOADS}
    findings = [
        Finding("one queue of the same jobs, over Erlang's formula, load 0.9",
                central[0.9] / erlang_c(SERVERS, 0.9), 0.9, 1.1),
        Finding("random placement, none stolen, over one queue",
                queue("random", "none") / central[0.9], low=4.0),
        Finding("half of a line stolen, over none", queue("random", "half")
                / queue("random", "none"), high=0.35),
        *(Finding(f"{name}, the longest line stolen from, over one queue",
                  queue(name, "longest") / central[0.9], high=1.25) for name in PLACEMENT),
        *(Finding(f"a bag of {BAG} jobs on {n} workers: time over the bound, half",
                  measured.worst("bag", "", "half", n, of="over_bound"), high=1.0)
          for n in FLEETS),
        Finding("the same on 16, none stolen",
                measured.mean("bag", "", "none", 16, of="over_bound"), low=5.0),
    ]  # fmt: skip
    lines = [
        Series(f"{placement}, {stealing}",
               [(load, min(6.0, queue(placement, stealing, load))) for load in LOADS])
        for placement in PLACEMENT for stealing in STEALING
    ]  # fmt: skip
    lines.append(Series("one queue", list(central.items())))
    chart = Chart("Mean response, 16 servers", "load", "services (cut at 6)", lines)
    rows = [
        (placement, *(queue(placement, stealing) for stealing in STEALING), central[0.9],
         queue(placement, "longest", of="steals"))
        for placement in PLACEMENT
    ]  # fmt: skip
    bags = [
        (f"{n} workers", *(measured.mean("bag", "", "half", n, of=of)
                           for of in ("speed_up", "steals", "over_bound")))
        for n in FLEETS
    ]  # fmt: skip
    head = ("placement", "none stolen", "half", "longest", "one queue", "steals per job (longest)")
    tables = [
        Table("Mean response at load 0.9", head, rows),
        Table("A bag of jobs, half stolen", ("", "speed-up", "steals", "over bound"), bags),
    ]
    return Verdict(findings, [chart], tables)


EXPERIMENT = Experiment(
    "h8",
    "Stealing closes the gap to one queue",
    question="""
If jobs are bound to workers as they come, how much of what that loses do idle workers bring back
by taking from others?
""",
    setup=f"""
{SERVERS} servers, exponential jobs that are bound at arrival: at random, in turn, or by two
choices. An idle worker takes half of a line (that of whoever it finds, or the longest one), only
jobs that have not begun. {JOBS:,} jobs a seed. *One queue* serves the same jobs from one line.
Then a bag of {BAG} jobs, all of them before one worker at time 0.
""",
    theory="""
One queue before n servers is the best that can be done without knowing lengths, and its mean is
Erlang's. Each server with a line of its own is idle while others have work; stealing ends that,
and if an idle worker always finds a job, the fleet *is* the one queue. A bag of jobs is spread in
`T1 / P + t_max + log2 P` looks (Blumofe & Leiserson 1999); half of a line at a time takes the
logarithm of the steals (Hendler & Shavit 2002).
""",
    practice="""
With late binding there is little to steal, which is the better cure: `jbsq` keeps jobs where all
can reach them. Stealing is for what is bound nevertheless: prefetched jobs, sessions at a home that
got too popular, a worker that became slow. Beside `kv_locality` use `affinity_gain`, which leaves
a job where its cache is worth more than its wait.
""",
    cases=(
        *(
            ("queue", placement, stealing, load)
            for placement in PLACEMENT
            for stealing in STEALING
            for load in LOADS
        ),
        *(("bag", "", stealing, n) for stealing in ("half", "none") for n in FLEETS),
    ),
    measure=measure,
    judge=judge,
    seeds=4,
)
