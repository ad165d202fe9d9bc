"""Held against llm-d's published benchmark of a workload that fills 73 % of the fleet's KV memory.

Eight pods of two H100 serve Qwen3-32B. Each stage of load waits for the one before it to end, and
its throughput is its output over the time from its first arrival to its last token. Every constant
of the engine is the roofline's. Two things are neither the engine's nor published with the run:

* what stands before the engines (a gateway, its router, which tokenises, and the client's own
  reading) takes `FRONT_MS` with each request: what a prompt that is wholly cached waited for its
  first token in the same stack's other report (37 % capacity, Llama-3.1-70B: 0.26 s over its nine
  rates), less a step;
* how old what the router knows of an engine is: with `REPORT_S` what load-aware routing gives at 3
  and 10 requests/s, which is not judged, comes out as it was measured.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from statistics import fmean

from parallax.core.errors import InvalidInput
from parallax.engine.profiles import profile_named
from parallax.sim.binding import routed
from parallax.sim.outcome import JobOutcome
from parallax.sim.simulate import simulate
from parallax.sim.spec import FleetSpec, RunSpec, WorkloadSpec
from parallax.sim.timed import Timed
from parallax.sim.validation.check import Check, Order
from parallax.sim.workloads import made

RESULTS = "llmd_73-capacity.md"
WORKLOAD = "llmd_73"
FRONT_MS = 230.0
REPORT_S = 1.0
POD = replace(profile_named("qwen3-32b-h100-tp2"), request_ms=FRONT_MS)
FLEET = FleetSpec(8, max_seqs=1_024, token_budget=8_192, profiles=(POD,))
#: Published name -> ours, from best to worst as it was measured.
ROUTERS = {
    "precise": routed("llmd_precise", reported=True),
    "estimated": routed("llmd_default", reported=True),
    "random": routed("random"),
    "load": routed("llmd_load", reported=True),
}
JUDGED = ("precise", "random")
FIRST_RATE = 20.0
#: Up to this rate nobody waits for memory under precise routing, and a first token is quick.
QUIET_RATE = 35.0
#: A stage ends with its unluckiest pod, so what chance routes is the mean of so many draws.
DRAWS = {"random": 3}
#: The router, output tokens/s, and the mean time to first token.
_ROW = re.compile(
    r"^\| (\w+)-scheduling \| ([\d.]+) \| [\d.]+ \| [\d.]+ \| ([\d.]+) \|", re.MULTILINE
)
Measured = dict[tuple[str, float], tuple[float, float]]


@dataclass(slots=True)
class Stages:
    """The stages of the load, one after the other."""

    jobs: list[list[Timed]]
    begun_s: list[float] = field(default_factory=list)
    ended_s: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    waited_s: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, workload: str, seed: int) -> Stages:
        """Make the jobs of every stage."""
        load = made.parsed(workload)
        begins = list(accumulate((stage.seconds for stage in load.stages), initial=0.0))
        stages: list[list[Timed]] = [[] for _ in load.stages]
        for at_s, job in made.jobs(load, seed):
            number = bisect_right(begins, at_s) - 1
            named = replace(job, id=f"{number}-{len(stages[number])}")
            stages[number].append((at_s - begins[number], named))
        count = len(stages)
        return cls(stages, [0.0] * count, [0.0] * count, [0] * count, [len(s) for s in stages],
                   [0.0] * count)  # fmt: skip

    def ended(self, outcome: JobOutcome) -> list[Timed]:
        """Note the end of a job; the last one of a stage brings on the next stage."""
        number = int(outcome.id.partition("-")[0])
        self.tokens[number] += outcome.output_tokens
        self.waited_s[number] += outcome.ttft_s
        self.left[number] -= 1
        if self.left[number]:
            return []
        end = self.ended_s[number] = outcome.finished_s
        if number + 1 == len(self.jobs):
            return []
        self.begun_s[number + 1] = end
        return [(end + at_s, job) for at_s, job in self.jobs[number + 1]]

    def throughput(self, number: int) -> float:
        """Return the output tokens per second of a stage."""
        return self.tokens[number] / (self.ended_s[number] - self.begun_s[number])

    def ttft_s(self, number: int) -> float:
        """Return the mean time to first token of a stage."""
        return self.waited_s[number] / len(self.jobs[number])


def checks(published: Path, seed: int = 0) -> Iterator[Check | Order]:
    """Yield predictions beside measurements, then the order over all stages that are judged."""
    measured = table(published / RESULTS)
    rates = [stage.rate for stage in made.parsed(WORKLOAD).stages]
    judged = [n for n, rate in enumerate(rates) if n and rate >= FIRST_RATE]
    quiet = [n for n, rate in enumerate(rates) if n and rate <= QUIET_RATE]
    totals: list[float] = []
    for name in ROUTERS:
        draws = [_played(name, seed + n) for n in range(DRAWS.get(name, 1))]
        found = {n: fmean(stages.throughput(n) for stages in draws) for n in judged}
        totals.append(fmean(found.values()))
        if name in JUDGED:
            for n in judged:
                what = f"output tokens/s at {rates[n]:g} requests/s"
                yield Check(f"llm-d {name}", what, found[n], measured[name, rates[n]][0], 0.20)
        if name == "precise":
            predicted = fmean(draws[0].ttft_s(n) for n in quiet)
            was = fmean(measured[name, rates[n]][1] for n in quiet)
            what = f"mean TTFT (s) at 3 to {QUIET_RATE:g} requests/s"
            yield Check(f"llm-d {name}", what, predicted, was, 0.20)
    yield Order("llm-d", tuple(ROUTERS), tuple(totals), ties=0.02)


def _played(name: str, seed: int) -> Stages:
    """Return the stages after a run."""
    stages = Stages.of(WORKLOAD, seed)
    spec = RunSpec(WorkloadSpec(WORKLOAD), FLEET, ROUTERS[name], seed=seed, report_s=REPORT_S)
    simulate(spec, stages.jobs[0], stages.ended)
    return stages


def table(file: Path) -> Measured:
    """Read what is published: (router, requests/s) -> (output tokens/s, mean seconds of TTFT)."""
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"published {file.name}", str(file), f"a readable file ({error})"
        ) from None
    found: Measured = {}
    for section in text.split("### QPS = ")[1:]:
        rate = float(section.split()[0])
        for router, tokens, ttft_s in _ROW.findall(section):
            found[router, rate] = float(tokens), float(ttft_s)
    if not found:
        raise InvalidInput(f"published {file.name}", str(file), "tables of results per QPS")
    return found
