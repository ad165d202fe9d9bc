"""The page of a drill, in Markdown: its load and faults, the promises, and the results."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Sequence

from parallax.drills.drill import DrillResult, DrillSpec
from parallax.drills.invariants import INVARIANTS


def page(results: Sequence[DrillResult], pins: Sequence[str] = ()) -> str:
    """Return the page about these drills, at least one; `pins` are what --shape was told."""
    return "\n".join([
        "# Promises under faults",
        "",
        f"{len(results)} drills, durability `{results[0].spec.cast.durability}`. Repeat one with "
        f"`{_command(results[0].spec, pins)}`. Odd seeds delete nothing by hand, and then nothing "
        "may have to be repaired.",
        "",
        *_runs(results),
        "",
        *_shapes(results),
        "",
        *_requests(results),
        *_promises(results),
        "",
        *_faults(results),
        "",
    ])  # fmt: skip


def _command(spec: DrillSpec, pins: Sequence[str]) -> str:
    """Return what to type for the same drill, its seed left open."""
    kinds = [word for kind in spec.kinds for word in ("--fault", kind)]
    shape = [word for pin in pins for word in ("--shape", pin)]
    return shlex.join([
        "parallax", "verify", "--seed", "SEED", "--duration", f"{spec.duration_s:g}",
        "--rate", f"{spec.rate:g}", "--pause", f"{spec.pause_s:g}",
        "--durability", spec.cast.durability, "--gateways", f"{spec.cast.gateways}", *kinds, *shape,
    ])  # fmt: skip


def _runs(results: Sequence[DrillResult]) -> list[str]:
    head = (
        "seed", "deletes", "faults", "accepted", "executions", "reclaimed", "repaired", "dead",
        "drained after (s)", "violations",
    )  # fmt: skip
    rows: list[tuple[object, ...]] = [
        (
            r.spec.seed, "yes" if r.spec.destroys else "no", r.faults.total(), r.accepted,
            r.executions, r.counts.get("reclaimed", 0), r.counts.get("repaired", 0),
            r.outcomes["dead"], f"{r.drained_s:.1f}", _violations(r),
        )
        for r in results
    ]  # fmt: skip
    rows.append((
        "all", "", sum(r.faults.total() for r in results), sum(r.accepted for r in results),
        sum(r.executions for r in results), "", "", "",
        f"{max(r.drained_s for r in results):.1f}", sum(map(_violations, results)),
    ))  # fmt: skip
    return _table(head, rows)


def _shapes(results: Sequence[DrillResult]) -> list[str]:
    """The draws of each seed, and the checks beside the common promises."""
    head = ("seed", "shape", "most MB of a process", "bodies looked at", "answers", "in pieces",
            "weights changed", "keys with junk", "shares held over (s)")  # fmt: skip
    rows = [
        (
            r.spec.seed, r.spec.shape.told() + (" (disk not filled)" if r.spec.left_out else ""),
            f"{max((m.most for m in r.memory.values()), default=0.0):.0f}", r.bodies, r.answers,
            r.pieces, r.weights, len(r.junk), f"{r.contended_s:.0f}",
        )
        for r in results
    ]  # fmt: skip
    return _table(head, rows)


def _requests(results: Sequence[DrillResult]) -> list[str]:
    """What came of requests to gateways; nothing if there were none."""
    if not any(result.asked for result in results):
        return []
    head = ("seed", "requests", "answered whole", "with an error", "cut off", "left", "not heard")
    words = ("whole", "error", "cut", "left", "refused")
    rows = [(r.spec.seed, r.asked.total(), *(r.asked[word] for word in words)) for r in results]
    return [*_table(head, rows), ""]


def _violations(result: DrillResult) -> int:
    return sum(map(len, result.broken.values()))


def _promises(results: Sequence[DrillResult]) -> list[str]:
    rows = [
        (name, says, sum(len(r.broken.get(name, ())) for r in results))
        for name, (says, _) in sorted(INVARIANTS.items(), key=lambda item: int(item[0][1:]))
    ]
    return _table(("", "promise", "times broken"), rows)


def _faults(results: Sequence[DrillResult]) -> list[str]:
    faults = sum((result.faults for result in results), Counter[str]())
    return _table(("fault", "times"), faults.most_common())


def _table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = (f"| {' | '.join(map(str, row))} |" for row in rows)
    return [f"| {' | '.join(map(str, head))} |", "|---" * len(head) + "|", *lines]
