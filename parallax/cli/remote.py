"""Runs of `parallax compare` on other machines: what a worker does, and how a grid is spread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from parallax.cli.run_spec import origin
from parallax.core.errors import InvalidInput
from parallax.services.clock import SystemClock
from parallax.sim.provenance import spec_hash
from parallax.sim.report.record import record
from parallax.sim.report.writers import json_text
from parallax.sim.spec import RunSpec, WorkloadSpec
from parallax.sim.spec_reading import parse

#: A run that takes longer is given up, and tried again.
TIMEOUT_S = 3600.0


def provenance_of(spec: RunSpec) -> dict[str, object]:
    """Return all that a run depends on."""
    return {**origin(spec), "seed": spec.seed, "spec_sha256": spec_hash(spec.document())}


def warm() -> None:
    """Simulate a little: rq forks a process for each run, and what that has is imported once."""
    run(RunSpec(WorkloadSpec("chat", limit=5)).document(), {})


def run(document: Mapping[str, Any], provenance: Mapping[str, Any]) -> str:
    """Simulate one run and return its record as the text of a file; write no file.

    Raises InvalidInput where code, versions or traces are not those of the caller: the record
    would be another one.
    """
    from parallax.sim.simulate import simulate

    spec = parse(dict(document))
    mine = provenance_of(spec)
    for name, wanted in provenance.items():
        if mine.get(name) != wanted:
            allowed = f"{wanted}, as where `parallax compare` runs"
            raise InvalidInput(f"{name} of this worker", mine.get(name), allowed)
    return json_text(record(simulate(spec), mine))


def run_on_workers(
    url: str, specs: Sequence[RunSpec], provenances: Sequence[Mapping[str, object]]
) -> Iterator[tuple[int, object]]:
    """Yield (which, text of the record or what went wrong) in the order in which runs end."""
    from parallax.services import jobs

    arguments = [
        (spec.document(), dict(provenance))
        for spec, provenance in zip(specs, provenances, strict=True)
    ]
    yield from jobs.spread(url, jobs.RUN, arguments, TIMEOUT_S, SystemClock())
