"""What `parallax simulate` and `parallax compare` share: options, specs from them, and files."""

from __future__ import annotations

import dataclasses
import json
import platform
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

import parallax
from parallax.cli.names import PolicyName
from parallax.cli.options import parsed_choice
from parallax.core.errors import InvalidInput
from parallax.core.settings import Policies, PolicyChoice
from parallax.engine.profiles import PROFILES
from parallax.sim.files import written
from parallax.sim.provenance import file_hash, provenance, tree_hash
from parallax.sim.report.thresholds import Threshold, seconds
from parallax.sim.report.thresholds import parse as parse_threshold
from parallax.sim.spec import FaultSpec, FleetSpec, RunSpec, WorkloadSpec
from parallax.sim.spec_reading import parse
from parallax.sim.workloads.catalog import check_there

F = TypeVar("F", bound=Callable[..., Any])

#: In the directory of a comparison: what was found, and the cells it was found in.
SUMMARY = "summary.json"
KINDS = tuple(field.name for field in dataclasses.fields(Policies))
_MEANINGS = {
    "admission": "Admission policy (several in turn: NAME+NAME).",
    "fairness": "Fairness policy.",
    "ordering": "Ordering policy.",
    "gate": "Dispatch gate.",
    "routing": "Routing policy.",
    "predictor": "Predictor of output lengths.",
    "batching": "Batching policy.",
    "hedging": "Hedging policy.",
    "stealing": "Stealing policy.",
    "rollout": "Rollout policy of a canary.",
    "candidate": "Routing policy that the canary tries.",
    "scaling": "Scaling policy.",
}
_FAULT = re.compile(r"(\w+):w(\d+)(?:\*([\d.]+))?@([^+]+)(?:\+(.+))?", re.ASCII)
#: Worded so that what hides passwords in messages (`user:password@`) does not hide it.
_FAULT_SHAPE = "KIND:WORKER, perhaps *FACTOR, then @WHEN, perhaps +HOWLONG; `--help` has examples"


def experiment_options(command: F) -> F:
    """Add the options that describe a run: workload, fleet, policies, faults, objectives."""
    for option in reversed((
        click.option("--spec", "spec_file", type=click.Path(path_type=Path, dir_okay=False),
                     help="Run described in a TOML or JSON file, or the record of a run; other "
                     "options change it."),
        click.option("--format", "form", help="Format of the trace [default: found out]."),
        click.option("--limit", type=int, help="Serve so many jobs."),
        click.option("--rate-scale", type=float, help="Arrivals so many times faster."),
        click.option("--tenants", type=int, help="Deal the jobs in turn to so many tenants."),
        click.option("--closed", is_flag=True, default=None,
                     help="A session's next turn waits for the answer to the one before."),
        click.option("--workers", type=int, help="Workers [default: 4]."),
        click.option("--profile", type=click.Choice(list(PROFILES)),
                     help="Profile of the engines [default: llama3-8b-a100]."),
        click.option("--prefill-workers", type=int, help="Of the workers, so many only prefill."),
        *(
            click.option(f"--{kind}", type=PolicyName(kind), metavar="NAME[:KEY=VALUE...]",
                         help=_MEANINGS[kind])
            for kind in KINDS
        ),
        click.option("--set", "parameters", multiple=True, metavar="[KIND.]KEY=VALUE",
                     help="Set a parameter of a policy (of routing, if no kind is named)."),
        click.option("--slo-ttft", metavar="DURATION", help="Objective of the first token: 300ms."),
        click.option("--slo-tpot", metavar="DURATION", help="Objective per later token: 50ms."),
        click.option("--fault", "faults", multiple=True, metavar="FAULT",
                     help="What goes wrong: crash:w3@60s+30s, slow:w0*4@10s, stale:w1@5s+20s."),
        click.option("--threshold", "thresholds", multiple=True, metavar="THRESHOLD",
                     help="End with 3 unless this is met: ttft_p95<300ms, goodput>=90%."),
        click.option("--seed", type=int, help="Seed of policies and made-up load [default: 0]."),
    )):  # fmt: skip
        command = option(command)
    return command


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
            workers=options["workers"], profile=options["profile"],
            prefill_workers=options["prefill_workers"],
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
    return parse(dataclasses.replace(spec, **changes).document())  # checks what was put together


def check(spec: RunSpec) -> None:
    """Refuse now what would fail in the middle of a run: names, parameters, and what is missing."""
    from parallax.engine.profiles import profile_named
    from parallax.policies.registry import BATCHING, SCALING
    from parallax.scheduling.scheduler import build_scheduler

    build_scheduler(spec.policies, spec.seed)
    BATCHING.build(spec.policies.batching.name, spec.policies.batching.parameters)
    if spec.policies.scaling is not None:
        SCALING.build(spec.policies.scaling.name, spec.policies.scaling.parameters)
    profile_named(spec.fleet.profile)
    check_there(spec.workload.path)


def thresholds_from(options: Mapping[str, Any]) -> list[Threshold]:
    """Read the thresholds; a wrong one is refused before anything runs."""
    return [parse_threshold(text) for text in options["thresholds"]]


def origin(spec: RunSpec) -> dict[str, object]:
    """Return the provenance of a run: hashes of what it reads and of the code, and versions."""
    from parallax.sim.workloads.made import names

    path = spec.workload.path
    inputs = {} if path in names() else {path: file_hash(Path(path))}
    versions = {"parallax": parallax.__version__, "python": platform.python_version()}
    source = tree_hash(Path(parallax.__file__).parent)
    return provenance(spec.document(), versions, inputs, source)


def parsed_fault(text: str) -> FaultSpec:
    """Read `crash:w3@60s+30s`: what, whom (and how much slower), when, and for how long."""
    found = _FAULT.fullmatch(text)
    if found is None:
        raise InvalidInput("--fault", text, _FAULT_SHAPE)
    kind, number, factor, when, how_long = found.groups()
    values: dict[str, Any] = {}
    if how_long is not None:
        values["seconds"] = seconds("--fault", how_long)
    if factor is not None:
        try:
            values["factor"] = float(factor)
        except ValueError:
            raise InvalidInput("--fault", text, _FAULT_SHAPE) from None
    return FaultSpec(kind, f"w{int(number):04d}", seconds("--fault", when), **values)


def write(path: Path, text: str) -> None:
    """Write a file as a whole or not at all; devices and pipes are written to."""
    try:
        with written(path) as file:
            file.write(text)
    except OSError as error:
        raise InvalidInput("output", str(path), f"must be writable ({error.strerror})") from None


def read_json(path: Path) -> object:
    """Return what a JSON file says; raises InvalidInput."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInput("file", str(path), f"must be readable JSON ({error})") from None


def _base(workload: str | None, spec_file: Path | None) -> RunSpec:
    if spec_file is None:
        if workload is None:
            raise InvalidInput("WORKLOAD", None, "name a trace or load, or a run with --spec FILE")
        return RunSpec(WorkloadSpec(workload))
    document = _document(spec_file)
    if isinstance(document, dict) and "spec" in document and "figures" in document:
        document = document["spec"]  # the record of a run: do it again
    spec = parse(document)
    if workload is None:
        return spec
    return dataclasses.replace(spec, workload=_changed(spec.workload, path=workload))


def _document(path: Path) -> object:
    if path.suffix != ".toml":
        return read_json(path)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InvalidInput("--spec", str(path), f"must be readable TOML ({error})") from None


S = TypeVar("S", WorkloadSpec, FleetSpec)


def _changed(part: S, **values: Any) -> S:
    """Return a part of a spec with the options that were given."""
    return dataclasses.replace(part, **{k: v for k, v in values.items() if v is not None})


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


def parsed_setting(text: str) -> tuple[str, str, str]:
    """Read `routing.choices=3` as kind, key and value; without a kind it is one of routing."""
    path, equals, value = text.partition("=")
    kind, dot, key = path.partition(".")
    if not dot:
        kind, key = "routing", path
    if not equals or not key or kind not in KINDS:
        allowed = f"write KEY=VALUE or KIND.KEY=VALUE with KIND one of {', '.join(KINDS)}"
        raise InvalidInput("--set", text, allowed)
    return kind, key, value
