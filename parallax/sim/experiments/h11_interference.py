"""Interference: what a prompt does to those who are decoding beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from random import Random

from parallax.core.model import Job
from parallax.core.settings import Policies, PolicyChoice
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
from parallax.sim.timed import Timed

WORKERS, PROFILE, JOBS = 8, "llama3-8b-a100", 2_000
TTFT_S, TPOT_S = 1.0, 0.1
WEIGHTS = (0.0, 0.5, 1.0, 2.0, 4.0)
#: kind of load -> usual answer (tokens), arrivals a second
LOADS: Mapping[str, tuple[float, float]] = {"short": (24.0, 36.0), "long": (400.0, 26.0)}
PROMPT, SPREAD = 2_000.0, 0.9  # of all: usual tokens, sigma of their logarithm
#: Constants of the cost that are halved and doubled.
CONSTANTS = ("omega", "jobs", "memory", "interference", "stickiness", "least")
USUAL = {"omega": 2.0, "jobs": 0.2, "memory": 1.0, "interference": 1.0, "stickiness": 0.5,
         "least": 0.1}  # fmt: skip
FACTORS = (0.5, 2.0)
SHOWN = ("goodput", "ttft_ms_p95", "tpot_ms_p95", "prefix_hit_ratio")
#: Loads on which constants are changed: both of above, and conversations with shared prefixes.
TRIED = ("short", "long", "chat")
CHAT_RATE = 6.0  # times its own rate


def measure(case: Case, seed: int) -> Figures:
    """Serve a load with one constant of the cost changed."""
    load, constant, value = str(case[0]), str(case[1]), float(case[2])
    routing = PolicyChoice("kv_locality", {constant: value} if constant else {})
    policies = replace(Policies(), routing=routing)
    chat = load == "chat"
    workload = WorkloadSpec("chat", limit=JOBS, rate_scale=CHAT_RATE if chat else 1.0)
    spec = RunSpec(workload, FleetSpec(WORKERS, PROFILE), policies, seed=seed,
                   slo_ttft_s=0.3 if chat else TTFT_S, slo_tpot_s=0.035 if chat else TPOT_S
                   )  # fmt: skip
    found = figures(simulate(spec, None if chat else jobs(load, seed)))
    return {name: float(found[name] or 0.0) for name in SHOWN}


def jobs(load: str, seed: int) -> Iterator[Timed]:
    """Yield single requests: prompts like those of programs, answers short or long. Poisson."""
    answer, rate = LOADS[load]
    random, at_s = Random(f"{seed}/h11/{load}"), 0.0
    for number in range(JOBS):
        at_s += random.expovariate(rate)
        prompt = int(PROMPT * random.lognormvariate(-SPREAD * SPREAD / 2, SPREAD)) + 1
        output = int(answer * random.lognormvariate(-0.18, 0.6)) + 1
        yield at_s, Job(f"j{number}", f"t{number % 4}", min(prompt, 14_000), 2_000,
                        output_tokens=min(output, 2_000))  # fmt: skip


def judge(measured: Measured) -> Verdict:
    """Check that it is worth most where answers are short, and little where they are long."""

    def good(load: str, weight: float) -> float:
        return measured.mean(load, "interference", weight, of="goodput")

    def changed(load: str, constant: str, factor: float) -> float:
        usual = measured.mean(load, "", 0.0, of="goodput")
        return measured.mean(load, constant, factor * USUAL[constant], of="goodput") - usual

    worst = min(
        changed(load, constant, factor)
        for load in TRIED for constant in CONSTANTS for factor in FACTORS
    )  # fmt: skip
    findings = [
        Finding("short answers: goodput with interference 1, less that with 0",
                good("short", 1.0) - good("short", 0.0), low=0.01),
        Finding("long answers: the same (control)", good("long", 1.0) - good("long", 0.0),
                -0.02, 0.02),
        Finding("short answers: p95 of the time per token, 1 over 0",
                measured.mean("short", "interference", 1.0, of="tpot_ms_p95")
                / measured.mean("short", "interference", 0.0, of="tpot_ms_p95"), high=0.95),
        Finding("what halving or doubling one constant costs at most, in goodput", worst,
                low=-0.03),
    ]  # fmt: skip
    chart = Chart(
        "What counting the interrupted is worth", "interference", "goodput",
        [Series(f"{load} answers", [(w, good(load, w)) for w in WEIGHTS]) for load in LOADS],
    )  # fmt: skip
    tables = [
        Table(f"{load}: each constant halved and doubled",
              ("constant", "value", *(name.replace("_", " ") for name in SHOWN)),
              list(_rows(measured, load)))
        for load in TRIED
    ]  # fmt: skip
    return Verdict(findings, [chart], tables)


def _rows(measured: Measured, load: str) -> Iterator[tuple[object, ...]]:
    yield "(as it is)", "", *(measured.mean(load, "", 0.0, of=name) for name in SHOWN)
    for constant in CONSTANTS:
        for factor in FACTORS:
            value = factor * USUAL[constant]
            figures_ = (measured.mean(load, constant, value, of=name) for name in SHOWN)
            yield constant, f"{value:g}", *figures_


def _cases() -> Iterator[Case]:
    for load in LOADS:
        yield from ((load, "interference", weight) for weight in WEIGHTS)
    for load in TRIED:
        yield load, "", 0.0
        for constant in CONSTANTS:
            yield from ((load, constant, factor * USUAL[constant]) for factor in FACTORS)


EXPERIMENT = Experiment(
    "h11",
    "Interference",
    question="""
A prompt that is computed beside requests that are decoding makes each of them wait once. Whom does
that hurt, is it worth counting when a worker is chosen, and how much do the constants of that cost
matter?
""",
    setup=f"""
Poisson arrivals on {WORKERS} workers like `{PROFILE}`; prompts of {PROMPT:,.0f} tokens (lognormal),
answers of {LOADS["short"][0]:g} tokens in one load, as when programs are completed, and of
{LOADS["long"][0]:g} in the other, as in conversations: that is the control. Good is a first token
within {TTFT_S:g} s and {TPOT_S:g} s for each further one. The default composition serves both, with
the weight of interference from 0 (what a prompt does to others is not counted) to 4. Then each
constant of `kv_locality` is halved and doubled, there and on the load `chat` at {CHAT_RATE:g} times
its rate (good: 0.3 s, 0.035 s), where prefixes are shared. The figures on recorded traces are in
[the laboratory](../laboratory.md#beside-other-routers).
""",
    theory="""
A request with an answer of n tokens has a pace of (time from first to last token) / (n - 1). One
prompt of p tokens beside it delays it once, by p times the time of a prompt token, so its pace
grows by that over n: an answer of 25 tokens pays sixteen times as much for one prompt as one of
400. An answer that lasts long meets as many prompts as all others do, wherever these are sent: one
more changes little, and its pace is that of the load. A short one meets few, and whether it keeps
its pace is a matter of how many. So the harm of sending a prompt somewhere is p times the number of
those there that one more prompt pushes past their limit, a share that falls with a high power of n
(`haste`). In units of the usual prompt it can be added to the prompt's own wait, and its weight is
dimensionless: 1, a request pushed past its pace being as bad as one that is late by a usual prompt.
""",
    practice="""
Where programs ask (completions, classification, agents' tool calls) answers are short, and the
time between tokens is lost to other prompts first. Nothing has to be set: with long answers the
term is near zero. If only the first token matters, `interference=0` gives the place of the least
wait. Workers that prefill only (`--prefill-workers`) remove the harm instead of sharing it out.
""",
    cases=tuple(dict.fromkeys(_cases())),
    measure=measure,
    judge=judge,
    seeds=2,
)
