"""Offers a load in real time and learns the results.

Open loop: a job is submitted when its time has come, whether or not earlier ones have been
answered; its latency counts from the moment it was meant to be sent, so a slow system cannot make
its own numbers look better by slowing the load down (coordinated omission).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice

from parallax.broker.store.intake import Receipt
from parallax.core.clock import Clock
from parallax.core.cost import TokenCost
from parallax.core.errors import ParallaxError, Refused, StoreFull, Unreachable
from parallax.core.lifecycle import Outcome
from parallax.core.model import Job
from parallax.core.words import Submitted
from parallax.producers.client.completion import Completion
from parallax.producers.client.interface import Producer

log = logging.getLogger(__name__)

#: Most jobs in one submission, and how long jobs may be gathered for it (seconds).
BATCH, GATHER_S = 200, 0.005

#: How long a store may stay silent before the run is given up (seconds).
PATIENCE_S = 60.0


@dataclass(slots=True)
class Sample:
    """The driver's notes of one job. Times are seconds from the start of the run."""

    tenant: str
    due: float
    submitted: float
    refused: str = ""
    outcome: Outcome | None = None
    told: int = 0  # how often its end was announced: more than once breaks a promise
    ended: float | None = None
    wait: float | None = None
    ttft: float | None = None
    e2e: float | None = None
    cost: float = 0.0
    output_tokens: int = 0
    tokens: int = 0


@dataclass(slots=True)
class Run:
    """A load that was offered: every job's sample, and how long it took."""

    samples: dict[str, Sample] = field(default_factory=dict)
    offered_s: float = 0.0  # when the last job was submitted
    ended_s: float = 0.0  # when the last end was heard of
    lost: int = 0
    interrupted: bool = False  # it was ended early: open jobs say nothing

    @property
    def open(self) -> int:
        """Accepted jobs whose end has not been heard of."""
        return sum(1 for s in self.samples.values() if not s.refused and s.outcome is None)

    @property
    def twice(self) -> int:
        """Jobs whose end was announced more than once."""
        return sum(1 for s in self.samples.values() if s.told > 1)


class Driver:
    """Offers jobs at their times and gathers their ends."""

    def __init__(
        self, client: Producer, clock: Clock, cost: TokenCost | None = None,
        bodies: Mapping[str, bytes] | None = None,
    ) -> None:  # fmt: skip
        self._bodies = bodies or {}
        self._client, self._clock = client, clock
        self._cost = cost or TokenCost()
        self.run = Run()
        self._start = clock.monotonic()
        self._tick: Callable[[], None] = lambda: None
        self.open = 0
        self._unsure: dict[str, Job] = {}  # a cell of several did not say whether it has them
        self._unsure_since = 0.0

    def elapsed(self) -> float:
        """Seconds since the run began."""
        return self._clock.monotonic() - self._start

    def offer(
        self, load: Iterable[tuple[float, Job]], speed: float = 1.0,
        on_tick: Callable[[], None] | None = None,
    ) -> None:  # fmt: skip
        """Submit each job at its time (offset / speed); hear of ends meanwhile."""
        self._start, self._tick = self._clock.monotonic(), on_tick or self._tick
        pending = iter(load)
        held: list[tuple[float, Job]] = []
        while True:
            held = held or list(islice(pending, BATCH))
            if not held:
                break
            due = [pair for pair in held if pair[0] / speed <= self.elapsed() + GATHER_S / 2]
            if due:
                self._submit([(offset / speed, job) for offset, job in due])
                held = held[len(due) :]
            self._ask_again()
            self._hear(self._pause(held, speed))
            self._tick()
        self.run.offered_s = self.elapsed()

    def _pause(self, held: list[tuple[float, Job]], speed: float) -> int:
        """Milliseconds that may be spent listening before the next job is due."""
        if not held:
            return 0
        return max(0, min(100, int((held[0][0] / speed - self.elapsed()) * 1000)))

    def _submit(self, due: list[tuple[float, Job]]) -> None:
        now = self.elapsed()
        jobs = [job for _, job in due]
        for offset, job in due:
            self.run.samples[job.id] = Sample(job.tenant, offset, now, tokens=job.prompt_tokens)
        self._noted(jobs)

    def _noted(self, jobs: list[Job]) -> None:
        for job, receipt in zip(jobs, self._receipts(jobs), strict=True):
            error = receipt.error()
            if isinstance(error, Unreachable):
                self._unsure[job.id] = job
            elif error is None:
                self.open += 1
            else:
                word = Submitted.FULL if isinstance(error, Refused) else receipt.word
                self.run.samples[job.id].refused = word

    def _ask_again(self) -> None:
        """Submit jobs of unknown fate once more; raises Unreachable when patience has ended.

        The jobs of other cells go on meanwhile; these count as sent when they are accepted.
        """
        now = self.elapsed()
        if not self._unsure:
            self._unsure_since = now
            return
        if now - self._unsure_since > PATIENCE_S:
            raise Unreachable(f"{len(self._unsure)} jobs could not be submitted: a cell is silent")
        again = list(self._unsure.values())[:BATCH]
        for job in again:
            del self._unsure[job.id]
            self.run.samples[job.id].submitted = now
        self._noted(again)

    def _receipts(self, jobs: list[Job]) -> list[Receipt]:
        """Submit until the store answers; raises Unreachable if it does not for a minute."""
        start = self._clock.monotonic()
        while True:
            try:
                own = {job.id: self._bodies[job.id] for job in jobs if job.id in self._bodies}
                return self._client.submit(jobs, bodies=own) if own else self._client.submit(jobs)
            except StoreFull as error:
                log.warning("submit: %s", error)
                return [Receipt(job.id, Submitted.FULL, "0") for job in jobs]
            except Unreachable as error:  # unknown outcome: the same ids may be sent again
                if self._clock.monotonic() - start > PATIENCE_S:
                    raise
                log.warning("submit: %s", error)
                self._clock.wait(0.1)
                self._tick()  # a supervisor may start the server again

    def _hear(self, block_ms: int) -> None:
        try:
            ended = self._client.news(block_ms)
        except Unreachable:
            self._clock.wait(0.05)
            return
        for completion in ended:
            self._note(completion)

    def _note(self, completion: Completion) -> None:
        sample = self.run.samples.get(completion.job_id)
        if sample is None:
            return
        sample.told += 1
        if sample.outcome is not None:
            return
        self.open -= 1
        now = self.elapsed()
        sample.outcome, sample.ended, self.run.ended_s = completion.outcome, now, now
        report = completion.report
        lag = sample.submitted - sample.due
        if completion.outcome is Outcome.COMPLETED and report.wait_s is not None:
            sample.wait = lag + report.wait_s
            sample.e2e = sample.wait + (report.service_s or 0.0)
            if report.ttft_s is not None:
                sample.ttft = lag + report.ttft_s
        uncached = max(0, report.prompt_tokens - report.cached_tokens)
        sample.cost = self._cost(uncached, report.output_tokens)
        sample.output_tokens = report.output_tokens

    def settle(self, timeout_s: float, on_tick: Callable[[], None] | None = None) -> None:
        """Wait until every accepted job has ended, or nothing was heard for `timeout_s`."""
        heard, last = self._clock.monotonic(), self.open
        while self._waits() and self._clock.monotonic() - heard < timeout_s:
            self._ask_again()
            self._hear(100)
            if self.open != last:
                heard, last = self._clock.monotonic(), self.open
            elif self._clock.monotonic() - heard > 1.0:
                self._look()
            if on_tick is not None:
                on_tick()

    def _waits(self) -> bool:
        return self.open > 0 or bool(self._unsure)

    def _look(self) -> None:
        """Look at the records of the open jobs, because the inbox is silent."""
        missing = [j for j, s in self.run.samples.items() if not s.refused and s.outcome is None]
        try:
            records = self._client.records(missing[:500])
        except Unreachable:
            return
        for record in records:
            if record is not None and record.outcome is not None:
                self.open -= 1
                sample = self.run.samples[record.job_id]
                sample.outcome = record.outcome
                sample.ended = self.run.ended_s = self.elapsed()
                if record.outcome is Outcome.COMPLETED:
                    sample.e2e, sample.ttft, sample.wait = (
                        record.e2e_s, record.ttft_s, record.queue_wait_s,
                    )  # fmt: skip

    def interrupt(self) -> None:
        """End the run here, with the results so far."""
        self.run.interrupted = True
        self.run.offered_s = self.run.offered_s or self.elapsed()
        self.run.ended_s = self.run.ended_s or self.elapsed()

    def check(self) -> None:
        """Ask the store itself for every accepted job: without a terminal record it is lost.

        Of an interrupted run only for those whose end was told; of those alone it can be said.
        """
        try:
            self._check()
        except ParallaxError:
            if not self.run.interrupted:
                raise

    def _check(self) -> None:
        waits = not self.run.interrupted  # for the end of every accepted job
        accepted = [
            j for j, s in self.run.samples.items() if not s.refused and (waits or s.outcome)
        ]
        lost = 0
        for start in range(0, len(accepted), 500):
            records = self._client.records(accepted[start : start + 500])
            lost += sum(1 for r in records if r is None or r.outcome is None)
        self.run.lost = lost
