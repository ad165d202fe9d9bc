"""Advice: which of several compositions to take, and how many workers, from figures of runs.

Nothing here runs anything: what is asked for is measured by whoever calls.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TypeVar

from parallax.core.settings import Policies, PolicyChoice
from parallax.sim.report.figures import Figure
from parallax.sim.report.statistics import Interval, interval, told_apart
from parallax.sim.report.statistics import difference as _difference

T = TypeVar("T", bound=Hashable)

#: The figures of one composition or fleet, by seed.
Runs = Mapping[int, Mapping[str, Figure]]
#: By which of two the better is found, the first that tells them apart; False: less is better.
JUDGED = (("goodput", True), ("ttft_ms_p95", False))
#: Of all combinations so many are looked at with more than one seed, if there is time.
KEPT = 4


def values(runs: Runs, figure: str) -> dict[int, float]:
    """Return a figure for each seed that has it."""
    found = {seed: run.get(figure) for seed, run in runs.items()}
    return {seed: float(value) for seed, value in found.items() if value is not None}


def mean(runs: Runs, figure: str) -> Interval | None:
    """Return a figure's mean over the seeds; None unless all of them have it."""
    found = list(values(runs, figure).values())
    return interval(found) if found and len(found) == len(runs) else None


def means(runs: Runs) -> dict[str, Figure]:
    """Return the mean of every figure, None for one that a seed has not."""
    names = dict.fromkeys(name for run in runs.values() for name in run)
    found = {name: mean(runs, name) for name in names}
    return {name: None if one is None else one.mean for name, one in found.items()}


def difference(ours: Runs, theirs: Runs, figure: str) -> Interval | None:
    """Return by how much a figure of ours is larger, over the seeds of both."""
    return _difference(values(ours, figure), values(theirs, figure))


def chosen(found: Mapping[T, Runs]) -> T:
    """Return which of these to take.

    Of those whose goodput the seeds do not tell apart from the best, and of these those whose time
    to the first token is not told apart from the best, the first in the order of the mapping: what
    is no better for certain is no reason to leave what stands before it. Raises ValueError for
    none.
    """
    if not found:
        raise ValueError("nothing to choose from")
    left = dict(found)
    for figure, more in JUDGED:
        left = _best(left, figure, more) or left
    return next(iter(left))


def _best(found: Mapping[T, Runs], figure: str, more: bool) -> dict[T, Runs]:
    """Return those with the best mean of a figure, and those not told apart from it."""
    known = {one: values(runs, figure) for one, runs in found.items()}
    scored = {one: fmean(by_seed.values()) for one, by_seed in known.items() if by_seed}
    if not scored:
        return {}
    top = (max if more else min)(scored, key=lambda one: scored[one])
    return {one: found[one] for one in scored if not told_apart(known[top], known[one])}


def promising(first: Mapping[T, Runs], count: int) -> list[T]:
    """Return so many that are worth more seeds: the best of what one seed shows, and the first.

    Of compositions that did the same to the last figure only one is kept: more seeds of the same
    would tell nothing. They come in their order.
    """
    different: dict[T, Runs] = {}
    for one, runs in first.items():
        if not any(alike(runs, other) for other in different.values()):
            different[one] = runs
    ranked = sorted(different, key=lambda one: _score(different[one]))
    default = next(iter(first), None)
    kept = [one for one in ranked if one == default]
    kept += [one for one in ranked if one != default][: max(0, count - len(kept))]
    return [one for one in first if one in kept]


def _score(runs: Runs) -> tuple[float, ...]:
    """Return what sorts the better first; what was not measured comes last."""
    found = [(mean(runs, figure), more) for figure, more in JUDGED]
    return tuple(
        float("inf") if one is None else -one.mean if more else one.mean for one, more in found
    )


def alike(ours: Runs, theirs: Runs) -> bool:
    """Whether all figures are the same, seed by seed: decisions never differed in their effect."""
    shared = ours.keys() & theirs.keys()
    return bool(shared) and all(ours[seed] == theirs[seed] for seed in shared)


def smallest(meets: Callable[[int], bool], start: int, most: int) -> int | None:
    """Return the least of 1..most that meets the goal, None if `most` does not.

    It begins at `start`, doubles, then halves what is left: at most 2 log2(most) + 2 questions.
    More workers are taken never to do worse.
    """
    low, high = 0, min(start, most)
    while not meets(high):
        if high >= most:
            return None
        low, high = high, min(most, 2 * high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if meets(middle) else (middle, high)
    return high


def next_sizes(meets: Mapping[int, bool], at: int, most: int) -> list[int]:
    """Return the sizes of fleet to look at next, none when the answer and its neighbours are known.

    `meets` holds what is known and `at` is the size that a quicker look gave: it and its neighbours
    are first, then the search goes on, down while the goal is met and up while it is not.
    """
    best = answer(meets)
    wanted = [at - 1, at, at + 1]
    if at in meets:
        wanted = [max(meets) + 1] if best is None else [best - 1, best + 1]
    return [size for size in wanted if 1 <= size <= most and size not in meets]


def answer(meets: Mapping[int, bool]) -> int | None:
    """Return the smallest size that meets the goal as every larger one that is known does."""
    best = None
    for size in sorted(meets, reverse=True):
        if not meets[size]:
            break
        best = size
    return best


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is tried: combinations with one seed, how many of them with all, and how many."""

    first: int
    kept: int
    seeds: int

    @property
    def runs(self) -> int:
        """Runs in all: the last are those of two neighbouring sizes of fleet."""
        return self.first + (self.kept + 2) * self.seeds - self.kept


def plan(affordable: float, combinations: int, seeds: int) -> Plan:
    """Return the largest plan whose runs can be paid for; the smallest there is if none can.

    First fewer are kept, then there are fewer seeds, and last fewer combinations.
    """
    kept = min(KEPT, combinations)
    tried = Plan(1, 1, 1)
    few = range(seeds, min(2, seeds) - 1, -1)
    for first in range(combinations, 0, -1):
        for count in few:
            for held in range(min(kept, first), min(2, kept, first) - 1, -1):
                tried = Plan(first, held, count)
                if tried.runs <= affordable:
                    return tried
    return tried


def second(found: Mapping[T, Runs], best: T) -> T | None:
    """Return which of the others to take if not the best; none that did the same all the way."""
    others = {one: runs for one, runs in found.items() if one != best}
    others = {one: runs for one, runs in others.items() if not alike(runs, found[best])}
    return chosen(others) if others else None


def fully_measured(found: Mapping[T, Runs], seeds: Sequence[int]) -> dict[T, Runs]:
    """Return those that have a run of every seed; those with most seeds if none has."""
    whole = {one: runs for one, runs in found.items() if set(seeds) <= runs.keys()}
    if whole:
        return whole
    most = max(map(len, found.values()), default=0)
    return {one: runs for one, runs in found.items() if len(runs) == most and most}


def worded(policies: Policies, kinds: Iterable[str]) -> str:
    """Return the policies of some kinds as one name."""
    return ", ".join(choice_text(getattr(policies, kind)) for kind in kinds)


def choice_text(choice: PolicyChoice) -> str:
    """Return a policy as options name it."""
    return ":".join([choice.name, *(f"{key}={one}" for key, one in choice.parameters.items())])
