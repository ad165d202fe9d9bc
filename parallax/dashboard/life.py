"""A job's life as the API tells it: its moments in order, and why it went to its worker."""

from __future__ import annotations

from typing import Any

from parallax.broker.store.figures import Decision
from parallax.broker.store.overview import CellState
from parallax.broker.store.results import Record


def timeline(record: Record) -> list[dict[str, Any]]:
    """Return the events of a job's life in order, as its record keeps them.

    Of earlier attempts than the last it keeps nothing but their number.
    """
    worker = record.worker or record.report.worker or None
    first = None if record.ttft_s is None else record.accepted + record.ttft_s
    steps: list[tuple[float | None, str, str | None, str | None]] = [
        (record.accepted, "accepted", None, None),
        *_attempts(record),
        (record.started, "started", worker, f"attempt {record.attempts}"),
        (first, "first_token", worker, None),
    ]
    if record.attempts > 1 and record.beside is None:
        steps.append((record.started, "retried", worker, f"{record.attempts - 1} before this one"))
    if record.finished is not None:
        steps.append((record.finished, record.state.value, worker, record.report.error or None))
    found = [
        {"at": at, "after_s": max(0.0, at - record.accepted), "what": what, "worker": who,
         "detail": detail}
        for at, what, who, detail in steps if at is not None
    ]  # fmt: skip
    return sorted(found, key=_after)


def _attempts(record: Record) -> list[tuple[float | None, str, str | None, str | None]]:
    """Return when the last attempt was sent, and the one beside it: the later one is the hedge."""
    own = (record.attempts, record.assigned, record.worker, "")
    both = [own] if record.worker else []
    if record.beside is not None:
        one = record.beside
        lost = "the other one was faster" if one.over and record.outcome else ""
        both.append((one.attempt, one.assigned, one.worker, lost))
    both.sort()
    return [
        (at, "hedged" if n else "assigned", worker, detail or None)
        for n, (_, at, worker, detail) in enumerate(both)
    ]


def _after(moment: dict[str, Any]) -> float:
    return float(moment["after_s"])


def why_worker(record: Record, seen: CellState) -> dict[str, Any] | None:
    """Explain why a job went to its worker: as the leader told, or by what places jobs now."""
    if not (record.worker or record.report.worker):
        return None
    decision = decision_on(record.job_id, seen)
    if decision is not None:
        return _explained(decision)
    routing = next((one for one in seen.in_force if one.kind == "routing"), None)
    if routing is None:
        return None
    text = f"the routing policy {routing.choice.name} is in force; the leader tells of some of its "
    text += "last decisions, and this is not among them"
    return {"text": text, "policy": routing.choice.name, "arm": None, "candidates": []}


def decision_on(job_id: str, seen: CellState) -> Decision | None:
    """Return the last decision on a job that the leader told of; None if it told of none."""
    told = seen.figures.decisions if seen.figures is not None else []
    return next((one for one in reversed(told) if one.job == job_id), None)


def _explained(decision: Decision) -> dict[str, Any]:
    beside = decision.together - 1
    text = f"{decision.policy}: {decision.why}"
    text += f" {decision.workers} workers could have had it"
    text += f"; {beside} more jobs were placed in the same breath." if beside else "."
    candidates = [
        {"worker": one.worker, "chosen": one.worker == decision.chosen, "score": one.score,
         "cached_tokens": one.cached_tokens, "free_slots": one.free,
         "in_flight_jobs": one.in_flight}
        for one in decision.candidates
    ]  # fmt: skip
    return {"text": text, "policy": decision.policy, "arm": None, "candidates": candidates}
