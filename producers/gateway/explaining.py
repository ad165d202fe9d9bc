"""Builds the headers that explain an answer: its job, its worker, its cost."""

from __future__ import annotations

from collections.abc import Mapping

from parallax.broker.store.codec import Report
from parallax.broker.store.results import Record
from parallax.core.lifecycle import State
from parallax.producers.gateway.meaning import Meant

REQUEST_ID, JOB = "x-request-id", "x-parallax-job"
DURABILITY = "x-parallax-durability"
_MOST_ID = 128


def request_id(given: str | None, job_id: str) -> str:
    """Return the id that a client gave its request if that may stand in a header, else the job's.

    Not even a part of any other comes back.
    """
    if given and len(given) <= _MOST_ID and given.isascii() and given.isprintable():
        return given
    return job_id


def of_request(meant: Meant, given_id: str | None) -> dict[str, str]:
    """Return the headers known before the job begins."""
    return {
        REQUEST_ID: request_id(given_id, meant.job.id),
        JOB: meant.job.id,
        "x-parallax-class": meant.tier.value,
    }


def of_durability(confirmed: bool | None) -> dict[str, str]:
    """Return the header that says whether replicas hold the job, where that was asked."""
    return {} if confirmed is None else {DURABILITY: "confirmed" if confirmed else "unconfirmed"}


def of_record(record: Record | None) -> dict[str, str]:
    """Return the headers known when the first token is there."""
    if record is None or record.state is not State.RUNNING:
        return of_report(record.report) if record is not None else {}
    found = _served(record.worker, record.attempts, record.queue_wait_s)
    return found | ({"x-parallax-hedged": "true"} if record.hedge_worker else {})


def of_report(report: Report) -> dict[str, str]:
    """Return the headers known at the end."""
    found = _served(report.worker, report.attempt, report.wait_s)
    return found | {"x-parallax-cache": str(report.cached_tokens)}


def _served(worker: str, attempts: int, wait_s: float | None) -> dict[str, str]:
    found: dict[str, str] = {}
    if worker:
        found |= {"x-parallax-backend": worker, "x-parallax-attempts": str(attempts)}
    if wait_s is not None:
        waited = str(round(wait_s * 1000))
        found |= {"x-parallax-queue-ms": waited, "x-llm-d-flow-queue-duration-ms": waited}
    return found


def bytes_of(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Return headers as ASGI wants them."""
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]
