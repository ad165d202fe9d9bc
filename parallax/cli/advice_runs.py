"""The runs that advice rests on: a size, then a composition, then a size again, within a budget."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TypeVar

from parallax.cli.pool import spread
from parallax.cli.progress import progress
from parallax.core.clock import Clock
from parallax.core.errors import InvalidInput, ParallaxError
from parallax.sim import simulate as simulation
from parallax.sim.advice import (
    Plan,
    Runs,
    answer,
    chosen,
    fully_measured,
    means,
    next_sizes,
    plan,
    promising,
    smallest,
)
from parallax.sim.report.figures import Figure, figures
from parallax.sim.report.thresholds import Threshold
from parallax.sim.spec import RunSpec

K = TypeVar("K")
Figures = Mapping[str, Figure]
Measured = dict[int, Figures]  # by seed

#: Sizes are looked at so many times once the policies are chosen: a goal may be met by chance.
MOVES = 4


@dataclass(frozen=True, slots=True)
class Found:
    """What came of all runs. Compositions are known by their names, in the order of the grid."""

    grid: Mapping[str, RunSpec]
    goal: Sequence[Threshold]
    size: int  # at which compositions were compared
    tried: Mapping[str, Runs]
    choice: str
    sizes: Mapping[int, Runs]  # with the choice
    runs: int
    notes: Sequence[str]

    @property
    def meets(self) -> dict[int, bool]:
        """Whether each size reaches the goal."""
        return {size: reached(self.goal, means(runs)) for size, runs in self.sizes.items()}

    @property
    def met(self) -> bool:
        """Whether any size reaches the goal."""
        return answer(self.meets) is not None

    @property
    def workers(self) -> int:
        """The smallest fleet that reaches the goal, or the largest that does not."""
        return answer(self.meets) or max(self.sizes)


class _Over(Exception):
    """The time is over."""


@dataclass(slots=True)
class Bench:
    """Runs, in processes, for so many seconds."""

    clock: Clock
    budget_s: float
    processes: int
    runs: int = 0
    run_s: float = 0.0  # that the last run on its own took
    notes: list[str] = field(default_factory=list)
    _until: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._until = self.clock.monotonic() + self.budget_s

    @property
    def left_s(self) -> float:
        """Seconds that are left."""
        return self._until - self.clock.monotonic()

    def one(self, spec: RunSpec) -> Figures:
        """Run one here."""
        began = self.clock.monotonic()
        found = measure((None, spec))
        self.runs += 1
        self.run_s = self.clock.monotonic() - began
        return found

    def all(self, tasks: Sequence[tuple[K, RunSpec]], unit: str) -> Iterator[tuple[K, Figures]]:
        """Yield what runs gave as they end; those that no time is left for are left out."""
        done = 0
        if tasks and self.left_s > 0:
            for (key, _), result in spread(measure, tasks, self.processes, unit):
                if isinstance(result, BaseException):
                    failed = f"a run failed: {result}"
                    raise result if isinstance(result, ParallaxError) else ParallaxError(failed)
                done += 1
                self.runs += 1
                yield key, result
                if self.left_s <= 0:
                    break
        if done < len(tasks):
            self.notes.append(f"no time for {len(tasks) - done} of {len(tasks)} {unit}")


def measure(task: tuple[object, RunSpec]) -> Figures:
    """Simulate one run; called in any process."""
    return figures(simulation.simulate(task[1]))


def look(
    grid: Mapping[str, RunSpec], goal: Sequence[Threshold], bench: Bench, seeds: int, most: int
) -> Found:
    """Seek a size with the first composition, a composition at that size, then a size with it."""
    default, spec = next(iter(grid.items()))
    found = _sized(spec, goal, bench, most)
    if found is None:
        allowed = "more seconds: it was over before a size of fleet was found"
        raise InvalidInput("--budget", f"{bench.budget_s:g}", allowed)
    size, seen = found
    todo = _planned(len(grid), seeds, bench)
    numbers = range(spec.seed, spec.seed + todo.seeds)
    tried = _compared(grid, size, {default: {spec.seed: seen[size]}}, todo, bench)
    whole = fully_measured(tried, numbers)
    choice = sized = chosen(whole)
    fewer = None
    if choice != default:  # it may need fewer: then what others lose is asked there
        fewer = _sized(resized(grid[choice], size), goal, bench, size)
    if fewer is not None and fewer[0] < size:
        if len(whole) < len(tried):
            left = len(tried) - len(whole)
            bench.notes.append(f"{left} compositions were tried on {size} workers only")
        (size, seen), again = fewer, {name: grid[name] for name in whole}
        known = {choice: {spec.seed: seen[size]}}
        tried = _compared(again, size, known, replace(todo, first=len(again)), bench)
        choice = chosen(fully_measured(tried, numbers))
    reuse = seen if choice == sized else {}
    around = resized(grid[choice], size)
    sizes = _around(around, tried[choice], goal, todo.seeds, most, bench, reuse)
    return Found(grid, goal, size, tried, choice, sizes, bench.runs, bench.notes)


def _sized(
    spec: RunSpec, goal: Sequence[Threshold], bench: Bench, most: int
) -> tuple[int, dict[int, Figures]] | None:
    """Return the smallest fleet that one seed says is enough, or `most`, and what each gave.

    None if the time is over before that is known.
    """
    seen: dict[int, Figures] = {}
    with progress() as told:

        def meets(workers: int) -> bool:
            if bench.left_s <= 0:
                raise _Over
            told(f"seeking the size of the fleet: {workers} workers")
            seen[workers] = bench.one(resized(spec, workers))
            return reached(goal, seen[workers])

        with suppress(_Over):
            return smallest(meets, spec.fleet.workers, most) or most, seen
    return None


def _planned(combinations: int, seeds: int, bench: Bench) -> Plan:
    """Return how much can be tried in the time that is left, and say what is left out."""
    affordable = bench.left_s * bench.processes / max(bench.run_s, 1e-3)
    todo = plan(affordable, combinations, seeds)
    if todo.seeds < seeds:
        bench.notes.append(f"time for {todo.seeds} of {seeds} seeds only")
    if todo.first < combinations:
        bench.notes.append(f"time for the first {todo.first} of {combinations} compositions only")
    return todo


def _compared(
    grid: Mapping[str, RunSpec], size: int, known: Mapping[str, Measured], todo: Plan, bench: Bench
) -> dict[str, Measured]:
    """Return what compositions gave: the first ones with one seed, promising ones with all."""
    specs = {name: resized(spec, size) for name, spec in grid.items()}
    tasks = [((name, spec.seed), spec) for name, spec in specs.items() if name not in known]
    tried = {name: dict(known.get(name, {})) for name in specs}
    for (name, seed), found in bench.all(tasks[: todo.first - len(known)], "compositions"):
        tried[name][seed] = found
    tried = {name: runs for name, runs in tried.items() if runs}
    tasks = [
        ((name, specs[name].seed + more), resized(specs[name], more=more))
        for more in range(1, todo.seeds)
        for name in promising(tried, todo.kept)
    ]
    for (name, seed), found in bench.all(tasks, "further seeds"):
        tried[name][seed] = found
    return tried


def _around(
    spec: RunSpec,
    known: Runs,
    goal: Sequence[Threshold],
    seeds: int,
    most: int,
    bench: Bench,
    reuse: Mapping[int, Figures],
) -> dict[int, Measured]:
    """Return what fleets around this one give, until the smallest that is enough is known.

    `reuse` holds by size what was found with the first seed before.
    """
    at = spec.fleet.workers
    sizes: dict[int, Measured] = {at: dict(known)}
    for move in range(MOVES):
        meets = {size: reached(goal, means(runs)) for size, runs in sizes.items()}
        wanted = [
            size for size in next_sizes({} if move == 0 else meets, at, most) if size not in sizes
        ]
        if not wanted or bench.left_s <= 0:
            break
        sizes |= {size: {spec.seed: reuse[size]} for size in wanted if size in reuse}
        tasks = [
            ((size, spec.seed + more), resized(spec, size, more))
            for size in wanted
            for more in range(seeds)
            if more or size not in reuse
        ]
        for (size, seed), found in bench.all(tasks, "runs of other sizes"):
            sizes.setdefault(size, {})[seed] = found
    return dict(sorted(sizes.items()))


def reached(goal: Iterable[Threshold], found: Figures) -> bool:
    """Whether all thresholds are met."""
    return all(threshold.met(found) for threshold in goal)


def resized(spec: RunSpec, workers: int | None = None, more: int = 0) -> RunSpec:
    """Return the run with so many workers, and a later seed."""
    fleet = replace(spec.fleet, workers=workers or spec.fleet.workers)
    return replace(spec, fleet=fleet, seed=spec.seed + more)
