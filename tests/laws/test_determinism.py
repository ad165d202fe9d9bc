"""The same command gives the same bytes, in any process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
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
seed, found = int(sys.argv[1]), {}
for name, chosen in json.loads(sys.argv[2]).items():
    fleet = FleetSpec(4, prefill_workers=chosen.pop("prefill_workers", 0), straggler_share=0.02)
    policies = replace(Policies(), **{k: PolicyChoice(v) for k, v in chosen.items()})
    spec = RunSpec(WorkloadSpec("chat", limit=300, rate_scale=3.0), fleet, policies,
                   (FaultSpec("crash", "w0003", 5.0, 4.0),), seed)
    text = json_text(record(simulate(spec), {}))
    found[name] = hashlib.sha256(text.encode()).hexdigest()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def digests() -> list[dict[str, str]]:
    """Play everything in three processes: two hash seeds, and then another seed."""
    words = [("0", "1"), ("0", "271828"), ("1", "1")]
    plays = [
        subprocess.Popen(
            [sys.executable, "-c", PLAY, seed, json.dumps(COMPOSITIONS)],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed, hash_seed in words
    ]
    return [json.loads(play.communicate(timeout=120)[0]) for play in plays]


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPOSITIONS)
def test_two_processes_write_the_same_bytes(digests: list[dict[str, str]], name: str) -> None:
    one, other, control = digests
    assert one[name] == other[name]
    assert one[name] != control[name], "another seed is another run"
