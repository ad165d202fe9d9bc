"""Turns the overview of a cell into the documents that are printed and served."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from parallax.broker.store import membership
from parallax.broker.store.figures import Event, Figures
from parallax.broker.store.overview import CellState, TenantState, WorkerState, WorkerWord
from parallax.broker.store.policies import Choice, PolicyDocument
from parallax.cli.cell_documents import (
    CanaryView,
    CellView,
    ChoiceView,
    EventView,
    LeaderView,
    ModelView,
    Percentiles,
    PoliciesView,
    TenantView,
    VerdictView,
    WorkerView,
)
from parallax.cli.documents import Arm, PolicyInForce
from parallax.core.errors import InvalidInput, UnknownPolicy
from parallax.core.sketch import ERROR
from parallax.policies.registry import REGISTRIES

#: The version of the document, and most workers and tenants in it.
CONTRACT, WORKERS, TENANTS = 1, 100, 50

#: Of the cell's totals those that people are shown, and the names that they have there.
_TOTALS = {
    "submitted": "accepted", "completed": "completed", "failed": "failed", "rejected": "rejected",
    "expired": "expired", "cancelled": "cancelled", "dead": "dead", "hedged": "hedged",
    "stolen": "stolen", "recovered": "reclaimed",
}  # fmt: skip
_TOKENS = ("prompt_tokens", "output_tokens", "cached_tokens")
_STATES = ("alive", "slow", "unready", "draining", "dead")


def cell_view(seen: CellState, seq: int = 0) -> CellView:
    """Return the document of a cell."""
    workers = sorted(seen.workers, key=lambda one: (_STATES.index(word_of(one)), one.name))
    tenants = sorted(seen.tenants, key=busiest)
    alive, figures = seen.alive, seen.figures
    leads = seen.leader
    leader = None if leads is None else LeaderView(leads.name, leads.epoch, leads.since)
    return CellView(
        CONTRACT, seq, seen.cell, seen.at, seen.figures_age_s, seen.stale, leader,
        seen.open_jobs, seen.waiting_jobs, seen.waiting_is_exact,
        sum(int(one.member.number("running")) for one in alive), seen.streams["work"],
        sum(one.member.registration.slots for one in alive), len(alive), len(seen.workers),
        seen.tenants_active, max(seen.tenants_weighted, len(seen.tenants)), seen.dead_letters,
        figures.backlog_s if figures else None, _totals(seen), _by_reason(figures, "sums"),
        seen.window_s, _rates(seen),
        {reason: seen.per_s(f"rejected.{reason}") for reason in _by_reason(figures, "tally")},
        _now(seen), _latency(seen), round(ERROR, 4),
        [worker_view(one, seen) for one in workers[:WORKERS]], max(0, len(workers) - WORKERS),
        [tenant_view(one, seen) for one in tenants[:TENANTS]], max(0, len(tenants) - TENANTS),
        models(seen.workers), policies_view(seen), dict(seen.streams),
        [_event(one) for one in seen.events],
    )  # fmt: skip


def busiest(one: TenantState) -> tuple[float, float, str]:
    """Return what tenants are ordered by: those with waiting jobs, those that are served most."""
    return (-one.waiting_jobs, -(one.figures.cost if one.figures else 0.0), one.name)


def _totals(seen: CellState) -> dict[str, int]:
    sums = seen.figures.sums if seen.figures else {}
    found = {name: seen.totals.get(word, 0) for name, word in _TOTALS.items()}
    return found | {name: sums.get(name, 0) for name in (*_TOKENS, "worker_deaths")}


def _by_reason(figures: Figures | None, where: str) -> dict[str, int]:
    counts: Mapping[str, int] = getattr(figures, where) if figures else {}
    return {
        name.removeprefix("rejected."): count
        for name, count in counts.items()
        if name.startswith("rejected.")
    }


def _rates(seen: CellState) -> dict[str, float | None]:
    known = seen.figures is not None
    found: dict[str, float | None] = {
        f"{name}_per_s": seen.rates.get(word, 0.0) if known else None
        for name, word in _TOTALS.items()
        if name != "dead"
    }
    for word in ("admitted", "dispatched", *_TOKENS):
        found[f"{word}_per_s"] = seen.per_s(word) if known else None
    prompt = found["prompt_tokens_per_s"]
    cached = found["cached_tokens_per_s"]
    found["cache_hit_ratio"] = cached / prompt if prompt and cached is not None else None
    return found


def _now(seen: CellState) -> dict[str, float | None]:
    known = seen.figures is not None and not seen.stale
    words = _TOTALS | dict(zip(_TOKENS, _TOKENS, strict=True))
    return {
        f"{name}_per_s": seen.moment.get(word, 0.0) if known else None
        for name, word in words.items()
    }


def _latency(seen: CellState) -> dict[str, Percentiles]:
    names = ("queue_wait_s", "ttft_s", "tpot_s", "e2e_s")
    found = {}
    for name in names:
        sketch = seen.sketches.get(name)
        p50, p95, p99 = sketch.quantiles((0.5, 0.95, 0.99)) if sketch else (None, None, None)
        found[name] = Percentiles(p50, p95, p99, sketch.count if sketch else 0)
    return found


def models_of(one: WorkerState) -> list[str]:
    """Return the models that a worker serves; one that names none serves its engine's."""
    registration = one.member.registration
    return [name for name in membership.models_of(registration) if name] or [registration.engine]


def word_of(one: WorkerState) -> WorkerWord | Literal["slow"]:
    """Return how a worker is, for people: one that lives may be slow."""
    return "slow" if one.state == "alive" and one.is_slow else one.state


def worker_view(one: WorkerState, seen: CellState) -> WorkerView:
    """Return the document of a worker."""
    member, figures, window_s = one.member, one.figures, seen.window_s
    about, left = member.registration, member.ttl_ms / 1000 if member.ttl_ms >= 0 else None
    return WorkerView(
        one.name, word_of(one), about.role, about.engine, about.version, models_of(one)[:50],
        about.slots, int(member.number("running")), int(member.number("waiting")),
        one.stream_jobs, member.number("kv_used"), member.heartbeat_age_s,
        left, one.incarnation or None, int(member.number("completed")),
        figures.completed / window_s if figures and window_s else None,
        figures.slowness if figures else None, figures.hedged if figures else None,
        figures.stolen_from if figures else None, figures.stolen_to if figures else None,
        member.report.get("unready") or None,
    )  # fmt: skip


def tenant_view(one: TenantState, seen: CellState) -> TenantView:
    """Return the document of a tenant."""
    figures, window_s = one.figures, seen.window_s

    def per_s(count: float) -> float | None:
        return count / window_s if window_s else None

    if figures is None:
        return TenantView(
            one.name, one.weight, one.waiting_jobs, None, one.share, one.due, None, None, None,
            None, None, None,
        )  # fmt: skip
    return TenantView(
        one.name, one.weight, one.waiting_jobs, figures.running, one.share, one.due,
        per_s(figures.cost), per_s(figures.completed), per_s(figures.rejected),
        per_s(figures.output_tokens), figures.completed, figures.ttft_p95_s,
    )  # fmt: skip


def models(workers: Iterable[WorkerState]) -> list[ModelView]:
    """Return the models that workers serve, by name."""
    found: dict[str, list[int]] = {}
    for one in workers:
        alive = one.member.alive
        load = [int(one.member.number(name)) * alive for name in ("running", "waiting")]
        figures = (int(alive), 1, one.member.registration.slots * alive, *load)
        for name in models_of(one):
            row = found.setdefault(name, [0, 0, 0, 0, 0])
            found[name] = [a + b for a, b in zip(row, figures, strict=True)]
    return [ModelView(name, *row) for name, row in sorted(found.items())]


def policies_view(seen: CellState) -> PoliciesView:
    """Return which policies are in force, and the canary."""
    document, figures = seen.policies, seen.figures
    known = [
        PolicyInForce(one.kind, one.choice.name, values(one.kind, one.choice), one.source)  # type: ignore[arg-type]
        for one in seen.in_force
    ]
    same = figures is not None and figures.policies_serial == document.serial
    arms = dict(figures.arms) if figures and same else {}
    return PoliciesView(known, _canary(document, arms), _verdict(document))


def _canary(document: PolicyDocument, arms: Mapping[str, tuple[int, int]]) -> CanaryView | None:
    rollout = document.rollout
    if rollout is None:
        return None
    candidate = ChoiceView(rollout.candidate.name, values("routing", rollout.candidate))
    percent = values("rollout", rollout.canary).get("percent")
    whole = percent if isinstance(percent, int | float) else None
    return CanaryView(
        candidate, whole, rollout.ttft_s, rollout.tpot_s, "undecided", arms_view(arms)
    )  # fmt: skip


def _verdict(document: PolicyDocument) -> VerdictView | None:
    verdict = document.verdict
    if verdict is None or document.rollout is not None:
        return None
    return VerdictView(verdict.candidate, verdict.word, arms_view(verdict.arms))


def arms_view(arms: Mapping[str, tuple[int, int]]) -> list[Arm]:
    """Return the arms of a canary."""
    return [
        Arm(arm, jobs, missed, round(1 - missed / jobs, 4) if jobs else None)
        for arm, (jobs, missed) in sorted(arms.items())
    ]


def values(kind: str, choice: Choice) -> dict[str, Any]:
    """Return the parameters of a choice as values: text that came from a command line is read."""
    of = "routing" if kind == "candidate" else kind
    try:
        (policy,) = (r.build(choice.name, choice.parameters) for r in REGISTRIES if r.kind == of)
    except (InvalidInput, UnknownPolicy, ValueError):  # of a plug-in that is not installed here
        return dict(choice.parameters)
    return {name: getattr(policy, name, value) for name, value in choice.parameters.items()}


def _event(one: Event) -> EventView:
    return EventView(
        one.seq, one.at, one.kind, one.job or None, one.jobs, None, one.source or None,
        one.target or None, one.detail or None,
    )  # fmt: skip


def matching(rows: Sequence[Any], search: str) -> list[Any]:
    """Return the rows whose name contains a text, in any case."""
    wanted = search.casefold()
    return [row for row in rows if wanted in row.name.casefold()]
