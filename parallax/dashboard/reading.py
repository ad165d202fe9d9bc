"""The reads behind single requests: pages of rows, jobs, policies, dead letters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import to_builtins

from parallax.broker.link.connection import Link
from parallax.broker.store.dead_letters import DeadLetters
from parallax.broker.store.keys import Keys
from parallax.broker.store.overview import Overview, TenantState, WorkerState
from parallax.broker.store.policies import PolicyStore
from parallax.broker.store.results import Record, Results, queue_place_asked
from parallax.cli.cell_view import (
    models,
    policies_view,
    tenant_view,
    values,
    word_of,
    worker_view,
)
from parallax.core.lifecycle import State
from parallax.core.trace import trace_id
from parallax.dashboard.life import timeline, why_worker
from parallax.dashboard.problems import Problem
from parallax.policies.registry import REGISTRIES
from parallax.services.choices import CHANGEABLE, in_force

CONTRACT = 1

#: Most rows of a page, and most open jobs that are looked at for one.
MOST_ROWS, MOST_JOBS = 200, 2_000

_WORKERS: Mapping[str, Callable[[WorkerState], Any]] = {
    "name": lambda one: one.name,
    "state": word_of,
    "running_jobs": lambda one: one.member.number("running"),
    "kv_used": lambda one: one.member.number("kv_used"),
    "heartbeat_age_s": lambda one: -one.member.ttl_ms,
    "completed_per_s": lambda one: one.figures.completed if one.figures else 0,
}
_TENANTS: Mapping[str, Callable[[TenantState], Any]] = {
    "name": lambda one: one.name,
    "weight": lambda one: one.weight,
    "waiting_jobs": lambda one: one.waiting_jobs,
    "share": lambda one: one.share or 0.0,
    "completed_per_s": lambda one: one.figures.completed if one.figures else 0,
}


@dataclass(frozen=True, slots=True)
class Page:
    """Which rows are wanted."""

    search: str = ""
    sort: str = "name"
    descending: bool = False
    offset: int = 0
    limit: int = 50
    state: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str], sorts: Mapping[str, Any] | None = None) -> Page:
        """Read a request's query; raises Problem."""
        sort = query.get("sort") or "name"
        if sorts is not None and sort not in sorts:
            raise Problem("invalid", f"sort: one of {', '.join(sorts)}", "sort")
        order = query.get("order") or "asc"
        if order not in ("asc", "desc"):
            raise Problem("invalid", "order: asc or desc", "order")
        return cls(
            query.get("search", "")[:200], sort, order == "desc",
            number(query, "offset", 0, 0, 10**9), number(query, "limit", 50, 1, MOST_ROWS),
            query.get("state", "")[:50],
        )  # fmt: skip

    def cut(self, rows: Sequence[Any], sorts: Mapping[str, Callable[[Any], Any]]) -> list[Any]:
        """Return all rows that match, in order."""
        wanted = self.search.casefold()
        found = [one for one in rows if wanted in one.name.casefold()]
        found.sort(key=lambda one: one.name)
        found.sort(key=sorts[self.sort], reverse=self.descending)
        return found


def number(query: Mapping[str, str], name: str, usual: int, low: int, high: int) -> int:
    """Read a whole number of a query; raises Problem."""
    text = query.get(name, "")
    if not text:
        return usual
    if not text.isascii() or not text.isdigit() or len(text) > 12 or not low <= int(text) <= high:
        raise Problem("invalid", f"{name}: a whole number from {low} to {high}", name)
    return int(text)


class Reading:
    """Asks the store over one connection; every method may block."""

    def __init__(self, link: Link, keys: Keys) -> None:
        self.link, self.keys = link, keys
        self.overview = Overview(link, keys)

    # -- rows

    def workers(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return a page of workers."""
        page, seen = Page.of(query, _WORKERS), self.overview.read()
        found = page.cut(seen.workers, _WORKERS)
        found = [one for one in found if page.state in ("", word_of(one))]
        rows = [worker_view(one, seen) for one in found[page.offset : page.offset + page.limit]]
        return _page(page, seen.at, len(seen.workers), len(found), rows)

    def tenants(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return a page of tenants: all that have a weight or jobs."""
        page = Page.of(query, _TENANTS)
        seen, every = self.overview.read(), self.overview.tenants()
        found = page.cut(every, _TENANTS)
        rows = [tenant_view(one, seen) for one in found[page.offset : page.offset + page.limit]]
        return _page(page, seen.at, len(every), len(found), rows)

    def models(self, _: Mapping[str, str]) -> dict[str, Any]:
        """Return the models, and the servers behind workers."""
        seen = self.overview.read()
        backends = [
            _backend(one) for one in seen.workers if "backend" in one.member.registration.about
        ]
        return {
            "contract": CONTRACT, "at": seen.at, "rows": models(seen.workers),
            "backends": backends[:500],
        }  # fmt: skip

    def dead(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return the newest dead letters."""
        count = number(query, "limit", 50, 1, MOST_ROWS)
        letters = DeadLetters(self.link, self.keys).newest(count)
        total = int(self.link.call("XLEN", self.keys.dead))
        rows = [
            {"entry": one.entry, "at": one.at, "job": one.job, "why": one.why,
             "stream": one.stream, "sample": one.sample}
            for one in letters
        ]  # fmt: skip
        return {"contract": CONTRACT, "total": total, "rows": rows}

    # -- jobs

    def jobs(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return open jobs, those first that nobody touched for longest."""
        wanted = {name: query.get(name, "")[:64] for name in ("tenant", "state", "worker")}
        if wanted["state"] and wanted["state"] not in set(State):
            raise Problem("invalid", f"state: one of {', '.join(State)}", "state")
        limit = number(query, "limit", 50, 1, MOST_ROWS)
        most = MOST_JOBS if any(wanted.values()) else limit
        names = self.overview.oldest_open(most)
        records = Results(self.link, self.keys).records(names)
        rows = [
            one for one in records
            if one is not None
            and wanted["tenant"] in ("", one.tenant)
            and wanted["state"] in ("", one.state.value)
            and wanted["worker"] in ("", one.worker, one.hedge_worker)
        ]  # fmt: skip
        opened = int(self.link.call("ZCARD", self.keys.open))
        return {
            "contract": CONTRACT, "total_open": opened, "looked_at": len(names),
            "more": opened > len(names) or len(rows) > limit,
            "rows": [job_row(one) for one in rows[:limit]],
        }  # fmt: skip

    def job(self, job_id: str) -> dict[str, Any]:
        """Return the record of a job, and its life; raises Problem if there is none."""
        (record,) = Results(self.link, self.keys).records([job_id])
        if record is None:
            raise Problem("not_found", f"there is no record of {job_id}; it may have expired")
        seen = self.overview.read()
        place = exact = None
        if record.state is State.QUEUED:
            asked = queue_place_asked(self.keys, record)
            place, exact = asked.decode(self.link.calls(asked.commands))
        return {
            "contract": CONTRACT, **job_row(record), "timeline": timeline(record),
            "queue_place": place, "queue_place_is_exact": exact,
            "why_worker": why_worker(record, seen),
        }  # fmt: skip

    # -- policies

    def policies(self, _: Mapping[str, str]) -> dict[str, Any]:
        """Return which policies are in force, and which there are."""
        store = PolicyStore(self.link, self.keys)
        document, started = store.read(), store.started()
        found = to_builtins(policies_view(self.overview.read()))
        if started:  # the leader follows within a second: this is what it will tell
            found["in_force"] = [
                {"kind": kind, "name": choice.name, "parameters": values(kind, choice),
                 "source": source}
                for kind, (choice, source) in sorted(in_force(started, document).items())
            ]  # fmt: skip
        return {
            "contract": CONTRACT, "serial": document.serial, **found,
            "changeable": list(CHANGEABLE), "known": known_policies(),
        }  # fmt: skip


def known_policies() -> list[dict[str, Any]]:
    """Return all policies of the kinds that can be changed, with their parameters."""
    return [
        {"kind": registry.kind, "name": name, "source": registry.source(name),
         "summary": (registry[name].__doc__ or "").strip().partition("\n")[0],
         "parameters": [
             {"name": key, "type": kind.__name__, "default": default}
             for key, (kind, default) in registry.parameters(name).items()]}
        for registry in REGISTRIES
        if registry.kind in CHANGEABLE
        for name in registry
    ]  # fmt: skip


def _page(page: Page, at: float, total: int, matching: int, rows: Sequence[Any]) -> dict[str, Any]:
    return {
        "contract": CONTRACT, "at": at, "total": total, "matching": matching,
        "offset": page.offset, "limit": page.limit, "rows": rows,
    }  # fmt: skip


def _backend(one: WorkerState) -> dict[str, Any]:
    about = one.member.registration.about
    return {
        "worker": one.name, "state": "ready" if one.state == "alive" else one.state,
        "backend": str(about["backend"]), "kind": str(about.get("kind", "")),
        "models": [name for name in str(about.get("models", "")).split(",") if name],
        "why": one.member.report.get("unready") or None,
    }  # fmt: skip


def job_row(record: Record) -> dict[str, Any]:
    """Return a job's record as the API tells it."""
    report = record.report
    return {
        "id": record.job_id, "tenant": record.tenant, "state": record.state.value,
        "attempts": record.attempts, "session": record.session or None,
        "model": getattr(record, "model", None) or None, "worker": record.worker or None,
        "hedge_worker": record.hedge_worker or None, "priority": getattr(record, "priority", 0),
        "accepted_at": record.accepted, "deadline_at": record.deadline,
        "trace_id": trace_id(record.trace) or None,
        "prompt_tokens": record.prompt_tokens, "max_tokens": record.max_tokens,
        "output_tokens": report.output_tokens, "cached_tokens": report.cached_tokens,
        "queue_wait_s": record.queue_wait_s, "ttft_s": record.ttft_s, "e2e_s": record.e2e_s,
        "error": report.error or None, "reason": report.reason or None,
    }  # fmt: skip
