"""Made-up loads keep the laws they are made of, and wrong specs are told by file and key."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from functools import cache
from itertools import pairwise
from math import pi, sqrt
from pathlib import Path
from random import Random

import pytest

from parallax.core.errors import InvalidInput
from parallax.core.model import Job
from parallax.sim.spec import WorkloadSpec
from parallax.sim.timed import Timed
from parallax.sim.traces.stats import Figures, describe
from parallax.sim.workloads import made
from parallax.sim.workloads.catalog import load
from parallax.sim.workloads.spec import Length, Made, Stage

TINY = (Length(10.0), Length(5.0))


def singles(cv: float = 1.0, rate: float = 50.0, seconds: float = 200.0, swing: float = 0.0,
            period_s: float = 100.0) -> Made:  # fmt: skip
    return Made(
        "singles", (Stage(rate, seconds),), *TINY, cv=cv, swing=swing, period_s=period_s
    )  # fmt: skip


def figures(spec: Made, seed: int = 1) -> Figures:
    return describe(made.jobs(spec, seed), ())


def figure(spec: Made, name: str) -> float:
    value = figures(spec)[name]
    assert value is not None
    return value


@cache
def whole(name: str) -> list[Timed]:
    """Return all jobs of a load that comes with the package."""
    return list(made.load(name, 0))


# -- arrivals


@pytest.mark.dear
def test_poisson_arrivals_have_the_variation_of_poisson_in_any_window() -> None:
    found = figures(singles())
    assert found["gap_cv"] == pytest.approx(1.0, abs=0.05)
    assert found["iod_1s"] == pytest.approx(1.0, abs=0.3)
    assert found["rate_per_s"] == pytest.approx(50.0, rel=0.05)


@pytest.mark.dear
def test_the_control_bursts_have_more_and_regular_arrivals_less() -> None:
    bursts, regular = figures(singles(cv=4.0)), figures(singles(cv=0.2))
    assert bursts["gap_cv"] == pytest.approx(4.0, rel=0.1)
    assert (bursts["iod_1s"] or 0.0) > 5.0
    assert regular["gap_cv"] == pytest.approx(0.2, rel=0.1)
    assert (regular["iod_1s"] or 0.0) < 0.3
    for found in (bursts, regular):
        assert found["rate_per_s"] == pytest.approx(50.0, rel=0.1)


def _high_over_low(spec: Made) -> float:
    """Return arrivals in the first halves of the periods over those in the second halves."""
    halves = Counter(int(2 * at_s / spec.period_s) % 2 for at_s, _ in made.jobs(spec, 1))
    return halves[0] / halves[1]


@pytest.mark.dear
def test_a_day_swings_as_a_sine_does() -> None:
    law = (1 + 2 * 0.8 / pi) / (1 - 2 * 0.8 / pi)  # the means of the two halves
    assert _high_over_low(singles(swing=0.8)) == pytest.approx(law, rel=0.1)
    assert figure(singles(swing=0.8), "rate_per_s") == pytest.approx(50.0, rel=0.05)


@pytest.mark.dear
def test_the_control_without_swing_halves_are_alike() -> None:
    assert _high_over_low(singles()) == pytest.approx(1.0, abs=0.1)


@pytest.mark.dear
def test_stages_come_one_after_the_other_at_their_rates() -> None:
    stages = made.parsed("llmd_73").stages
    jobs = [at_s for at_s, _ in whole("llmd_73")]
    begin = 0.0
    for stage in stages:
        end = begin + stage.seconds
        expected = stage.rate * stage.seconds
        assert abs(sum(begin <= at < end for at in jobs) - expected) < 4 * sqrt(expected)
        begin = end
    assert jobs[-1] < begin == 502.0
    assert jobs == sorted(jobs)


# -- what the jobs are


def shared(one: Job, other: Job) -> int:
    count = 0
    for count, (a, b) in enumerate(zip(one.prefix, other.prefix, strict=True), 1):
        if a != b:
            return count - 1
    return count


@pytest.mark.dear
def test_groups_share_the_system_prompt_and_members_their_question() -> None:
    """The published workload, as long as its prompts come out: 394 common blocks of 473."""
    jobs = [job for _, job in whole("llmd_73")]
    assert {(job.prompt_tokens, job.output_tokens, job.max_tokens) for job in jobs} == {
        (7575, 1000, 1000)
    }
    assert {shared(jobs[0], job) for job in jobs[:2000]} == {0, 394, 473}
    distinct = {name for job in jobs for name in job.prefix}
    assert len(distinct) == 150 * (394 + 5 * 79)
    assert len(distinct) * 16 / 2_458_624 == pytest.approx(0.770, abs=0.001)


def test_a_block_half_of_the_system_prompt_is_not_shared() -> None:
    spec = Made("groups", (Stage(50.0, 10.0),), Length(40.0), system=Length(40.0), members=99)
    jobs = [job for _, job in made.jobs(spec, 0)]
    assert {shared(jobs[0], job) for job in jobs} == {2, 5}  # 40 tokens are 2 whole blocks


def by_session(jobs: list[Timed]) -> list[list[Timed]]:
    found: dict[str, list[Timed]] = defaultdict(list)
    for at_s, job in jobs:
        found[f"{job.tenant}/{job.session}"].append((at_s, job))
    return list(found.values())


@pytest.mark.dear
@pytest.mark.parametrize("name", ["chat", "agents"])
def test_every_turn_says_again_all_that_was_said(name: str) -> None:
    sessions = by_session(whole(name))
    assert max(map(len, sessions)) > 3
    assert max(map(len, sessions)) <= made.parsed(name).max_turns
    for turns in sessions:
        for (_, before), (_, after) in pairwise(turns):
            assert after.prompt_tokens > before.prompt_tokens + (before.output_tokens or 0)
            assert after.prefix[: len(before.prefix)] == before.prefix


@pytest.mark.dear
def test_the_control_single_jobs_do_not_grow() -> None:
    (everything,) = by_session(whole("bursty"))
    grown = [a[1].prompt_tokens > b[1].prompt_tokens for b, a in pairwise(everything)]
    assert 0.4 < sum(grown) / len(grown) < 0.6


def talks(**fields: object) -> Made:
    spec = Made(
        "conversations", (Stage(20.0, 200.0),), *TINY, turns=Length(4.0), max_turns=100,
        think_s=Length(5.0, 0.5), groups=10,
    )  # fmt: skip
    return replace(spec, **fields)  # type: ignore[arg-type]


@pytest.mark.dear
def test_users_think_between_the_turns_of_a_conversation() -> None:
    jobs = list(made.jobs(talks(), 0))
    assert [at for at, _ in jobs] == sorted(at for at, _ in jobs)
    assert jobs[-1][0] < 200.0
    early = [turns for turns in by_session(jobs) if turns[0][0] < 100.0]
    assert {len(turns) for turns in early} == {4}
    gaps = [b[0] - a[0] for turns in early for a, b in pairwise(turns)]
    assert sum(gaps) / len(gaps) == pytest.approx(5.0, rel=0.05)
    assert len(early) == pytest.approx(2000, abs=4 * sqrt(2000))  # arrivals begin conversations


@pytest.mark.dear
def test_applications_are_asked_for_by_zipfs_law() -> None:
    def most_popular(zipf: float) -> float:
        spec = talks(zipf=zipf, turns=Length(1.0), system=Length(64.0))
        apps = Counter(job.prefix[0] for _, job in made.jobs(spec, 0))
        assert len(apps) == 10
        return max(apps.values()) / apps.total()

    harmonic = sum(1 / n for n in range(1, 11))
    assert most_popular(1.0) == pytest.approx(1 / harmonic, abs=0.03)
    assert most_popular(0.0) == pytest.approx(0.1, abs=0.03)  # the control


@pytest.mark.sampled(1)
@pytest.mark.parametrize("kind", ["sessions", "conversations"])
def test_a_history_does_not_grow_for_ever(kind: str) -> None:
    spec = talks(kind=kind, max_turns=10_000, turns=Length(1000.0), max_context=100,
                 stages=(Stage(20.0, 60.0),))  # fmt: skip
    longest = max(job.prompt_tokens for _, job in made.jobs(spec, 0))
    assert longest <= 100 + 10
    assert max(job.prompt_tokens for _, job in made.jobs(replace(spec, max_context=10**6), 0)) > 200


def test_a_flooder_floods_and_the_other_one_stays_as_it_was() -> None:
    counts = Counter((job.tenant, int(at_s // 60)) for at_s, job in whole("flooder"))
    for minute in range(4):
        assert abs(counts["tenant-1", minute] - 300) < 4 * sqrt(300)
    assert abs(counts["tenant-0", 1] - 3600) < 4 * sqrt(3600)
    assert counts["tenant-0", 0] < 60 > counts["tenant-0", 2]  # half a request a second


@pytest.mark.dear
def test_tenants_have_their_shares() -> None:
    counts = Counter(job.tenant for _, job in whole("noisy_neighbour"))
    assert counts["tenant-0"] / counts.total() == pytest.approx(0.9, abs=0.02)


def test_lengths_have_their_mean_and_variation() -> None:
    drawn = [Length(300.0, 1.0).draw(random) for random in [Random(1)] for _ in range(20_000)]
    mean = sum(drawn) / len(drawn)
    spread = sqrt(sum((n - mean) ** 2 for n in drawn) / len(drawn))
    assert mean == pytest.approx(300.0, rel=0.03)
    assert spread / mean == pytest.approx(1.0, rel=0.1)
    assert {Length(300.0).draw(Random(n)) for n in range(5)} == {300}


@pytest.mark.dear
@pytest.mark.parametrize("name", made.names())
def test_no_job_promises_other_than_the_rest(name: str) -> None:
    jobs = [job for _, job in whole(name)]
    assert {job.max_tokens for job in jobs} == {made.parsed(name).max_tokens}
    assert len({job.id for job in jobs}) == len(jobs)


@pytest.mark.dear
def test_longer_answers_are_cut_where_an_engine_would_cut_them() -> None:
    spec = replace(singles(), output=Length(100.0, 1.0), max_tokens=120)
    lengths = Counter(job.output_tokens for _, job in made.jobs(spec, 0))
    assert max(n for n in lengths if n is not None) == 120
    assert lengths[120] > 100


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", made.names())
def test_the_same_seed_is_the_same_load_and_another_one_is_not(name: str) -> None:
    spec = WorkloadSpec(name, limit=300, jitter_s=0.5)
    assert list(load(spec, 7)) == list(load(spec, 7))
    assert list(load(spec, 7)) != list(load(spec, 8))


def test_the_package_brings_its_loads() -> None:
    expected = {
        "agents", "azure_like", "bursty", "chat", "diurnal", "flooder", "llmd_73",
        "noisy_neighbour",
    }  # fmt: skip
    assert expected == set(made.names())


# -- loading


@pytest.fixture
def trace(tmp_path: Path) -> str:
    path = tmp_path / "t.csv"
    rows = "".join(f"{3 * (n // 4)},{n},{10 + n},{n}\n" for n in range(40))
    path.write_text(f"arrival_s,client,prompt_tokens,output_tokens\n{rows}")
    return str(path)


def test_a_trace_is_scaled_dealt_and_limited(trace: str) -> None:
    plain = list(load(WorkloadSpec(trace), 0))
    faster = list(load(WorkloadSpec(trace, rate_scale=3.0, limit=10, tenants=2), 0))
    assert [at for at, _ in faster] == [at / 3 for at, _ in plain[:10]]
    assert [job.tenant for _, job in faster] == ["tenant-0", "tenant-1"] * 5
    assert [job.prompt_tokens for _, job in faster] == list(range(10, 20))
    assert plain[3][1].tenant == "client-3"  # what the trace names is kept


def test_jitter_spreads_a_coarse_clock_in_order(trace: str) -> None:
    plain = list(load(WorkloadSpec(trace), 0))
    spread = list(load(WorkloadSpec(trace, jitter_s=3.0), 0))
    at = [at for at, _ in spread]
    assert at == sorted(at)
    assert (len(set(at)), len({at for at, _ in plain})) == (40, 10)
    times = {job.id: at for at, job in plain}
    assert all(0.0 <= at - times[job.id] <= 3.0 for at, job in spread)


def test_a_limited_load_reads_no_further(trace: str) -> None:
    with Path(trace).open("a") as file:
        file.write("junk\n")
    assert len(list(load(WorkloadSpec(trace, limit=40), 0))) == 40
    with pytest.raises(InvalidInput, match="line 42"):
        list(load(WorkloadSpec(trace, limit=41), 0))


# -- wrong specs

GOOD = 'kind = "singles"\nstages = [{ rate = 5.0, seconds = 10.0 }]\n'


def test_a_spec_of_ones_own_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    assert 20 < len(list(load(WorkloadSpec(str(path)), 0))) < 85


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ("nope = 1", ""),
        ("cv = nan", ": cv"),
        ("cv = -1", ": cv"),
        ("swing = 1.5", ": swing"),
        ("groups = 0", ": groups"),
        ("members = 1.5", ": members"),
        ("max_tokens = 0", ": max_tokens"),
        ("max_context = 100000000", ": max_context"),
        ("deadline_s = -1", ": deadline_s"),
        ("zipf = '1'", ": zipf"),
        ("tenants = []", ": tenants"),
        ("tenants = 2", ": tenants"),
        ("tenants = 'ab'", ": tenants"),
        ("tenants = [0, 0]", ": tenants"),
        ("tenants = [-1, 2]", ": tenants"),
        ("prompt = 5", ": prompt"),
        ("prompt = { cv = 1.0 }", ": prompt"),
        ("prompt = { mean = inf }", ": prompt.mean"),
        ("output = { mean = 5, cv = -1 }", ": output.cv"),
        ("think_s = { mean = -1 }", ": think_s.mean"),
        ("turns = { means = 1 }", ": turns"),
    ],
)
def test_a_wrong_key_is_told_with_its_file(tmp_path: Path, more: str, place: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(GOOD + more)
    with pytest.raises(InvalidInput) as caught:
        made.parsed(str(path))
    assert caught.value.field == f"{path}{place}"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", ""),
        ('kind = "nope"\nstages = [{ rate = 1, seconds = 1 }]', ": kind"),
        ('kind = "singles"', ": stages"),
        ('kind = "singles"\nstages = { rate = 1 }', ": stages"),
        ('kind = "singles"\nstages = [1]', ": stages[0]"),
        ('kind = "singles"\nstages = [{ rate = 1 }]', ": stages[0]"),
        ('kind = "singles"\nstages = [{ rate = 0, seconds = 1 }]', ": stages[0].rate"),
        ('kind = "singles"\nstages = [{ rate = 1, seconds = 1, tenants = 1 }]',
         ": stages[0].tenants"),
        ('kind = "singles"\nstages = [{ rate = 1, seconds = 1, tenants = [0] }]',
         ": stages[0].tenants"),
        ('kind = "sessions"\nstages = [{ rate = 1, seconds = 1, tenants = [1] }]', ": kind"),
    ],
)  # fmt: skip
def test_a_wrong_stage_is_told_with_its_number(tmp_path: Path, text: str, place: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(InvalidInput) as caught:
        made.parsed(str(path))
    assert caught.value.field == f"{path}{place}"


@pytest.mark.parametrize("content", [b"a = [", b"\xff", b"a = 1\na = 2"])
def test_what_is_no_toml_is_told_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    for name in (path, tmp_path / "missing.toml", tmp_path):
        with pytest.raises(InvalidInput) as caught:
            made.parsed(str(name))
        assert caught.value.value == str(name)
