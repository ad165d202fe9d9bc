"""Noisy neighbour: what one tenant's flood does to another."""

from __future__ import annotations

from dataclasses import replace
from heapq import merge

from parallax.core.settings import PolicyChoice
from parallax.sim.binding import LATE
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
from parallax.sim.experiments.servers import job, offered, run
from parallax.sim.outcome import Run
from parallax.sim.report.statistics import percentile
from parallax.sim.report.svg import Series
from parallax.sim.timed import Timed

FAIRNESS = {
    "first come, first served": "fifo",
    "in turn, by request": "request_round_robin",
    "deficit round robin": "deficit_round_robin",
    "fair queuing": "fair_queuing",
}
SFQ = "fair queuing"
SERVERS, JOBS, ROOM = 8, 12_000, 200
FLOOD, VICTIM = 2.0, 0.3  # loads of the two tenants, in capacities of the fleet
BOUNDS = (1, 2, 4, 8, 16, 32, 64)
SHORT_S, LONG_S = 0.5, 4.0  # the jobs of the two tenants of the second part
#: The largest difference of the service of two tenants: (2 D + 1) (L + L) for D slots and jobs of
#: at most L, which the estimate may miss while they are in flight.
HARD = (2 * SERVERS + 1) * 2
PARTS = 4


def measure(case: Case, seed: int) -> Figures:
    """Flood the fleet; or let two tenants queue without end and compare what they got."""
    kind, name, bound = case
    if kind == "gap":
        return _gap(FAIRNESS[str(name)], seed)
    jobs = _noisy(seed, alone=name == "alone")
    fairness = SFQ if name == "alone" else str(name)
    policies = replace(
        LATE,
        admission=PolicyChoice("thresholds", {"max_jobs_per_tenant": ROOM, "max_jobs": ROOM})
        if fairness == "first come, first served"
        else PolicyChoice("thresholds", {"max_jobs_per_tenant": ROOM}),
        fairness=PolicyChoice(FAIRNESS[fairness]),
        gate=PolicyChoice("jbsq", {"prefetch": int(bound) - 1}),
    )
    done = run(jobs, SERVERS, policies, seed)
    return _victim(done)


def _noisy(seed: int, *, alone: bool) -> list[Timed]:
    quiet = offered(round(JOBS * VICTIM / FLOOD), SERVERS * VICTIM, seed)
    loud = offered(JOBS, SERVERS * FLOOD, seed + 1_000)
    victims = [(at, job(n, s, tenant="victim")) for n, (at, s) in enumerate(quiet)]
    flood = [(at, job(JOBS + n, s, tenant="flooder")) for n, (at, s) in enumerate(loud)]
    return victims if alone else list(merge(victims, flood, key=lambda timed: timed[0]))


def _victim(done: Run) -> Figures:
    mine = [one for one in done.jobs if one.tenant == "victim"]
    mine = mine[len(mine) // 5 :]
    times = sorted(one.e2e_s for one in mine if one.outcome == "completed")
    return {
        "p50_s": percentile(times, 50),
        "p99_s": percentile(times, 99),
        "refused": sum(one.outcome == "rejected" for one in mine) / len(mine),
    }


def _gap(fairness: str, seed: int) -> Figures:
    """Return the difference of what two tenants were served, in longest jobs, over time."""
    lengths = {"light": SHORT_S, "heavy": LONG_S}
    count = {name: round(2 * JOBS / (1 + lengths[name])) for name in lengths}
    jobs = [
        (0.0, job(10 * JOBS * (name == "heavy") + n, lengths[name], tenant=name))
        for name in lengths
        for n in range(count[name])
    ]
    policies = replace(LATE, fairness=PolicyChoice(fairness))
    done = run(jobs, SERVERS, policies, seed)
    ended = sorted((one.finished_s, one.tenant) for one in done.jobs)
    both = min(
        max(at for at, tenant in ended if tenant == name) for name in lengths
    )  # until one of them has nothing left
    gap, worst, found = 0.0, 0.0, {}
    part = 0
    for at, tenant in ended:
        if at > both * (part + 1) / PARTS and part < PARTS:
            part += 1
            found[f"gap_{part}"] = worst
        if at > both:
            break
        gap += lengths[tenant] * (1 if tenant == "heavy" else -1)
        worst = max(worst, abs(gap) / LONG_S)
    return {**found, f"gap_{PARTS}": worst}


def judge(measured: Measured) -> Verdict:
    """Check isolation, the bound of fair queuing, and what binding jobs early costs."""

    def tail(name: str, bound: int = 1) -> float:
        return measured.mean("noisy", name, bound, of="p99_s")

    def gap(name: str, part: int = PARTS) -> float:
        return measured.worst("gap", name, 1, of=f"gap_{part}")

    first, by_request = "first come, first served", "in turn, by request"
    alone = measured.mean("noisy", "alone", 1, of="p99_s")
    findings = [
        Finding("victim's p99, first come first served, over alone", tail(first) / alone, low=4.0),
        Finding("victim's p99, fair queuing, over alone", tail(SFQ) / alone, high=1.6),
        Finding("share of the victim's jobs refused, first come first served",
                measured.mean("noisy", first, 1, of="refused"), low=0.4),
        Finding("the same, fair queuing", measured.mean("noisy", SFQ, 1, of="refused"), high=0.0),
        Finding("largest difference of service, fair queuing, longest jobs", gap(SFQ), high=HARD),
        Finding("the same, in turn by request", gap(by_request), low=5 * HARD),
        Finding("its growth from the first quarter to the last, fair queuing",
                gap(SFQ) - gap(SFQ, 1), high=2.0),
        Finding("the same, deficit round robin",
                gap("deficit round robin") - gap("deficit round robin", 1), high=2.0),
        Finding("growth in turn by request, last quarter over first",
                gap(by_request) / gap(by_request, 1), low=3.0),
        Finding("victim's p99 if 64 jobs are bound to each worker, over 1",
                tail(SFQ, 64) / tail(SFQ), low=8.0),
    ]  # fmt: skip
    bound = Series("fair queuing", [(b, tail(SFQ, b)) for b in BOUNDS])
    lines = [
        Series(name, [(n / PARTS, min(100.0, gap(name, n))) for n in range(1, PARTS + 1)])
        for name in (SFQ, "deficit round robin", by_request)
    ]
    charts = [
        Chart("What binding early costs the victim", "jobs bound to each worker (b)",
              "victim's p99 (services)", [bound]),
        Chart("Largest difference of service of two busy tenants", "share of the time",
              "longest jobs (cut at 100)", lines),
    ]  # fmt: skip
    head = ("queue", "victim's p50", "victim's p99", "refused", "difference of service")
    rows: list[tuple[str | float, ...]] = [
        (name, *(measured.mean("noisy", name, 1, of=of) for of in ("p50_s", "p99_s", "refused")),
         gap(name))
        for name in FAIRNESS
    ]  # fmt: skip
    rows.append(
        ("the victim alone",
         *(measured.mean("noisy", "alone", 1, of=of) for of in ("p50_s", "p99_s", "refused")), "")
    )  # fmt: skip
    return Verdict(findings, charts, [Table("One job bound to each worker", head, rows)])


EXPERIMENT = Experiment(
    "h3",
    "Noisy neighbour",
    question="""
One tenant asks for twice what the fleet can do. What becomes of another that asks for a third?
""",
    setup=f"""
8 servers; a flooder offers a load of {FLOOD:g}, a victim {VICTIM:g}, exponential jobs of mean 1. At
most {ROOM} jobs wait: in all with first come first served, of each tenant elsewhere. Jobs wait in
the scheduler until a worker has room for them; *b* is that room, 1 if not said otherwise. Nothing
is known of the lengths beforehand: the first estimates are far too high. Second part: two tenants
that always have work waiting, with jobs of {SHORT_S:g} s and of {LONG_S:g} s; the difference of
what they were served is counted in the longest jobs.
""",
    theory="""
Start-time fair queuing on D slots keeps the service of two busy tenants within (D + 1) times the
sum of their longest jobs (Goyal, Vin & Cheng 1996; Jin, Chase & Kaur 2004), at any time, however
long it runs; as long as jobs in flight are only estimated, within (2D + 1) times. Deficit round
robin has a bound, too (Shreedhar & Varghese 1995). Taking turns by request has none: the
difference grows as long as it runs. What is bound to a worker is out of the scheduler's hands, so
the victim's tail grows with b.
""",
    practice="""
Tenants are charged cost, never requests, and jobs are bound late: `jbsq` with a prefetch of one is
the default. If a worker's queue must be longer, to hide a slow network, the victim's tail is what
it costs.
""",
    cases=(
        *(("noisy", name, 1) for name in (*FAIRNESS, "alone")),
        *(("noisy", SFQ, bound) for bound in BOUNDS[1:]),
        *(("gap", name, 1) for name in FAIRNESS),
    ),
    measure=measure,
    judge=judge,
)
