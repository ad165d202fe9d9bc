"""Figures of a load: by hand on a few jobs, by law on many, as published on the real traces.

The last ones need the traces: PARALLAX_TRACES names their directory.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
import pytest

from parallax.core.model import Job
from parallax.sim.timed import Timed
from parallax.sim.traces.catalog import read
from parallax.sim.traces.stats import Figures, describe

TRACES = os.environ.get("PARALLAX_TRACES", "")


def job(at_s: float, *names: int, prompt: int = 0, **fields: object) -> Timed:
    values: dict[str, object] = {
        "id": f"j{at_s}", "tenant": "t", "prompt_tokens": prompt or 16 * len(names),
        "max_tokens": 99, "output_tokens": 10, "prefix": names,
    }  # fmt: skip
    return at_s, Job(**(values | fields))  # type: ignore[arg-type]


def at(*times: float) -> list[Timed]:
    return [job(time, prompt=20) for time in times]


# -- by hand


def test_arrivals_by_hand() -> None:
    found = describe(at(0.0, 0.5, 1.5, 4.0))
    assert (found["jobs"], found["duration_s"], found["rate_per_s"]) == (4, 4.0, 1.0)
    assert found["gap_cv"] == pytest.approx((13 / 18) ** 0.5 / (4 / 3))  # gaps 0.5, 1, 2.5
    assert found["iod_1s"] == pytest.approx(0.6875 / 0.75)  # counts 2, 1, 0, 0
    assert (found["iod_60s"], found["peak_1s"], found["distinct_times"]) == (None, 2, 4)


def test_counting_starts_with_the_first_job() -> None:
    late = describe(at(1000.5, 1001.0, 1002.0, 1004.5))
    assert {k: late[k] for k in ("duration_s", "iod_1s", "peak_1s")} == {
        k: describe(at(0.0, 0.5, 1.5, 4.0))[k] for k in ("duration_s", "iod_1s", "peak_1s")
    }


def test_lengths_by_hand() -> None:
    jobs = [job(float(n), prompt=n, output_tokens=n // 2) for n in range(1, 100)]
    found = describe(jobs)
    names = ("prompt_mean", "prompt_p50", "prompt_p95", "prompt_max", "output_max")
    assert [found[name] for name in names] == pytest.approx([50, 50, 94.1, 99, 49])
    assert found["prompt_per_output"] == pytest.approx(4950 / 2450)


def test_reuse_by_hand() -> None:
    found = describe([
        job(0.0, 1, 2, 3, prompt=50),  # and two tokens that make no whole block
        job(1.0, 1, 2, 4),
        job(2.0, 9, 2, 3),  # nothing is reused after an unknown block
        job(3.0, 1, 2, 4, 5),
    ])  # fmt: skip
    assert (found["blocks"], found["blocks_distinct"]) == (14, 7)
    assert found["blocks_used_once_share"] == pytest.approx(3 / 7)  # 9, 5, and the half block
    assert found["reuse_blocks"] == pytest.approx(5 / 14)
    assert found["reuse_tokens"] == pytest.approx(5 * 16 / (50 + 48 + 48 + 64))


def test_an_lru_cache_by_hand() -> None:
    rounds = [job(float(n), 10 * (n % 3)) for n in range(9)]  # three blocks in turn
    found = describe(rounds, (2, 3))
    assert [found["lru_hit_2"], found["lru_hit_3"]] == pytest.approx([0.0, 6 / 9])
    assert found["reuse_blocks"] == found["lru_hit_3"]


def test_the_beginning_of_a_prompt_outlives_its_end() -> None:
    twice = [job(0.0, 1, 2, 3, 4), job(1.0, 1, 2, 3, 4)]
    assert describe(twice, (2,))["lru_hit_2"] == pytest.approx(2 / 8)


def test_sessions_by_hand() -> None:
    turns = [(0.0, "a"), (1.0, "b"), (10.0, "a"), (14.0, "a")]
    found = describe([job(time, prompt=64, session=name) for time, name in turns])
    names = ("conversations", "conversations_of_many_turns", "turns_max", "follow_up_share")
    assert [found[name] for name in names] == [2, 1, 3, 0.5]
    assert (found["turn_gap_p50_s"], found["turn_gap_p90_s"]) == pytest.approx((7.0, 9.4))
    assert found["reuse_blocks"] == pytest.approx(8 / 16)  # a session goes on where it was


def test_sessions_of_two_tenants_are_two() -> None:
    jobs = [job(float(n), prompt=64, session="s", tenant=f"t{n % 2}") for n in range(4)]
    found = describe(jobs)
    assert (found["tenants"], found["conversations"], found["busiest_tenant_share"]) == (2, 2, 0.5)


def test_what_a_load_does_not_define_is_none() -> None:
    empty, one, plain = describe([]), describe(at(5.0)), describe(at(0.0, 1.0, 2.0))
    assert (empty["jobs"], empty["rate_per_s"], empty["prompt_max"]) == (0, None, None)
    assert (one["jobs"], one["rate_per_s"], one["gap_cv"], one["peak_1s"]) == (1, None, None, 1)
    assert (plain["reuse_blocks"], plain["conversations"], plain["lru_hit_1000"]) == (None,) * 3
    assert describe(at(1.0, 1.0))["gap_cv"] is None  # all at once
    assert empty.keys() == plain.keys()


# -- by law


def drifting(random: Random) -> list[Timed]:
    """Return Poisson arrivals whose rate changes every minute."""
    times, time = [], 0.0
    for minute in range(60):
        while time < 60.0 * (minute + 1):
            time += random.expovariate(2.0 if minute % 2 else 8.0)
            times.append(time)
    return at(*times)


@pytest.mark.dear
def test_drift_shows_in_long_windows_only() -> None:
    found = describe(drifting(Random(1)))
    short, long = found["iod_1s"], found["iod_60s"]
    assert short is not None
    assert long is not None
    assert short < 4.0 < 40.0 < long


def test_one_late_job_does_not_look_like_a_lull() -> None:
    minutes = at(*(n * 0.5 for n in range(1200)))  # as regular as can be
    assert describe(minutes)["iod_60s"] == 0.0
    assert describe([*minutes, *at(600.0)])["iod_60s"] == 0.0


@pytest.mark.dear
def test_the_control_a_poisson_process_has_one_in_any_window() -> None:
    random, time, times = Random(1), 0.0, []
    while time < 3600.0:
        time += random.expovariate(5.0)
        times.append(time)
    found = describe(at(*times))
    assert found["iod_1s"] == pytest.approx(1.0, abs=0.15)
    assert found["iod_60s"] == pytest.approx(1.0, abs=0.7)


# -- as published


@cache
def real(name: str) -> Figures:
    return describe(read(Path(TRACES) / name))


@pytest.mark.skipif(not TRACES, reason="PARALLAX_TRACES names no directory of traces")
@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("AzureLLMInferenceTrace_conv.csv", {
            "jobs": 19_366, "duration_s": 3502, "rate_per_s": 5.53, "gap_cv": 1.09, "iod_1s": 1.4,
            "peak_1s": 16, "prompt_p50": 1020, "prompt_p95": 4083,
            "prompt_max": 14_050, "output_p50": 129, "output_p95": 451, "output_max": 1000,
        }),
        ("AzureLLMInferenceTrace_code.csv", {
            "jobs": 8819, "duration_s": 3436, "rate_per_s": 2.57, "gap_cv": 13.15, "iod_1s": 13,
            "iod_60s": 160, "peak_1s": 67, "prompt_p50": 1469, "prompt_p95": 7303,
            "prompt_max": 7437, "output_p50": 13, "output_p95": 90, "output_max": 1899,
            "prompt_per_output": 73,
        }),
        ("mooncake_conversation_trace.jsonl", {
            "jobs": 12_031, "duration_s": 3537, "rate_per_s": 3.40, "gap_cv": 3.03, "iod_1s": 7.9,
            "iod_60s": 2.8, "peak_1s": 28, "distinct_times": 1180, "prompt_p50": 6909,
            "prompt_p95": 39_550, "prompt_max": 126_195, "output_p50": 350, "output_p95": 698,
            "output_max": 2000, "reuse_blocks": 0.366, "reuse_tokens": 0.374,
            "blocks_used_once_share": 0.758, "conversations": 8057, "follow_up_share": 0.33,
            "conversations_of_many_turns": 2012, "turns_max": 43, "turn_gap_p50_s": 126,
            "turn_gap_p90_s": 480,
        }),
        ("vtc_arena_trace.csv", {
            "jobs": 1500, "duration_s": 600, "rate_per_s": 2.50, "gap_cv": 1.10, "iod_1s": 1.4,
            "peak_1s": 11, "prompt_p50": 40, "prompt_p95": 653, "prompt_max": 1021,
            "output_p50": 211, "output_p95": 513, "output_max": 977, "tenants": 27,
        }),
    ],
)  # fmt: skip
@pytest.mark.dear
def test_the_published_figures_come_out(name: str, published: Figures) -> None:
    found = real(name)
    assert {key: found[key] for key in published} == pytest.approx(published, rel=0.04)


@pytest.mark.skipif(not TRACES, reason="PARALLAX_TRACES names no directory of traces")
@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("name", "whole", "with_the_rest"),
    [("AzureLLMInferenceTrace_conv.csv", 16.1, 21), ("vtc_arena_trace.csv", 2.56, 16)],
)
def test_a_half_empty_window_at_the_end_is_no_lull(
    name: str, whole: float, with_the_rest: float
) -> None:
    """What was published (21 and 16) counts the last window, which is not whole."""
    at = np.array([at for at, _ in read(Path(TRACES) / name)])
    counts = np.bincount((at / 60.0).astype(np.int64))
    assert counts.var() / counts.mean() == pytest.approx(with_the_rest, rel=0.03)
    assert real(name)["iod_60s"] == pytest.approx(whole, rel=0.01)


@pytest.mark.skipif(not TRACES, reason="PARALLAX_TRACES names no directory of traces")
def test_the_published_hit_rates_of_caches_come_out() -> None:
    found = real("mooncake_conversation_trace.jsonl")
    published = {1_000: 0.044, 5_000: 0.11, 10_000: 0.21, 30_000: 0.33, 50_000: 0.36}
    for capacity, share in published.items():
        assert found[f"lru_hit_{capacity}"] == pytest.approx(share, abs=0.01)
