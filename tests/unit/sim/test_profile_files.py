"""Profiles in files: written and read back, wrong ones refused, simulations that use them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from parallax.core.errors import InvalidInput
from parallax.core.model import Job
from parallax.engine.profiles import PROFILES, Profile
from parallax.sim.calibration.profiles import document_of, known_profile, profile_of, toml_text
from parallax.sim.simulate import simulate
from parallax.sim.spec import FleetSpec, RunSpec, WorkloadSpec
from parallax.sim.spec_reading import parse

LAPTOP = PROFILES["laptop"]
OWN = replace(LAPTOP, name="own", request_ms=2.5, prefix_caching=False)


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_what_is_written_is_read_back(name: str, tmp_path: Path) -> None:
    document = document_of(PROFILES[name], {"kind": 'x "y"', "prefill": {"rms": 0.1, "points": 3}})
    (tmp_path / "p.toml").write_text(toml_text(document))
    (tmp_path / "p.json").write_text(json.dumps(document))
    for ending in ("toml", "json"):
        assert known_profile("--profile", str(tmp_path / f"p.{ending}")) == PROFILES[name]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kv_capacity": "many"}, "kv_capacity"),
        ({"kv_capacity": 3}, "kv_capacity"),
        ({"max_seqs": 2.5}, "a whole number"),
        ({"prefix_caching": 1}, "true or false"),
        ({"name": "a b"}, "name"),
        ({"speed": 2}, "known: name, cost"),
        ({"cost": 3}, "a table"),
        ({"cost": {"base_ms": 1.0}}, "cost: prefill_ms"),
        ({"cost": {**document_of(LAPTOP)["cost"], "base_ms": -1.0}}, "base_ms"),  # type: ignore[dict-item]
        ({"fit": 3}, "fit"),
    ],
)
def test_a_wrong_one_is_refused_by_the_key(change: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        profile_of({**document_of(LAPTOP), **change}, "p.toml")


@pytest.mark.parametrize("text", ["gpu", "missing.toml", "broken.json"])
def test_what_is_none_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(InvalidInput, match="--profile"):
        known_profile("--profile", text if text == "gpu" else str(tmp_path / text))


def ttft(*profiles: Profile) -> list[float]:
    jobs = [(float(n), Job(f"j{n}", "t", 64, 2, "s", 2)) for n in range(6)]
    spec = RunSpec(WorkloadSpec("given"), FleetSpec(2, "own", profiles=profiles))
    assert parse(json.loads(json.dumps(spec.document()))) == spec
    return [round(one.ttft_s * 1000, 3) for one in simulate(spec, jobs).jobs]


def test_a_run_holds_the_profiles_that_it_was_given_and_workers_take_turns() -> None:
    plain = ttft(replace(OWN, request_ms=0.0))
    assert ttft(OWN) == pytest.approx([one + 2.5 for one in plain]), "each request costs"
    assert len(set(ttft(OWN))) == 1, "nothing is cached"
    assert len(set(ttft(replace(OWN, prefix_caching=True)))) > 1, "the control"
    both = simulate(
        RunSpec(WorkloadSpec("given"), FleetSpec(2, "own", profiles=(OWN, LAPTOP))),
        [(float(n), Job(f"j{n}", "t", 64, 2, "", 2)) for n in range(40)],
    ).jobs
    by_worker = {one.worker: round(one.ttft_s, 6) for one in both}
    assert len(by_worker) == len(set(by_worker.values())) == 2


def test_without_files_a_run_is_written_as_before() -> None:
    assert "profiles" not in RunSpec(WorkloadSpec("given")).document()["fleet"]  # type: ignore[operator]
