"""The page of a drill, in Markdown: what was done, what was promised, what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ops.chaos.drill import DrillResult
from ops.chaos.invariants import INVARIANTS


def page(results: Sequence[DrillResult]) -> str:
    """Return the page about these drills."""
    return "\n".join([
        "# Promises under faults",
        "",
        f"{len(results)} drills, durability `{results[0].spec.cast.durability}`. Repeat one with "
        f"`parallax verify --seed SEED --duration {results[0].spec.duration_s:g}`.",
        "",
        *_runs(results),
        "",
        *_promises(results),
        "",
        *_faults(results),
        "",
    ])  # fmt: skip


def _runs(results: Sequence[DrillResult]) -> list[str]:
    rows = [
        f"| {r.spec.seed} | {r.faults.total()} | {r.accepted} | {r.executions} | "
        f"{r.counts.get('reclaimed', 0)} | {r.counts.get('repaired', 0)} | {r.outcomes['dead']} | "
        f"{r.drained_s:.1f} | {sum(map(len, r.broken.values()))} |"
        for r in results
    ]
    total = (
        f"| all | {sum(r.faults.total() for r in results)} | {sum(r.accepted for r in results)} | "
        f"{sum(r.executions for r in results)} | | | | {max(r.drained_s for r in results):.1f} | "
        f"{sum(len(s) for r in results for s in r.broken.values())} |"
    )
    return [
        "| seed | faults | accepted | executions | reclaimed | repaired | dead | drained after (s) "
        "| violations |",
        "|---|---|---|---|---|---|---|---|---|",
        *rows,
        total,
    ]


def _promises(results: Sequence[DrillResult]) -> list[str]:
    rows = [
        f"| {name} | {says} | {sum(len(r.broken.get(name, ())) for r in results)} |"
        for name, (says, _) in sorted(INVARIANTS.items(), key=lambda item: int(item[0][1:]))
    ]
    return ["| | promise | times broken |", "|---|---|---|", *rows]


def _faults(results: Sequence[DrillResult]) -> list[str]:
    faults = sum((result.faults for result in results), Counter[str]())
    rows = [f"| {name} | {count} |" for name, count in faults.most_common()]
    return ["| fault | times |", "|---|---|", *rows]
