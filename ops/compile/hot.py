"""Which modules are compiled, and which classes in them stay as they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

#: What runs for every job; `*` is every module of a folder.
HOT = (
    "core/cost.py",
    "core/ewma.py",
    "core/hashing.py",
    "core/model.py",
    "core/prefix.py",
    "core/prefix_index.py",
    "engine/*.py",
    "policies/admission/*.py",
    "policies/fairness/*.py",
    "policies/gating/*.py",
    "policies/hedging/*.py",
    "policies/ordering/*.py",
    "policies/prediction/*.py",
    "policies/routing/*.py",
    "policies/stealing/*.py",
    "scheduling/actions.py",
    "scheduling/attempts.py",
    "scheduling/eligibility.py",
    "scheduling/events.py",
    "scheduling/fleet.py",
    "scheduling/handovers.py",
    "scheduling/hedges.py",
    "scheduling/in_flight.py",
    "scheduling/line.py",
    "scheduling/pace.py",
    "scheduling/queues.py",
    "scheduling/residents.py",
    "scheduling/scheduler.py",
    "scheduling/snapshot.py",
    "scheduling/thieves.py",
    "scheduling/versions.py",
    "sim/books.py",
    "sim/carrying.py",
    "sim/loop.py",
    "sim/outcome.py",
    "sim/workers.py",
    "sim/world.py",
)
COLD = frozenset(
    {
        "policies/routing/parallel_prefix.py",  # numpy does its work
    }
)

#: What people and their policies make is checked by its own checks, which name field and value;
#: a compiled class would refuse a wrong type before that, with a TypeError.
ORDINARY = {"core/model.py": frozenset({"Job", "Rejection"})}


def hot_modules(package: Path) -> Iterator[str]:
    """Yield the paths of the modules that are compiled, relative to the package."""
    for pattern in HOT:
        found = [path for path in sorted(package.glob(pattern)) if path.name != "__init__.py"]
        if not found:
            raise FileNotFoundError(f"{package / pattern}: nothing to compile")
        names = (path.relative_to(package).as_posix() for path in found)
        yield from (name for name in names if name not in COLD)
