"""Grids of runs: every combination of the policies that options name, on one load and fleet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from parallax.cli.run_arguments import KINDS, parsed_setting
from parallax.cli.run_spec import check, spec_from
from parallax.core.errors import InvalidInput
from parallax.policies.registry import REGISTRIES, ROUTING
from parallax.sim.spec import RunSpec


def combinations(workload: str | None, options: Mapping[str, Any]) -> Iterator[RunSpec]:
    """Yield a checked spec for each combination of policies; their options may be lists, A,B,C.

    A parameter goes to those of the named policies that have it.
    """
    settings = [parsed_setting(text) for text in options["parameters"]]
    names: dict[str, list[str | None]] = {
        kind: [*listed(options[kind] or "")] or [None] for kind in KINDS
    }
    _all_used(settings, names)
    for chosen in product(*names.values()):
        picked = dict(zip(KINDS, chosen, strict=True))
        kept = [
            f"{kind}.{key}={value}"
            for kind, key, value in settings
            if len(names[kind]) == 1 or _takes(kind, picked[kind], key)
        ]
        spec = spec_from(workload, {**options, **picked, "parameters": kept})
        check(spec)
        yield spec


def listed(text: str) -> list[str]:
    """Return the parts of a list with commas, each once."""
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _takes(kind: str, name: str | None, key: str) -> bool:
    """Whether a policy has this parameter."""
    by_kind = {registry.kind: registry for registry in REGISTRIES}
    registry = by_kind.get(kind, ROUTING)  # a candidate is a routing policy
    return key in registry.parameters((name or "").partition(":")[0])


def _all_used(
    settings: Sequence[tuple[str, str, str]], names: Mapping[str, Sequence[str | None]]
) -> None:
    """Refuse a parameter that none of several policies has; of a single one it is checked later."""
    for kind, key, value in settings:
        if len(names[kind]) > 1 and not any(_takes(kind, name, key) for name in names[kind]):
            allowed = f"a parameter of one of {', '.join(map(str, names[kind]))}"
            raise InvalidInput("--set", f"{kind}.{key}={value}", allowed)
