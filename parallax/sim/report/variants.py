"""Putting runs together: those that differ only in their seed are one variant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from parallax.sim.provenance import spec_hash
from parallax.sim.report.figures import LATENCIES, RATES
from parallax.sim.report.record import Record
from parallax.sim.report.statistics import Interval, Point, interval, told_apart

#: More of these is better, and less of a latency. Whatever else there is, is not judged.
_MORE = ("goodput", "prefix_hit_ratio", "jain_fairness", *RATES)


@dataclass(frozen=True, slots=True)
class Variant:
    """Runs of one spec with different seeds."""

    name: str
    records: tuple[Record, ...]

    @property
    def seeds(self) -> list[int]:
        """The seeds, in order."""
        return [record["spec"].get("seed", 0) for record in self.records]

    def by_seed(self, figure: str) -> dict[int, float]:
        """Return a figure for each seed that has it."""
        values = [record["figures"].get(figure) for record in self.records]
        pairs = zip(self.seeds, values, strict=True)
        return {seed: float(value) for seed, value in pairs if value is not None}

    def interval(self, figure: str) -> Interval | None:
        """Return a figure's mean over the seeds; None unless all of them have it."""
        values = list(self.by_seed(figure).values())
        return interval(values) if len(values) == len(self.records) else None

    def means(self) -> dict[str, float | int | None]:
        """Return the mean of every figure."""
        names = dict.fromkeys(name for record in self.records for name in record["figures"])
        found = {name: self.interval(name) for name in names}
        return {name: None if value is None else value.mean for name, value in found.items()}

    def cdf(self, latency: str) -> list[Point]:
        """Return the mean over the seeds of the latency at each share of jobs."""
        curves = [record["cdfs"].get(latency, []) for record in self.records]
        if any(len(curve) != len(curves[0]) for curve in curves):
            return [(x, y) for x, y in curves[0]]  # too few jobs for a hundred steps each
        return [
            (fmean(x for x, _ in points), fmean(y for _, y in points))
            for points in zip(*curves, strict=True)
        ]


def variants(records: Sequence[Record]) -> list[Variant]:
    """Group records by their spec, in order of appearance, seeds in order; doubles count once."""
    groups: dict[str, dict[int, Record]] = {}
    for record in records:
        spec = {key: value for key, value in record["spec"].items() if key != "seed"}
        groups.setdefault(spec_hash(spec), {}).setdefault(record["spec"].get("seed", 0), record)
    flat = [flattened(next(iter(group.values()))["spec"]) for group in groups.values()]
    return [
        Variant(name, tuple(group[seed] for seed in sorted(group)))
        for name, group in zip(_names(flat), groups.values(), strict=True)
    ]


def by_workload(found: Sequence[Variant]) -> list[list[Variant]]:
    """Return the variants that served the same jobs together: only they can be compared."""
    groups: dict[str, list[Variant]] = {}
    for variant in found:
        workload = variant.records[0]["spec"].get("workload")
        groups.setdefault(repr(workload), []).append(variant)
    return list(groups.values())


def best(figure: str, found: Sequence[Variant]) -> set[str]:
    """Return the names of the variant with the best mean and of those not told apart from it.

    Two variants are compared seed by seed, as a seed gives both the same jobs: they are told apart
    if the 95 % interval of their differences leaves out 0. Empty if better has no meaning.
    """
    sign = 1 if figure in _MORE else -1 if figure.startswith(LATENCIES) else 0
    known = [(variant, variant.interval(figure)) for variant in found]
    scored = [(sign * value.mean, variant) for variant, value in known if value is not None]
    if not sign or len(scored) < 2:
        return set()
    ours = max(scored, key=lambda pair: pair[0])[1].by_seed(figure)
    return {variant.name for _, variant in scored if not told_apart(ours, variant.by_seed(figure))}


def flattened(document: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return a spec as short paths and texts: `routing`, `routing.choices`, `rate_scale`."""
    flat: dict[str, str] = {}
    for key, value in document.items():
        short = key in {"workload", "fleet", "policies", "parameters"}
        path = prefix if short else f"{prefix}.{key}" if prefix else key
        if isinstance(value, Mapping):
            flat |= flattened(value, path)
        else:
            flat[path.removesuffix(".name")] = "none" if value in (None, []) else str(value)
    return flat


def _names(flat: Sequence[Mapping[str, str]]) -> list[str]:
    """Name each spec after what tells it from the others."""
    paths = dict.fromkeys(path for spec in flat for path in spec if path != "seed")
    telling = [path for path in paths if len({spec.get(path) for spec in flat}) > 1]
    shown = telling or ["routing", "path"]
    names: list[str] = []
    for spec in flat:
        name = ", ".join(f"{path}={spec[path]}" for path in shown if path in spec)
        doubles = sum(other.partition(" #")[0] == name for other in names)  # 3 and "3"
        names.append(f"{name} #{doubles + 1}" if doubles else name)
    return names
