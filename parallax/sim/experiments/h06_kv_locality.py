"""KV locality: routing to where the prompt is cached, and not too much of it."""

from __future__ import annotations

from dataclasses import replace

from parallax.core.settings import PolicyChoice
from parallax.sim.binding import EAGER
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
from parallax.sim.report.figures import figures
from parallax.sim.report.svg import Series
from parallax.sim.simulate import simulate
from parallax.sim.spec import FleetSpec, RunSpec, WorkloadSpec
from parallax.sim.traces.stats import describe
from parallax.sim.workloads.catalog import load

LOAD = "chat"
WORKERS, PROFILE, BLOCK = 8, "llama3-8b-a100", 16
CAPACITY = 120_000  # tokens of KV cache per worker
BUSY, CALM = 4.0, 0.5  # times the load's own rate
OMEGAS = (0.5, 1.0, 2.0, 4.0, 8.0)
CAPACITIES = (15_000, 30_000, 60_000, 120_000, 240_000)
ROUTERS = {
    "in turn": PolicyChoice("round_robin"),
    "random": PolicyChoice("random"),
    "two choices": PolicyChoice("power_of_two"),
    "least loaded": PolicyChoice("least_loaded"),
    "hash of the session": PolicyChoice("consistent_hash", {"bound": 1e6}),
    "the same, bounded": PolicyChoice("consistent_hash"),
    "threshold (SGLang)": PolicyChoice("sglang_cache_aware"),
    **{f"cost, omega {omega:g}": PolicyChoice("kv_locality", {"omega": omega}) for omega in OMEGAS},
}
BEST, BLIND = "cost, omega 2", "in turn"


def measure(case: Case, seed: int) -> Figures:
    """Route conversations; or say what caches of some sizes could give at best."""
    kind, router, number = case
    if kind == "curve":
        jobs = list(load(_workload(CALM), seed))
        blocks = [WORKERS * tokens // BLOCK for tokens in CAPACITIES]
        known = describe(jobs, blocks)
        return {
            f"{tokens}": float(known[f"lru_hit_{n}"] or 0.0)
            for tokens, n in zip(CAPACITIES, blocks, strict=True)
        }
    policies = replace(EAGER, routing=ROUTERS[str(router)])
    fleet = FleetSpec(WORKERS, PROFILE, kv_capacity=int(number))
    rate = BUSY if kind == "busy" else CALM
    found = figures(simulate(RunSpec(_workload(rate), fleet, policies, seed=seed)))
    names = ("prefix_hit_ratio", "ttft_ms_mean", "ttft_ms_p99")
    return {name: float(found[name] or 0.0) for name in names}


def _workload(rate: float) -> WorkloadSpec:
    return WorkloadSpec(LOAD, rate_scale=rate)


def judge(measured: Measured) -> Verdict:
    """Check the hit curves against one big cache, and the shape of the cost's weight."""

    def busy(router: str, of: str = "ttft_ms_mean") -> float:
        return measured.mean("busy", router, CAPACITY, of=of)

    def hit(router: str, tokens: int) -> float:
        return measured.mean("calm", router, tokens, of="prefix_hit_ratio")

    def pooled(tokens: int) -> float:
        return measured.mean("curve", "", 0, of=f"{tokens}")

    sweep = [(omega, busy(f"cost, omega {omega:g}")) for omega in OMEGAS]
    findings = [
        *(Finding(f"hits with {tokens:,} tokens per worker, less those of one cache for all",
                  hit(BEST, tokens) - pooled(tokens), -0.1, 0.1) for tokens in CAPACITIES[2:]),
        Finding("hits in turn, 120,000 tokens per worker, over those by cost",
                hit(BLIND, CAPACITY) / hit(BEST, CAPACITY), high=0.5),
        Finding("busy: mean TTFT in turn over that by cost", busy(BLIND) / busy(BEST), low=10.0),
        Finding("busy: mean TTFT by hash of the session over that by cost",
                busy("hash of the session") / busy(BEST), low=1.2),
        Finding("omega 0.5 over the best omega", sweep[0][1] / min(y for _, y in sweep), low=2.0),
        Finding("omega 2 over the best omega", sweep[2][1] / min(y for _, y in sweep), high=1.1),
        Finding("omega 8 over omega 2, p99",
                busy("cost, omega 8", "ttft_ms_p99") / busy(BEST, "ttft_ms_p99"), low=1.0),
    ]  # fmt: skip
    curves = [
        Series("by cost, omega 2", [(tokens, hit(BEST, tokens)) for tokens in CAPACITIES]),
        Series("in turn", [(tokens, hit(BLIND, tokens)) for tokens in CAPACITIES]),
        Series("one cache of all workers' size", [(t, pooled(t)) for t in CAPACITIES]),
    ]
    charts = [
        Chart("Prompt tokens found in a cache, 8 workers, low load", "KV tokens per worker",
              "share", curves),
        Chart("What a hit is worth, high load", "omega", "mean TTFT (ms; cut at 400)",
              [Series("by cost", [(omega, min(400.0, y)) for omega, y in sweep])]),
    ]  # fmt: skip
    rows = [
        (name, *(busy(name, of) for of in ("prefix_hit_ratio", "ttft_ms_mean", "ttft_ms_p99")))
        for name in ROUTERS
    ]
    head = ("router", "hits", "mean TTFT (ms)", "p99 TTFT (ms)")
    return Verdict(findings, charts, [Table("High load", head, rows)])


EXPERIMENT = Experiment(
    "h6",
    "KV locality",
    question="""
Turns of a conversation begin with all that was said before. What is it worth to send them to where
that is cached, and when does it hurt?
""",
    setup=f"""
The load `{LOAD}` (conversations of up to eight turns, some groups far busier than others) on
{WORKERS} workers like `{PROFILE}` with {CAPACITY:,} tokens of KV cache each; everything is routed
at once. High load is {BUSY:g} times the load's own rate: more prefill than the workers could do
without hits. Hit curves are measured at {CALM:g} times the rate and with smaller and larger
caches; *one cache* is the hit ratio of a single LRU cache as large as all together, from the trace
alone (in blocks, where the others count tokens). `omega` is what a token found in a cache is worth
in tokens of waiting prefill.
""",
    theory="""
A cache of C blocks under LRU hits what was used within the last C distinct blocks (Mattson et al.
1970). Routed blindly, the same blocks end up everywhere, and n caches are worth one; with affinity
they are worth n. But pure affinity lets one worker melt under what is popular. Counted in one unit,
the wait for a worker's prefill and the prefill that it saves can be added; a hit is worth more than
the time it saves (omega > 1), because a miss also puts a second copy into another cache.
""",
    practice="""
`kv_locality` with its default omega of 2 is on the flat bottom of the curve. Blind policies may be
several times slower in mean and by orders of magnitude when the fleet needs its hits to keep up:
then a restart or a rollout that empties the caches is an overload, too. Without an index of
prefixes, `consistent_hash` by session gives most of it.
""",
    cases=(
        *(("busy", name, CAPACITY) for name in ROUTERS),
        *(("calm", name, tokens) for name in (BEST, BLIND) for tokens in CAPACITIES),
        ("curve", "", 0),
    ),
    measure=measure,
    judge=judge,
    seeds=3,
)
