"""A spec that was written down can be read back, and what nobody would read is refused."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from math import inf
from typing import Any

import pytest

from parallax.core.errors import InvalidInput
from parallax.core.settings import Policies, PolicyChoice
from parallax.sim.provenance import spec_hash
from parallax.sim.report.writers import json_text
from parallax.sim.spec import FaultSpec, FleetSpec, RunSpec, WorkloadSpec
from parallax.sim.spec_reading import parse

PLAIN = RunSpec(WorkloadSpec("trace.csv"))
FULL = RunSpec(
    WorkloadSpec("t.jsonl", "mooncake", 500, 2.5, 4, 0.5),
    FleetSpec(16, "llama3-8b-h100", 4, 64, 512, 32, 100_000, 50_000, 0.01, 5.0, 20.0, True),
    Policies(
        routing=PolicyChoice("power_of_two", {"choices": "3"}),
        rollout=PolicyChoice("sprt", {"share": 0.1}),
        candidate=PolicyChoice("round_robin"),
        scaling=PolicyChoice("target", {"on": True}),
    ),
    (FaultSpec("crash", "w0003", 60.0, 30.0), FaultSpec("slow", "w0001", 5.0, factor=4.0)),
    seed=7, slo_ttft_s=0.3, slo_tpot_s=0.05, tick_s=0.01, hop_s=0.001,
)  # fmt: skip


@pytest.mark.parametrize("spec", [PLAIN, FULL], ids=["plain", "full"])
def test_what_was_written_is_read_back(spec: RunSpec) -> None:
    assert parse(spec.document()) == spec
    assert parse(json.loads(json_text(spec.document()))) == spec


def test_it_can_be_written_by_hand() -> None:
    text = """
        workload = "trace.csv"
        slo_ttft_s = 1
        slo_tpot_s = inf
        [fleet]
        workers = 8
        [policies]
        routing = "round_robin"
        fairness = { name = "fifo" }
        [[faults]]
        kind = "crash"
        worker = "w0001"
        at_s = 10
    """
    spec = parse(tomllib.loads(text))
    assert spec == replace(
        PLAIN,
        slo_ttft_s=1.0,
        fleet=FleetSpec(8),
        policies=Policies(routing=PolicyChoice("round_robin"), fairness=PolicyChoice("fifo")),
        faults=(FaultSpec("crash", "w0001", 10.0),),
    )
    assert spec.faults[0].seconds == inf
    assert type(spec.slo_ttft_s) is float


def changed(path: list[str | int], value: object) -> dict[str, Any]:
    document: Any = json.loads(json.dumps(FULL.document()))
    part = document
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    return document  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (["speed"], 1, "spec: 'speed' is not allowed; known: workload, fleet"),
        (["fleet", "wrokers"], 1, "fleet: 'wrokers' is not allowed; known: workers"),
        (["policies", "rooting"], "x", "policies: 'rooting'"),
        (["policies", "routing", "params"], {}, "policies.routing: 'params'"),
        (["faults", 1, "when"], 1, r"faults\[1\]: 'when'"),
        (["workload"], None, "workload: None"),
        (["workload", "path"], 3, "workload.path: 3 is not allowed; must be a text"),
        (["workload", "limit"], 2.5, "workload.limit: 2.5"),
        (["fleet"], [1], r"fleet: \[1\] is not allowed; a table"),
        (["fleet", "workers"], "8", "fleet.workers: '8' is not allowed; must be a whole number"),
        (["fleet", "workers"], True, "fleet.workers: True"),
        (["fleet", "workers"], 0, "fleet.workers: 0"),
        (["fleet", "exact"], 1, "fleet.exact: 1 is not allowed; must be true or false"),
        (["policies", "routing"], 3, "policies.routing: 3"),
        (["policies", "routing"], None, "policies.routing: None"),
        (["policies", "routing", "parameters"], [], "policies.routing.parameters"),
        (["policies", "routing", "parameters"], {"a": None}, "policies.routing.parameters.a"),
        (["faults"], {}, "faults: {}"),
        (["faults", 0, "kind"], "fire", "fault: 'fire'"),
        (["faults", 0, "seconds"], -1.0, r"faults\[0\].seconds: -1.0"),
        (["faults", 0, "factor"], None, r"faults\[0\].factor: None"),
        (["slo_ttft_s"], 0, "slo_ttft_s: 0.0"),
        (["slo_tpot_s"], float("nan"), "slo_tpot_s: nan"),
        (["seed"], -1, "seed: -1"),
    ],
)
def test_what_cannot_be_is_refused_by_its_path(
    path: list[str | int], value: object, named: str
) -> None:
    with pytest.raises(InvalidInput, match=named):
        parse(changed(path, value))


@pytest.mark.parametrize("document", [None, [], "x", {}, {"workload": {}}], ids=str)
def test_a_document_without_a_workload_is_refused(document: object) -> None:
    with pytest.raises(InvalidInput, match=r"workload|spec"):
        parse(document)


def test_the_hash_of_a_spec_depends_on_every_value_and_not_on_their_order() -> None:
    document = FULL.document()
    backwards = dict(reversed(document.items()))
    assert spec_hash(document) == spec_hash(backwards)
    assert spec_hash(changed(["fleet", "workers"], 17)) != spec_hash(document)
