"""The leader's view of the last minute: counts, latencies, tenants, workers, notable events.

It is made for people who look, and told to them once a second (`services.publishing`). A minute is
six slots of ten seconds: the newest is filled, the oldest is dropped whole. Whoever leads next
takes the minute over, so that no picture jumps when a leader changes.

Everything is bounded: tenants and workers by slot, buckets of a sketch, and what happened.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from parallax.core.cost import TokenCost
from parallax.core.lifecycle import Outcome
from parallax.core.sketch import Sketch
from parallax.scheduling.actions import Action, Admitted, Dispatch, Reject
from parallax.scheduling.events import AttemptEnded, Event
from parallax.telemetry.report import Report

#: How long a slot is, and how many there are: the last minute (seconds).
SLOT_S, SLOTS = 10.0, 6

#: Most tenants and workers that are told apart, and most happenings that are kept.
TENANTS, WORKERS, HAPPENINGS = 1_000, 1_000, 60

#: About so many ends are looked at between two tellings: a look at each of ten thousand a second
#: would cost too much.
SAMPLE = 500

#: The latencies that are sketched.
LATENCIES = ("queue_wait_s", "ttft_s", "tpot_s", "e2e_s")

#: The name that a tenant or worker beyond the bound shares with others like it: no name of one.
OTHERS = ""

_cost = TokenCost()


@dataclass(slots=True)
class Happening:
    """Something worth seeing. `jobs` were concerned, one of them is `job`."""

    seq: int
    at: float
    kind: str
    job: str = ""
    jobs: int = 1
    source: str = ""
    target: str = ""
    detail: str = ""


@dataclass(slots=True)
class Served:
    """The service that one tenant got."""

    cost: float = 0.0
    completed: int = 0
    rejected: int = 0
    output_tokens: int = 0
    ttft: Sketch = field(default_factory=Sketch)

    def add(self, other: Served) -> None:
        """Count what another one has counted."""
        self.cost += other.cost
        self.completed += other.completed
        self.rejected += other.rejected
        self.output_tokens += other.output_tokens
        self.ttft.add(other.ttft)


@dataclass(slots=True)
class Slot:
    """The counts of a few seconds from `since` on."""

    since: float
    counts: Counter[str] = field(default_factory=Counter)
    latencies: dict[str, Sketch] = field(default_factory=lambda: {n: Sketch() for n in LATENCIES})
    tenants: dict[str, Served] = field(default_factory=dict)
    workers: dict[str, Counter[str]] = field(default_factory=dict)

    def tenant(self, name: str) -> Served:
        """Return the counts of a tenant."""
        found = self.tenants.get(name)
        if found is None:
            name = name if len(self.tenants) < TENANTS else OTHERS
            found = self.tenants.setdefault(name, Served())
        return found

    def worker(self, name: str) -> Counter[str]:
        """Return the counts of a worker."""
        found = self.workers.get(name)
        if found is None:
            name = name if len(self.workers) < WORKERS else OTHERS
            found = self.workers.setdefault(name, Counter())
        return found

    def add(self, other: Slot) -> None:
        """Count what another one has counted."""
        self.since = min(self.since, other.since)
        self.counts.update(other.counts)
        for name, sketch in other.latencies.items():
            self.latencies[name].add(sketch)
        for name, served in other.tenants.items():
            self.tenant(name).add(served)
        for name, counts in other.workers.items():
            self.worker(name).update(counts)


class Pulse:
    """See the module's docstring. One thread counts, and the same one asks."""

    def __init__(self) -> None:
        self.now = 0.0  # by the server's clock; its driver sets it
        self.sums: Counter[str] = Counter()  # what nobody else counts, since the beginning
        self.told_at = 0.0  # when this process told last
        self.samples: deque[tuple[float, dict[str, int]]] = deque(maxlen=round(SLOT_S * SLOTS) + 2)
        self._slots: deque[Slot] = deque([Slot(0.0)], SLOTS)
        self._happenings: deque[Happening] = deque(maxlen=HAPPENINGS)
        self._seq = self._ends = 0
        self._ends_told, self._step = 0, 1

    # -- counting

    def decided(self, actions: Sequence[Action]) -> None:
        """The scheduler decided."""
        slot, refused = self._slots[-1], dict[str, list[str]]()
        dispatched = admitted = 0
        for action in actions:
            kind = type(action)
            if kind is Dispatch:
                dispatched += 1
                if action.hedge:  # type: ignore[union-attr]
                    self._hedged(slot, action)  # type: ignore[arg-type]
            elif kind is Admitted:
                admitted += 1
            elif kind is Reject:
                refused.setdefault(action.reason, []).append(action.job_id)  # type: ignore[union-attr]
                slot.tenant(action.tenant).rejected += 1  # type: ignore[union-attr]
        slot.counts["dispatched"] += dispatched
        slot.counts["admitted"] += admitted
        for reason, jobs in refused.items():
            slot.counts[f"rejected.{reason}"] += len(jobs)
            self.sums[f"rejected.{reason}"] += len(jobs)
            self.happened("shed", jobs, detail=reason)

    def _hedged(self, slot: Slot, action: Dispatch) -> None:
        slot.worker(action.worker)["hedged"] += 1
        self.happened("hedged", [action.job_id], target=action.worker)

    def served(
        self, tenant: str, prompt: int, cached: int, output: int, completed: int
    ) -> None:  # fmt: skip
        """A tenant's attempts used so many tokens, and so many of its jobs completed."""
        slot = self._slots[-1]
        served = slot.tenant(tenant)
        served.cost += _cost(max(0, prompt - cached), output)
        served.output_tokens += output
        served.completed += completed
        for name, tokens in (("prompt", prompt), ("cached", cached), ("output", output)):
            slot.counts[f"{name}_tokens"] += tokens
            self.sums[f"{name}_tokens"] += tokens

    def sampled(self, told: Sequence[tuple[Event, Report | None]]) -> None:
        """Look at the times of jobs that ended: at all of them, or at high rates at some.

        Each of these then counts as often as there are jobs from one to the next.
        """
        slot, step = self._slots[-1], self._step
        first, self._ends = -self._ends % step, self._ends + len(told)
        for event, report in islice(told, first, None, step):
            if type(event) is not AttemptEnded or report is None:
                continue
            if event.outcome is Outcome.COMPLETED:
                slot.worker(event.worker)["completed"] += step
                _observe(slot.latencies, slot.tenant(event.tenant).ttft, report, step)

    def stolen(self, jobs: Sequence[str], victim: str, thief: str) -> None:
        """These attempts were moved to an idle worker."""
        if jobs:
            slot = self._slots[-1]
            slot.worker(victim)["stolen_from"] += len(jobs)
            slot.worker(thief)["stolen_to"] += len(jobs)
            self.happened("stolen", jobs, victim, thief)

    def workers(self, news: Iterable[tuple[str, str, Sequence[str]]]) -> None:
        """Workers came, left, died or lost jobs: (what, which worker, which jobs)."""
        for kind, worker, jobs in news:
            if kind == "worker_new":
                self.happened(kind, target=worker)
            else:
                self.happened(kind, jobs, worker)

    def happened(
        self, kind: str, jobs: Sequence[str] = (), source: str = "", target: str = "",
        detail: str = "",
    ) -> None:  # fmt: skip
        """Keep what happened; what goes on is one happening while it goes on within a second."""
        last = self._happenings[-1] if self._happenings else None
        same = last and (last.kind, last.source, last.target, last.detail) == (
            kind, source, target, detail,
        )  # fmt: skip
        if last and same and jobs and self.now - last.at < 1.0:
            last.jobs += len(jobs)
            return
        self._seq += 1
        job = jobs[0] if jobs else ""
        self._happenings.append(
            Happening(self._seq, self.now, kind, job, len(jobs), source, target, detail)
        )

    # -- telling

    def minute(self) -> Slot:
        """Return the counts of the last minute, or less."""
        self._step = 1 + (self._ends - self._ends_told) // SAMPLE
        self._ends_told = self._ends
        newest = self._slots[-1]
        if newest.since == 0.0:
            newest.since = self.now
        while self._slots[0].since < self.now - SLOT_S * SLOTS and len(self._slots) > 1:
            self._slots.popleft()
        if newest.since <= self.now - SLOT_S:
            newest = Slot(self.now)
            self._slots.append(newest)
        total = Slot(self.now)
        for slot in self._slots:
            total.add(slot)
        return total

    def happenings(self) -> list[Happening]:
        """Return what happened last, the oldest first."""
        return list(self._happenings)

    def take_over(
        self, minute: Slot, sums: Mapping[str, int], happenings: Sequence[Happening]
    ) -> None:
        """Go on from what another leader told last, unless this is what we told ourselves."""
        self._slots = deque([minute, Slot(self.now)], SLOTS)
        self.sums = Counter(sums)
        self._happenings = deque(islice(happenings, HAPPENINGS), HAPPENINGS)
        self._seq = max([self._seq, *(one.seq for one in happenings)])


def _observe(
    latencies: Mapping[str, Sketch], of_tenant: Sketch, report: Report, count: int
) -> None:  # fmt: skip
    wait, first = report.wait_s or 0.0, report.ttft_s
    e2e = wait + (report.service_s or 0.0)
    latencies["queue_wait_s"].observe(wait, count)
    latencies["e2e_s"].observe(e2e, count)
    if first is None:
        return
    bucket = latencies["ttft_s"].observe(first, count)
    of_tenant.counts[bucket] = of_tenant.counts.get(bucket, 0) + count
    if report.output_tokens > 1:
        latencies["tpot_s"].observe(max(0.0, e2e - first) / (report.output_tokens - 1), count)
