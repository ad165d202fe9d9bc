"""Goodput: jobs done in time when the demand exceeds the capacity."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from statistics import fmean

from parallax.core.settings import Policies, PolicyChoice
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
from parallax.sim.experiments.servers import job, offered, poisson, run
from parallax.sim.outcome import JobOutcome
from parallax.sim.report.svg import Series
from parallax.sim.timed import Timed
from parallax.sim.world import Followed

LOADS = (0.5, 0.8, 1.0, 1.2, 1.6, 2.0, 2.5)
SERVERS, SECONDS, DUE_S = 8, 300.0, 5.0
BURST = (5.0, 20.0)  # load, seconds
COST_PER_S = 300.0  # of a second of service: 100 tokens of prompt, and 100 of answer at 2 each
ADMISSION = {
    "none": PolicyChoice("unlimited"),
    "token bucket": PolicyChoice(
        "token_bucket", {"rate": 0.95 * SERVERS * COST_PER_S, "burst": 10 * SERVERS * COST_PER_S}
    ),
    "codel": PolicyChoice("codel", {"target_s": 0.25, "interval_s": 1.0}),
    "aimd on wait": PolicyChoice("aimd_on_wait", {"target_s": 0.25, "window": 25}),
    "at most 16 waiting": PolicyChoice("thresholds", {"max_jobs": 16}),
}
TRIES, PAUSE_S = 3, 1.0


def measure(case: Case, seed: int) -> Figures:
    """Offer a load for some minutes; or a burst, and see for how long it is felt."""
    kind, admission, load = case
    policies = replace(LATE, admission=ADMISSION[str(admission)])
    if kind == "burst":
        return _burst(policies, seed)
    rate = SERVERS * float(load)
    jobs = poisson(round(rate * SECONDS), rate, seed)
    follow = _persistent(jobs) if kind == "retries" else None
    done = run(jobs, SERVERS, policies, seed, follow)
    good = sum(_in_time(one) for one in done.jobs)
    return {"goodput": good / (SERVERS * SECONDS), "tries": len(done.jobs) / len(jobs)}


def _in_time(one: JobOutcome) -> bool:
    """Whether the one who asked got the answer in time: that is known to the judge alone."""
    return one.outcome == "completed" and one.finished_s <= one.arrival_s + DUE_S


def _persistent(jobs: Iterable[Timed]) -> Followed:
    """A client that asks again, at most twice, if it is refused or gets no answer in time."""
    known = {one.id: one for _, one in jobs}

    def follow(outcome: JobOutcome) -> Iterable[Timed]:
        name, _, tries = outcome.id.partition("-")
        if _in_time(outcome) or int(tries or 0) + 1 >= TRIES:
            return ()
        refused = outcome.outcome == "rejected"
        at = outcome.arrival_s + (PAUSE_S if refused else DUE_S)
        again = replace(known[name], id=f"{name}-{int(tries or 0) + 1}")
        return ((at, again),)

    return follow


def _burst(policies: Policies, seed: int) -> Figures:
    """Return the mean wait of jobs that come 10 to 60 seconds after the burst, at load 0.8."""
    load, seconds = BURST
    parts = ((0.0, 0.8, 60.0), (60.0, load, seconds), (60.0 + seconds, 0.8, 120.0))
    jobs: list[Timed] = []
    for number, (begin, share, length) in enumerate(parts):
        rate = SERVERS * share
        for at, s in offered(round(rate * length), rate, 10 * seed + number):
            jobs.append((begin + at, job(len(jobs), s)))
    done = run(sorted(jobs, key=lambda timed: timed[0]), SERVERS, policies, seed)
    end = 60.0 + seconds
    waits = [
        one.dispatched_s - one.arrival_s
        for one in done.jobs
        if one.outcome == "completed" and end + 10 <= one.arrival_s < end + 60
    ]
    return {"wait_s": fmean(waits)}


def judge(measured: Measured) -> Verdict:
    """Look for the cliff, the plateau, and the way back."""

    def good(admission: str, load: float, kind: str = "plain") -> float:
        return measured.mean(kind, admission, load, of="goodput")

    def wait(admission: str) -> float:
        return measured.mean("burst", admission, 0.8, of="wait_s")

    findings = [
        Finding("no admission control, load 1.2: goodput", good("none", 1.2), high=0.25),
        *(Finding(f"{name}, load {load:g}", good(name, load), low=0.9)
          for name in ("codel", "aimd on wait", "at most 16 waiting") for load in (1.2, 2.0)),
        *(Finding(f"{name}, load 0.8, over none", good(name, 0.8) / good("none", 0.8), low=0.95)
          for name in ("codel", "aimd on wait", "at most 16 waiting")),
        Finding("none, load 1.2, with retries", good("none", 1.2, "retries"), high=0.25),
        Finding("aimd on wait, load 1.2, with retries", good("aimd on wait", 1.2, "retries"),
                low=0.85),
        Finding("10 s after a burst: mean wait without admission control", wait("none"), low=10.0),
        Finding("the same, aimd on wait", wait("aimd on wait"), high=0.5),
    ]  # fmt: skip
    lines = [
        Series(f"{name}{suffix}", [(load, good(name, load, kind)) for load in LOADS])
        for kind, suffix in (("plain", ""), ("retries", ", with retries"))
        for name in (ADMISSION if kind == "plain" else ("none", "aimd on wait"))
    ]
    chart = Chart("Done in time, as a share of what the servers can do", "load offered",
                  "goodput", lines)  # fmt: skip
    head = ("admission", *(f"load {load:g}" for load in LOADS), "wait after a burst")
    rows = [(name, *(good(name, load) for load in LOADS), wait(name)) for name in ADMISSION]
    return Verdict(findings, [chart], [Table("Goodput", head, rows)])


EXPERIMENT = Experiment(
    "h7",
    "Goodput under overload",
    question="""
When more is asked for than can be done, how much is still done in time?
""",
    setup=f"""
{SERVERS} servers, one queue, exponential jobs of mean 1; an answer is good if it is there within
{DUE_S:g} s of the question, which the system is not told. Goodput is good answers over what the
servers can do in {SECONDS:g} s. *With retries*, whoever is refused asks again after {PAUSE_S:g} s,
and whoever has no answer after {DUE_S:g} s at once; {TRIES} times in all. Burst: load 0.8, then
{BURST[0]:g} for {BURST[1]:g} s, and how long a job waits from 10 s after that on.
""",
    theory="""
A queue without a limit, before servers with more to do than they can, grows as long as that lasts.
Soon everybody waits longer than is useful, and the servers do nothing but work that came too late:
goodput falls to zero, not to the capacity. Retries make it worse, and the queue outlives the burst
that made it. What helps is to refuse early, by what jobs *wait* (CoDel: Nichols & Jacobson 2012;
DAGOR: Zhou et al. 2018). To judge by latency would mistake long jobs for congestion.
""",
    practice="""
Use `aimd_on_wait` or `codel` where the time that jobs may wait is known, and always a limit
(`thresholds`): it is the one that cannot be fooled. `token_bucket` alone protects tenants from each
other, not the fleet from all of them: it knows rates, and not what the fleet can do today.
""",
    cases=(
        *(("plain", name, load) for name in ADMISSION for load in LOADS),
        *(("retries", name, load) for name in ("none", "aimd on wait") for load in LOADS),
        *(("burst", name, 0.8) for name in ADMISSION),
    ),
    measure=measure,
    judge=judge,
)
