"""What `parallax advise` says: the choice, what the second best would lose, and other fleets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import click

from parallax.cli.advice_runs import Found
from parallax.cli.lab_documents import Advice, FleetSize, Interval, Tried
from parallax.cli.output import say, show
from parallax.core.settings import Policies, PolicyChoice
from parallax.sim.advice import Runs, alike, choice_text, difference, fully_measured, mean, second
from parallax.sim.report.html import with_interval
from parallax.sim.report.statistics import Interval as Estimate

SHOWN = ("goodput", "ttft_ms_p50", "ttft_ms_p95", "tpot_ms_p95", "prefix_hit_ratio")


def document(found: Found, kinds: Iterable[str]) -> Advice:
    """Return the advice as one document."""
    best = found.tried[found.choice]
    spec = found.grid[found.choice]
    rows = {name: _tried(found, name, kinds) for name in found.tried}
    runner = _second(found)
    at = found.sizes[found.workers]
    return Advice(
        workload=spec.workload.path,
        profile=spec.fleet.profile,
        jobs_offered=int(next(iter(best.values()))["jobs_offered"] or 0),
        goal=[one.text for one in found.goal],
        met=found.met,
        workers=found.workers,
        policies=rows[found.choice].policies,
        figures=_figures(at),
        second=None if runner is None else rows[runner],
        tried=list(rows.values()),
        sizes=[
            FleetSize(size, sorted(runs), _figures(runs), _plain(difference(runs, at, "goodput")),
                      found.meets[size])
            for size, runs in found.sizes.items()
        ],
        runs=found.runs,
        notes=list(found.notes),
        command=command(found, kinds),
    )  # fmt: skip


def _tried(found: Found, name: str, kinds: Iterable[str]) -> Tried:
    runs, best = found.tried[name], found.tried[found.choice]
    policies = found.grid[name].policies
    return Tried(
        {kind: choice_text(_choice(policies, kind)) for kind in kinds},
        sorted(runs),
        _figures(runs),
        _plain(difference(best, runs, "goodput")),
        alike(runs, best),
    )


def _second(found: Found) -> str | None:
    """Return the best of the others, among those with as many seeds."""
    whole = fully_measured(found.tried, list(found.tried[found.choice]))
    return second(whole, found.choice)


def command(found: Found, kinds: Iterable[str]) -> str:
    """Return the command that starts such a system."""
    policies = found.grid[found.choice].policies
    words = [f"--{kind} {choice_text(_choice(policies, kind))}" for kind in kinds]
    return f"parallax up --workers {found.workers} {' '.join(words)}"


def _choice(policies: Policies, kind: str) -> PolicyChoice:
    choice: PolicyChoice = getattr(policies, kind)
    return choice


def tell(found: Found, kinds: Iterable[str]) -> None:
    """Say it to people."""
    kinds = tuple(kinds)
    advice = document(found, kinds)
    at = found.sizes[found.workers]
    goal = " and ".join(advice.goal)
    say(f"{advice.workload}: {advice.jobs_offered:,} jobs, workers like {advice.profile}, "
        f"goal {goal}; {advice.runs} runs")  # fmt: skip
    click.echo(f"\nCompositions on {found.size} workers (loses: goodput against the first)")
    _compositions(found)
    click.echo(f"\nFleets with {found.choice}")
    _fleets(found, at)
    click.echo("")
    for line in _sentences(found, at, goal):
        say(line)
    for note in advice.notes:
        say(f"Note: {note}.")
    say(f"Try it: {advice.command}")


def _compositions(found: Found) -> None:
    best = found.tried[found.choice]
    rows = []
    for name, others in _different(found).items():
        runs = found.tried[name]
        lost = "" if name == found.choice else _signed(difference(best, runs, "goodput"))
        text = f"{name} (and {others} that did the same)" if others else name
        rows.append((text, len(runs), lost, *_cells(runs)))
    show(None, as_json=False, title="", head=("policies", "seeds", "loses", *SHOWN), rows=rows)


def _different(found: Found) -> dict[str, int]:
    """Return compositions whose figures differ, the choice first, and how many did as each."""
    runner = _second(found)
    order = dict.fromkeys([found.choice, *([runner] if runner else []), *found.tried])
    others: dict[str, int] = {}
    for name in order:
        runs = found.tried[name]
        same = next((one for one in others if alike(runs, found.tried[one])), None)
        if same is None:
            others[name] = 0
        else:
            others[same] += 1
    return others


def _fleets(found: Found, at: Runs) -> None:
    rows = [
        (f"{size}{' <' if size == found.workers else ''}", "yes" if found.meets[size] else "no",
         "" if runs is at else _signed(difference(runs, at, "goodput")), *_cells(runs))
        for size, runs in found.sizes.items()
    ]  # fmt: skip
    show(None, as_json=False, title="", head=("workers", "enough", "gains", *SHOWN), rows=rows)


def _sentences(found: Found, at: Runs, goal: str) -> Iterable[str]:
    verb = "Take" if found.met else f"No fleet that was tried reaches {goal}; the largest:"
    workers = f"{found.workers} worker{'s' if found.workers != 1 else ''}"
    yield f"{verb} {workers} with {found.choice}: goodput {with_interval(mean(at, 'goodput'))}."
    runner = _second(found)
    if runner is None:
        yield "Nothing else that was tried decides otherwise."
    else:
        yield f"The second best, {runner}, {_loss(found.tried, found.choice, runner)}."
    for size, word in ((found.workers - 1, "less"), (found.workers + 1, "more")):
        if size in found.sizes:
            enough = "enough" if found.meets[size] else "not enough"
            change = _signed(difference(found.sizes[size], at, "goodput"))
            yield f"One worker {word}: goodput {change}, {enough}."


def _loss(tried: Mapping[str, Runs], choice: str, runner: str) -> str:
    """Say what the second best would lose, and whether the seeds are sure of it."""
    lost = difference(tried[choice], tried[runner], "goodput")
    later = difference(tried[runner], tried[choice], "ttft_ms_p95")
    sure = lost is not None and lost.half is not None and lost.mean > lost.half
    word = "would lose" if sure else "is not told apart in goodput: it would lose"
    change = f"its p95 to the first token differs by {_signed(later)} ms"
    return f"{word} {with_interval(lost)}; {change}"


def _cells(runs: Runs) -> tuple[str, ...]:
    return tuple(with_interval(mean(runs, name)) for name in SHOWN)


def _signed(found: Estimate | None) -> str:
    text = with_interval(found)
    return f"+{text}" if found is not None and found.mean > 0 else text


def _figures(runs: Runs) -> dict[str, Interval | None]:
    names = dict.fromkeys(name for run in runs.values() for name in run)
    return {name: _plain(mean(runs, name)) for name in names}


def _plain(found: Estimate | None) -> Interval | None:
    return None if found is None else Interval(found.mean, found.half)
