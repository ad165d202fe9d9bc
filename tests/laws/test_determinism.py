"""The same command gives the same bytes, in any process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: One run for each; together they use every kind of policy.
COMPOSITIONS: dict[str, dict[str, object]] = {
    "kv_locality+percentile": {"routing": "kv_locality", "hedging": "percentile"},
    "two pools": {"routing": "disaggregated", "prefill_workers": 2},
    "steal": {"routing": "random", "stealing": "affinity_gain", "gate": "jbsq"},
    "canary": {"routing": "round_robin", "rollout": "canary", "candidate": "power_of_two"},
    "scaling": {"routing": "consistent_hash", "scaling": "sqrt_staffing"},
    "doors": {"admission": "token_bucket+codel+thresholds", "fairness": "deficit_round_robin"},
    "batches": {"routing": "parallel_prefix", "batching": "microbatch", "ordering": "edf"},
    "tied": {"routing": "least_loaded", "hedging": "tied", "ordering": "least_slack"},
}
PLAY = """
import hashlib, json, sys
from dataclasses import replace
from parallax.core.settings import Policies, PolicyChoice
from parallax.sim.report.record import record
from parallax.sim.report.writers import json_text
from parallax.sim.simulate import simulate
from parallax.sim.spec import FaultSpec, FleetSpec, RunSpec, WorkloadSpec
seed, jobs, found = int(sys.argv[1]), int(sys.argv[2]), {}
for name, chosen in json.loads(sys.argv[3]).items():
    fleet = FleetSpec(4, prefill_workers=chosen.pop("prefill_workers", 0), straggler_share=0.02)
    policies = replace(Policies(), **{k: PolicyChoice(v) for k, v in chosen.items()})
    spec = RunSpec(WorkloadSpec("chat", limit=jobs, rate_scale=3.0), fleet, policies,
                   (FaultSpec("crash", "w0003", 5.0, 4.0),), seed)
    text = json_text(record(simulate(spec), {}))
    found[name] = hashlib.sha256(text.encode()).hexdigest()
found["a set of names"] = "".join({f"w{n:04}" for n in range(40)})
print(json.dumps(found))
"""
#: The control: a set is in the order of its hashes, so a decision that follows one would be seen.
CONTROL = "a set of names"
Digests = dict[str, str]


def played(jobs: int, names: Iterable[str], *words: tuple[str, str]) -> list[Digests]:
    """Play compositions in a process for each seed and hash seed, all side by side."""
    chosen = json.dumps({name: COMPOSITIONS[name] for name in names})
    plays = [
        subprocess.Popen(
            [sys.executable, "-c", PLAY, seed, str(jobs), chosen],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed, hash_seed in words
    ]
    return [json.loads(play.communicate(timeout=120)[0]) for play in plays]


@pytest.mark.dear
def test_hash_seeds_reach_a_set_and_no_run() -> None:
    """The law below in small: one composition with hedges, few jobs, two processes."""
    one, other = played(60, ["kv_locality+percentile"], ("0", "1"), ("0", "271828"))
    assert one["kv_locality+percentile"] == other["kv_locality+percentile"]
    assert one[CONTROL] != other[CONTROL], "the hash seeds differ"


@pytest.fixture(scope="module")
def digests() -> list[Digests]:
    """Play everything in three processes: two hash seeds, and then another seed."""
    return played(300, COMPOSITIONS, ("0", "1"), ("0", "271828"), ("1", "1"))


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPOSITIONS)
def test_two_processes_write_the_same_bytes(digests: list[Digests], name: str) -> None:
    one, other, control = digests
    assert one[name] == other[name]
    assert one[name] != control[name], "another seed is another run"
