"""Loads for real engines, and the figures of what became of them: nothing here asks anybody."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

from parallax.broker.store.results import Record
from parallax.core.lifecycle import Outcome
from parallax.core.model import Job
from parallax.core.prefix import conversation
from parallax.core.quantiles import quantile
from parallax.sim.timed import Timed

BLOCK = 16


def conversations(name: str, sessions: int, turns: int, pause_s: float) -> list[Timed]:
    """Return turns that say all that was said before, and more; each round in another order.

    In one order round robin would give every conversation the same server in each round.
    """
    random, jobs = Random(name), list[Timed]()
    for turn in range(turns):
        order = random.sample(range(sessions), sessions)
        for place, session in enumerate(order):
            tokens = 64 * (turn + 1)
            prefix = tuple(conversation(f"{name}/{session}", tokens // BLOCK))
            job = Job(
                f"{name}-{turn}-{session}", "t", tokens, 4, f"{name}-{session}", 4,
                prefix=prefix, prefix_block=BLOCK,
            )  # fmt: skip
            jobs.append(((turn + place / sessions) * pause_s, job))
    return jobs


def mixed(name: str, count: int, gap_s: float) -> list[Timed]:
    """Return jobs of which every other one streams."""
    return [
        (n * gap_s, Job(f"{name}-{n}", "t", 24, 64, output_tokens=64, stream=n % 2 == 0))
        for n in range(count)
    ]


def backlog(name: str, counts: dict[str, int]) -> list[Timed]:
    """Return all jobs of some tenants at once."""
    return [
        (0.0, Job(f"{name}-{tenant}-{n}", tenant, 24, 12, output_tokens=12))
        for tenant, count in counts.items()
        for n in range(count)
    ]


def beside(name: str, victim: int, gap_s: float, neighbour: Sequence[float]) -> list[Timed]:
    """Return a tenant's jobs at a steady pace, and those of a neighbour at these times."""
    own = [
        (1.0 + n * gap_s, Job(f"{name}-v{n}", "victim", 24, 8, output_tokens=8))
        for n in range(victim)
    ]
    others = [
        (at, Job(f"{name}-n{n}", "neighbour", 24, 8, output_tokens=8))
        for n, at in enumerate(neighbour)
    ]
    return sorted([*own, *others], key=lambda timed: timed[0])


def cached_share(records: Iterable[Record]) -> float:
    """Return the share of prompt tokens that engines say they found in their caches."""
    reports = [record.report for record in records]
    return sum(r.cached_tokens for r in reports) / max(1, sum(r.prompt_tokens for r in reports))


def tokens_while_both_wait(records: Sequence[Record], heavy: str, light: str) -> float:
    """Return the ratio of engine tokens of jobs that began while both tenants had work waiting.

    Counted until nine tenths of the jobs of `heavy` have begun: when the last ones are on their
    way, the slots that become free are all for the other tenant.
    """
    begun = sorted(r.started for r in records if r.tenant == heavy and r.started is not None)
    last = begun[int(0.9 * (len(begun) - 1))]
    served = dict.fromkeys((heavy, light), 0)
    for record in records:
        if record.started is not None and record.started <= last:
            report = record.report
            served[record.tenant] += report.prompt_tokens + report.output_tokens
    return served[heavy] / max(1, served[light])


def p99_of(records: Iterable[Record], tenant: str) -> float:
    """Return the 99th percentile of seconds in the system of a tenant's jobs."""
    found = [r.e2e_s for r in records if r.tenant == tenant]
    return quantile([one for one in found if one is not None], 0.99)


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of jobs one of whose servers was killed."""

    jobs: int
    completed: int
    broken_streams: int
    lost: int  # no end is known
    twice: int  # the end was told more than once, or pieces of two attempts
    wrong: int  # ended with an error though nothing of the answer had been sent
    tried_again: int  # jobs that had more than one attempt

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        return not (self.lost or self.twice or self.wrong)

    @property
    def felt(self) -> bool:
        """Whether a death meant anything to any job."""
        return bool(self.broken_streams or self.tried_again)


def kept(
    jobs: Sequence[Job], records: Sequence[Record], told: dict[str, int], heard: dict[str, set[int]]
) -> Kept:
    """Judge jobs by their records, how often each end was told, and whose pieces were heard."""
    by_id = {record.job_id: record for record in records}
    ends = {job.id: by_id[job.id].outcome if job.id in by_id else None for job in jobs}
    failed = [job for job in jobs if ends[job.id] not in (None, Outcome.COMPLETED)]
    broken = [job for job in failed if job.stream and heard.get(job.id)]
    return Kept(
        len(jobs),
        sum(end is Outcome.COMPLETED for end in ends.values()),
        len(broken),
        sum(end is None for end in ends.values()),
        sum(told.get(job.id, 0) > 1 or len(heard.get(job.id, ())) > 1 for job in jobs),
        len(failed) - len(broken),
        sum(record.attempts > 1 for record in records),
    )
