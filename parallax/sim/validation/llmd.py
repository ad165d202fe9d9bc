"""Held against llm-d's published benchmark of a workload that fills 73 % of the fleet's KV memory.

Eight pods of two H100 serve Qwen3-32B. Each stage of load waits for the one before it to end, and
its throughput is its output over the time from its first arrival to its last token. Every constant
of the engine is the roofline's.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path

from parallax.core.errors import InvalidInput
from parallax.sim.binding import routed
from parallax.sim.outcome import JobOutcome
from parallax.sim.simulate import simulate
from parallax.sim.spec import FleetSpec, RunSpec, WorkloadSpec
from parallax.sim.timed import Timed
from parallax.sim.validation.check import Check, Order
from parallax.sim.workloads import made

RESULTS = "llmd_73-capacity.md"
WORKLOAD = "llmd_73"
FLEET = FleetSpec(8, "qwen3-32b-h100-tp2", max_seqs=1_024, token_budget=8_192)
#: Published name -> ours, from best to worst as it was measured.
ROUTERS = {
    "precise": "llmd_precise",
    "estimated": "llmd_default",
    "random": "random",
    "load": "llmd_load",
}
JUDGED = ("precise", "random")
FIRST_RATE = 20.0
_ROW = re.compile(r"^\| (\w+)-scheduling \| ([\d.]+) \|", re.MULTILINE)


@dataclass(slots=True)
class Stages:
    """The stages of the load, one after the other."""

    jobs: list[list[Timed]]
    begun_s: list[float] = field(default_factory=list)
    ended_s: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    left: list[int] = field(default_factory=list)

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
        return cls(stages, [0.0] * count, [0.0] * count, [0] * count, [len(s) for s in stages])

    def ended(self, outcome: JobOutcome) -> list[Timed]:
        """Note the end of a job; the last one of a stage brings on the next stage."""
        number = int(outcome.id.partition("-")[0])
        self.tokens[number] += outcome.output_tokens
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


def checks(published: Path, seed: int = 0) -> Iterator[Check | Order]:
    """Yield predictions beside measurements, then the order over all stages that are judged."""
    measured = table(published / RESULTS)
    rates = [stage.rate for stage in made.parsed(WORKLOAD).stages]
    totals: list[float] = []
    for name, routing in ROUTERS.items():
        stages = Stages.of(WORKLOAD, seed)
        spec = RunSpec(WorkloadSpec(WORKLOAD), FLEET, routed(routing), seed=seed, report_s=0.05)
        simulate(spec, stages.jobs[0], stages.ended)
        judged = [n for n, rate in enumerate(rates) if n and rate >= FIRST_RATE]
        totals.append(sum(stages.throughput(n) for n in judged) / len(judged))
        if name in JUDGED:
            for n in judged:
                what = f"output tokens/s at {rates[n]:g} requests/s"
                published_rate = measured[name, rates[n]]
                yield Check(f"llm-d {name}", what, stages.throughput(n), published_rate, 0.20)
    yield Order("llm-d", tuple(ROUTERS), tuple(totals), ties=0.02)


def table(file: Path) -> dict[tuple[str, float], float]:
    """Read the published output tokens per second: (router, requests per second) -> tokens/s."""
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"published {file.name}", str(file), f"a readable file ({error})"
        ) from None
    found: dict[tuple[str, float], float] = {}
    for section in text.split("### QPS = ")[1:]:
        rate = float(section.split()[0])
        for router, tokens in _ROW.findall(section):
            found[router, rate] = float(tokens)
    if not found:
        raise InvalidInput(f"published {file.name}", str(file), "tables of results per QPS")
    return found
