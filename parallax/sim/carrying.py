"""Carrying out what the scheduler decides, as the store and the workers do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parallax.core.errors import InvalidInput
from parallax.core.lifecycle import Outcome
from parallax.core.model import Usage
from parallax.scheduling.actions import (
    Action,
    Admitted,
    Cancel,
    Dispatch,
    Expire,
    Reject,
    SaveAccounts,
    Steal,
)
from parallax.scheduling.events import AttemptMoved
from parallax.sim.workers import Attempt, SimWorker, attempt_of, ended

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from parallax.sim.world import World


class Carrier:
    """Applies actions to the workers of a world."""

    def __init__(self, world: World) -> None:
        self._world, self._books = world, world.books
        self._by_kind: dict[type, Callable[[Any], None]] = {
            Dispatch: self.dispatch,
            Cancel: self.cancel,
            Steal: self.steal,
            Reject: self.reject,
            Expire: self.expire,
            **dict.fromkeys((Admitted, SaveAccounts), lambda _: None),
        }

    def carry_out(self, actions: list[Action]) -> None:
        """Apply actions in their order."""
        for action in actions:
            self._by_kind[type(action)](action)

    def dispatch(self, action: Dispatch) -> None:
        """Send an attempt to its worker; one that is handed over waits for its KV cache, too."""
        self._books.counters["dispatches"] += 1
        worker, job = self._world.workers[action.worker], self._world.jobs.get(action.job_id)
        if job is None:
            return
        outcome = self._books.outcomes[action.job_id]
        outcome.attempts += 1
        outcome.arm = action.arm
        if action.hedge:
            self._books.counters["hedges"] += 1
            outcome.hedged = True
        attempt = attempt_of(job, action, self._world.now_ms)
        worker.attempts[job.id] = attempt
        profile = worker.profile
        delay_ms = self._world.spec.hop_s * 1000 + profile.request_ms
        if action.prefilled_by:
            self._books.counters["handovers"] += 1
            delay_ms += profile.transfer_setup_ms + profile.transfer_ms * job.prompt_tokens
        if delay_ms:
            self._world.at(self._world.now_ms + delay_ms, self._delivered, (worker, attempt))
        else:
            self._feed(worker, attempt)

    def _delivered(self, given: tuple[SimWorker, Attempt]) -> None:
        worker, attempt = given
        if worker.attempts.get(attempt.job.id) is attempt:  # not cancelled on its way
            self._feed(worker, attempt)

    def _feed(self, worker: SimWorker, attempt: Attempt) -> None:
        if not worker.alive:
            return  # nobody has noticed yet
        self._world.catch_up(worker)
        factor = self._world.factory.factor(attempt.job.id, attempt.number)
        try:
            worker.engine.add(worker.request(attempt, factor))
        except InvalidInput:
            del worker.attempts[attempt.job.id]
            self._world.hear(ended(worker, attempt, Outcome.FAILED, Usage(0, 0)))
            self._world.end(self._books.outcomes[attempt.job.id], Outcome.FAILED)
        self._world.fed(worker)

    def cancel(self, action: Cancel) -> None:
        """Stop an attempt, waiting or running, and charge what it has consumed."""
        worker = self._world.workers.get(action.worker)
        if worker is None or not worker.alive:
            return
        self._world.catch_up(worker)
        cancelled = worker.cancel(action.job_id)
        if cancelled is None:
            return
        self._books.counters["cancels"] += 1
        attempt, consumed = cancelled
        if attempt.prefilled_by:
            attempt.cached = self._books.outcomes[action.job_id].cached_tokens
        usage = attempt.stopped(self._world.now_ms, consumed)
        self._world.hear(ended(worker, attempt, None, usage))

    def steal(self, action: Steal) -> None:
        """Move an attempt that has not begun from one worker to another."""
        victim, thief = self._world.workers[action.victim], self._world.workers[action.thief]
        attempt = victim.attempts.get(action.job_id)
        if attempt is None or not (victim.alive and thief.alive):
            return
        self._world.catch_up(victim)
        if victim.engine.withdraw(action.job_id) is None:
            return
        del victim.attempts[action.job_id]
        self._books.counters["steals"] += 1
        thief.attempts[action.job_id] = attempt
        self._world.hear(AttemptMoved(action.job_id, thief.id))
        self._feed(thief, attempt)

    def reject(self, action: Reject) -> None:
        """End a job that was refused."""
        self._world.end(self._books.outcomes[action.job_id], Outcome.REJECTED)

    def expire(self, action: Expire) -> None:
        """End a job whose deadline has passed."""
        self._world.end(self._books.outcomes[action.job_id], Outcome.EXPIRED)
