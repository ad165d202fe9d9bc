"""Hedging: the cure of a tail, and the disease it can be."""

from __future__ import annotations

from dataclasses import replace

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
from parallax.sim.experiments.servers import figures, poisson, run
from parallax.sim.report.svg import Series
from parallax.sim.spec import FleetSpec

LOADS = (0.3, 0.5, 0.7, 0.8, 0.9)
SERVERS, JOBS = 16, 9_000
SHARE, FACTOR = 0.02, 10.0  # of executions, that take so many times longer
STRAGGLERS = FleetSpec(straggler_share=SHARE, straggler_factor=FACTOR)
HEDGING = {
    "none": PolicyChoice("never"),
    "5 % budget": PolicyChoice("percentile"),
    "without a budget": PolicyChoice(
        "percentile", {"budget": 1.0, "cap": 1e6, "saturation": 1_000.0, "quantile": 0.5}
    ),
}


def measure(case: Case, seed: int) -> Figures:
    """Serve jobs some of which meet a slow execution, or none does."""
    kind, hedging, load = case
    policies = replace(routed("power_of_two", EAGER), hedging=HEDGING[str(hedging)])
    jobs = poisson(JOBS, SERVERS * float(load), seed)
    fleet = STRAGGLERS if kind == "slow" else None
    done = run(jobs, SERVERS, policies, seed, fleet=fleet)
    return {**figures(done), "hedges": done.counters["hedges"] / len(jobs)}


def judge(measured: Measured) -> Verdict:
    """Check the cut and its price, and what hedging costs where nothing is to be cured."""

    def found(hedging: str, load: float, of: str = "p99_s", kind: str = "slow") -> float:
        return measured.mean(kind, hedging, load, of=of)

    def work(hedging: str, load: float, kind: str) -> float:
        return found(hedging, load, "busy_s", kind) / found("none", load, "busy_s", kind)

    none, budget, wild = HEDGING
    findings = [
        *(Finding(f"load {load:g}: p99 cut by", 1 - found(budget, load) / found(none, load),
                  low=0.45) for load in LOADS[:3]),
        *(Finding(f"load {load:g}: hedges per job", found(budget, load, "hedges"), high=0.06)
          for load in LOADS),
        *(Finding(f"load {load:g}: work over that without hedges", work(budget, load, "slow"),
                  high=1.05) for load in LOADS),
        Finding("nothing slow, load 0.8: work with a budget", work(budget, 0.8, "sound"),
                high=1.05),
        Finding("the same without a budget", work(wild, 0.8, "sound"), low=1.04),
        Finding("nothing slow, load 0.9: mean response with a budget, over none",
                found(budget, 0.9, "mean_s", "sound") / found(none, 0.9, "mean_s", "sound"),
                high=1.1),
        Finding("the same without a budget",
                found(wild, 0.9, "mean_s", "sound") / found(none, 0.9, "mean_s", "sound"),
                low=1.05),
    ]  # fmt: skip
    charts = [
        Chart(title, "load", label, [
            Series(name, [(load, found(name, load, of, kind)) for load in LOADS])
            for name in HEDGING
        ])
        for title, label, of, kind in (
            ("p99 with 2 % of executions ten times slower", "p99 (services)", "p99_s", "slow"),
            ("Mean response when nothing is slow", "mean (services)", "mean_s", "sound"),
        )
    ]  # fmt: skip
    head = ("hedging", *(f"load {load:g}: p99, hedges, work" for load in LOADS))
    rows = [(name, *(_cell(measured, name, load) for load in LOADS)) for name in HEDGING]
    return Verdict(findings, charts, [Table("Tails, and what they cost", head, rows)])


def _cell(measured: Measured, name: str, load: float) -> str:
    p99, hedges, busy = (
        measured.mean("slow", name, load, of=of) for of in ("p99_s", "hedges", "busy_s")
    )
    plain = measured.mean("slow", "none", load, of="busy_s")
    return f"{p99:.3g}, {hedges:.1%}, {busy / plain - 1:+.1%}"


EXPERIMENT = Experiment(
    "h5",
    "Hedging: cure and disease",
    question="""
Some executions are slow for no reason that a scheduler can see. What does a second attempt cure,
what does it cost, and when does it make things worse?
""",
    setup=f"""
{SERVERS} servers behind `power_of_two`, exponential jobs; {SHARE:.0%} of all *executions* take
{FACTOR:g} times as long. `percentile` starts a second attempt for what takes longer than 95 % do
for their size and their place in line, at most 5 per 100 jobs and none while all servers are busy;
the loser is cancelled. *Without a budget* is the same from the median on, at any load. The control:
no execution is slow. {JOBS:,} jobs a seed.
""",
    theory="""
A late answer is most often one that met a slow execution, and another one is not slow with it: a
second attempt after the 95th percentile costs 5 % more requests and cuts the tail by half (Dean &
Barroso 2013). But a hedge is load. If it is not bounded, load makes answers late, late answers
make hedges, and hedges make load: past some utilisation the system falls into a state that it does
not leave when the cause is gone (Bronson et al. 2021).
""",
    practice="""
Hedge with a budget, cancel the loser, and stop when the fleet is full: `percentile` does all three.
It needs jobs that may run twice. Where executions really are slow, many more hedges would pay, as
they take work off the slow servers; where none is, they are the overload. A scheduler cannot tell
the two apart, so the budget stays. What a timer is compared with must include the line before the
server: whoever hedges jobs that merely wait spends the budget on them.
""",
    cases=tuple(
        (kind, name, load) for kind in ("slow", "sound") for name in HEDGING for load in LOADS
    ),
    measure=measure,
    judge=judge,
)
