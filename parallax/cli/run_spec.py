"""The run that the options of `parallax simulate` and `parallax compare` describe."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import parallax
from parallax.cli.files import read_document
from parallax.cli.options import parsed_choice
from parallax.cli.run_arguments import KINDS, parsed_fault, parsed_setting
from parallax.core.errors import InvalidInput
from parallax.core.settings import Policies, PolicyChoice
from parallax.engine.profiles import PROFILES
from parallax.sim.calibration.profiles import known_profile
from parallax.sim.provenance import file_hash, provenance, tree_hash
from parallax.sim.report.thresholds import Threshold, seconds
from parallax.sim.report.thresholds import parse as parse_threshold
from parallax.sim.spec import FleetSpec, RunSpec, WorkloadSpec
from parallax.sim.spec_reading import parse
from parallax.sim.workloads.catalog import check_there

S = TypeVar("S", WorkloadSpec, FleetSpec)


def spec_from(workload: str | None, options: Mapping[str, Any]) -> RunSpec:
    """Return the run that the options describe; raises InvalidInput."""
    spec = _base(workload, options["spec_file"])
    changes: dict[str, Any] = {
        "workload": _changed(
            spec.workload,
            format=options["form"], limit=options["limit"], rate_scale=options["rate_scale"],
            tenants=options["tenants"], closed=options["closed"],
        ),
        "fleet": _changed(
            spec.fleet,
            workers=options["workers"], prefill_workers=options["prefill_workers"],
            **_profiles(options["profile"]),
        ),
        "policies": _policies(spec.policies, options),
    }  # fmt: skip
    for name in ("slo_ttft", "slo_tpot"):
        if options[name] is not None:
            changes[f"{name}_s"] = seconds(f"--{name.replace('_', '-')}", options[name])
    if options["faults"]:
        changes["faults"] = (*spec.faults, *map(parsed_fault, options["faults"]))
    if options["seed"] is not None:
        changes["seed"] = options["seed"]
    return parse(dataclasses.replace(spec, **changes).document())  # checks the whole


def check(spec: RunSpec) -> None:
    """Refuse now what would fail within a run: bad names and parameters, missing files."""
    from parallax.engine.profiles import profile_named
    from parallax.policies.registry import BATCHING, SCALING
    from parallax.scheduling.scheduler import build_scheduler

    build_scheduler(spec.policies, spec.seed)
    BATCHING.build(spec.policies.batching.name, spec.policies.batching.parameters)
    if spec.policies.scaling is not None:
        SCALING.build(spec.policies.scaling.name, spec.policies.scaling.parameters)
    if not spec.fleet.profiles:
        profile_named(spec.fleet.profile)
    check_there(spec.workload.path)


def thresholds_from(options: Mapping[str, Any]) -> list[Threshold]:
    """Read the thresholds; a wrong one is refused before anything runs."""
    return [parse_threshold(text) for text in options["thresholds"]]


def origin(spec: RunSpec) -> dict[str, object]:
    """Return the provenance of a run: hashes of its input and of the code, and versions."""
    from parallax.sim.workloads.made import names

    path = spec.workload.path
    inputs = {} if path in names() else {path: file_hash(Path(path))}
    versions = {"parallax": parallax.__version__, "python": platform.python_version()}
    return provenance(spec.document(), versions, inputs, source_hash())


@cache
def source_hash() -> str:
    """Return a hash of the code of this process, as it is when first asked."""
    return tree_hash(Path(parallax.__file__).parent)


def _base(workload: str | None, spec_file: Path | None) -> RunSpec:
    if spec_file is None:
        if workload is None:
            raise InvalidInput("WORKLOAD", None, "name a trace or load, or a run with --spec FILE")
        return RunSpec(WorkloadSpec(workload))
    document = read_document("--spec", spec_file)
    if isinstance(document, dict) and "spec" in document and "figures" in document:
        document = document["spec"]  # the record of a run: do it again
    spec = parse(document)
    if workload is None:
        return spec
    return dataclasses.replace(spec, workload=_changed(spec.workload, path=workload))


def _changed(part: S, **values: Any) -> S:
    """Return a part of a spec with the options that were given."""
    return dataclasses.replace(part, **{k: v for k, v in values.items() if v is not None})


def _profiles(text: str | None) -> dict[str, Any]:
    """Return the fields that the option sets: a name stays a name, files are read into the run."""
    if text is None:
        return {}
    if text in PROFILES:
        return {"profile": text, "profiles": ()}
    found = tuple(known_profile("--profile", one.strip()) for one in text.split(","))
    return {"profile": found[0].name, "profiles": found}


def _policies(policies: Policies, options: Mapping[str, Any]) -> Policies:
    """Replace the policies that were named, then set parameters."""
    chosen: dict[str, PolicyChoice | None] = {
        kind: parsed_choice(kind, options[kind]) if options[kind] else getattr(policies, kind)
        for kind in KINDS
    }
    for kind, key, value in map(parsed_setting, options["parameters"]):
        choice = chosen[kind]
        if choice is None:
            raise InvalidInput("--set", f"{kind}.{key}={value}", f"name the policy: --{kind} NAME")
        chosen[kind] = PolicyChoice(choice.name, {**choice.parameters, key: value})
    return Policies(**chosen)  # type: ignore[arg-type]
