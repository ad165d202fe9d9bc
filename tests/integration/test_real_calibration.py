"""Calibrating a real llama.cpp: its profile predicts what it does."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from parallax.sim.calibration.profiles import known_profile
from tests.unit.cli.invoking import run_main

pytest.importorskip("xllamacpp", reason="llama.cpp is not installed; `make llama` does it")
pytest.importorskip("gguf", reason="gguf is not installed; `make llama` does it")

from tests import llama

pytestmark = [pytest.mark.slow, pytest.mark.real_backend]


def test_a_real_engine_becomes_a_profile_that_can_be_simulated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, file = tmp_path / "random.gguf", tmp_path / "llama.toml"
    llama.write_model(model)
    with llama.running(model) as (_, port):
        answer = run_main(
            capsys, "calibrate", f"http://127.0.0.1:{port}/v1", "-o", str(file), "--passes", "1",
            "--seconds", "60", "--longest", "256", "--output-tokens", "16", "--json",
        )  # fmt: skip
    assert answer.code == 0, answer.err
    found = answer.document
    assert (found["kind"], found["slots"], found["prefix_caching"]) == ("llamacpp", 2, True)
    assert (found["profile"], found["kv_capacity_tokens"]) == (llama.NAME, llama.CONTEXT)
    assert found["prefill_ms"] > 0
    assert found["base_ms"] + found["decode_ms"] > 0
    profile = known_profile("--profile", str(file))
    assert profile.max_seqs == 2
    # Not how good the fit is: this machine does other things. That it tells it is enough.
    assert {"prefill", "decode", "cached", "bursts"} <= set(tomllib.loads(file.read_text())["fit"])
    done = run_main(capsys, "simulate", "chat", "--limit", "20", "--profile", str(file), "--json")
    assert done.code in {0, 3}, done.err
    assert done.document["ttft_ms_p50"] > 0


@pytest.mark.timeout(300)
def test_a_load_runs_on_real_engines_and_in_the_simulator(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "random.gguf"
    llama.write_model(model, layers=1)
    with llama.running(model) as (_, one), llama.running(model) as (_, other):
        answer = run_main(
            capsys, "bench", "--against-sim", "chat", "--backend", f"http://127.0.0.1:{one}/v1",
            "--backend", f"http://127.0.0.1:{other}/v1", "--profile", "laptop", "--longest", "64",
            "--seconds", "4", "--rate-scale", "0.5", "--json",
        )  # fmt: skip
    assert answer.code in {0, 3}, answer.err  # the profile is not theirs: 3, as a rule
    rows = answer.document
    assert [row["latency"] for row in rows] == ["ttft", "e2e"]
    assert all(row["live_p50_s"] > 0 for row in rows)
    assert rows[0]["live_p50_s"] < rows[1]["live_p50_s"]
