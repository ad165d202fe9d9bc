"""Queueing theory as the referee of the ordering policies: mean waits, overtaking, overload.

A small event loop serves jobs in the order of the real policies' keys. Its draws are stratified
(each part of a distribution is met exactly as often as it should be, in random order), so that few
jobs are enough to meet a formula closely.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from math import inf, log, sqrt

import numpy as np
import pytest
from numpy.typing import NDArray

from parallax.core.model import JobView
from parallax.policies.interfaces import OrderingPolicy
from parallax.policies.ordering.edf import Edf
from parallax.policies.ordering.fcfs import Fcfs
from parallax.policies.ordering.least_slack import LeastSlack
from parallax.policies.ordering.sjf import Sjf

Floats = NDArray[np.float64]
COST = 1e6  # cost units per second of service
#: Ages so slowly that sizes a millionth apart are told apart before any wait is: pure SJF.
NO_AGEING = 1e6


@dataclass(frozen=True)
class Trace:
    """Jobs by arrival: when, how long each takes and is thought to take, and when it is due."""

    arrival: Floats
    service: Floats
    predicted: Floats
    deadline: Floats


def lognormal(n: int, cv: float, random: np.random.Generator) -> Floats:
    """Return n draws of mean 1 from a lognormal distribution, stratified."""
    sigma = sqrt(log(1 + cv * cv))
    points = (np.arange(200_001) / 200_000 - 0.5) * 16
    mass = np.cumsum(np.exp(-points * points / 2))
    normal = np.interp((np.arange(n) + random.random(n)) / n, mass / mass[-1], points)
    drawn: Floats = np.exp(sigma * random.permutation(normal))
    drawn /= drawn.mean()
    return drawn


def trace(n: int, rate: float, cv: float, seed: int, noise: float = 0.0) -> Trace:
    """Poisson arrivals at `rate`; 70 % of jobs are due in 3 mean services, the others in 30."""
    random = np.random.default_rng(seed)
    gaps = -np.log(1 - (np.arange(n) + random.random(n)) / n) / rate
    arrival = np.cumsum(random.permutation(gaps))
    service = lognormal(n, cv, random)
    predicted = service * np.exp(noise * random.standard_normal(n))
    patience = np.where(random.random(n) < 0.7, 3.0, 30.0)
    return Trace(arrival, service, predicted, arrival + patience)


def jobs_of(work: Trace, *, due: bool) -> list[JobView]:
    deadlines = work.deadline.tolist() if due else [inf] * len(work.arrival)
    return [
        JobView(f"j{n}", "a", 1, 1, at, deadline=deadline)
        for n, (at, deadline) in enumerate(zip(work.arrival.tolist(), deadlines, strict=True))
    ]


def started(policy: OrderingPolicy, work: Trace, servers: int = 1, *, due: bool = False) -> Floats:
    """Serve the trace in the policy's order; return when each job starts (inf: dropped)."""
    jobs = jobs_of(work, due=due)
    predicted, service = work.predicted.tolist(), work.service.tolist()
    keys = [policy.key(j, COST * s, s) for j, s in zip(jobs, predicted, strict=True)]
    start = np.full(len(jobs), inf)
    queue: list[tuple[float, int]] = []
    free = [0.0] * servers
    coming = 0
    while coming < len(jobs) or queue:
        now = free[0]
        if not queue:
            now = max(now, jobs[coming].arrival)
        while coming < len(jobs) and jobs[coming].arrival <= now:
            heapq.heappush(queue, (keys[coming], coming))
            coming += 1
        n = heapq.heappop(queue)[1]
        if due and policy.hopeless(jobs[n], predicted[n], now):
            continue
        start[n] = now
        heapq.heapreplace(free, now + service[n])
    return start


# -- mean response ----------------------------------------------------------------------------


def pollaczek_khinchine(work: Trace, load: float) -> float:
    """The mean response of FCFS: 1 + rho E[S^2] / (2 (1 - rho))."""
    return float(1 + load * np.mean(work.service**2) / (2 * (1 - load)))


def shortest_first(work: Trace, load: float) -> float:
    """The mean response of nonpreemptive SJF: the integral of rho E[S^2] / (2 (1 - rho_x)^2).

    rho_x is the load of the jobs shorter than x (Phipps 1956).
    """
    sizes = np.sort(work.service)
    below = load * (np.cumsum(sizes) - sizes / 2) / len(sizes)
    second = load * np.mean(work.service**2) / 2
    return float(1 + np.mean(second / (1 - below) ** 2))


def mean_response(policy: OrderingPolicy, work: Trace) -> float:
    return float(np.mean(started(policy, work) - work.arrival + work.service))


LOAD = 0.7


def mild(noise: float = 0.0) -> list[Trace]:
    return [trace(60_000, LOAD, 1.0, seed, noise) for seed in range(2)]


def mean_of(policy: OrderingPolicy, traces: list[Trace]) -> float:
    return float(np.mean([mean_response(policy, work) for work in traces]))


@pytest.mark.slow
def test_fcfs_is_pollaczek_khinchine_and_sjf_its_integral() -> None:
    traces = mild()
    by_arrival, by_size = mean_of(Fcfs(), traces), mean_of(Sjf(ageing_s=NO_AGEING), traces)
    law_of_arrival = np.mean([pollaczek_khinchine(work, LOAD) for work in traces])
    law_of_size = np.mean([shortest_first(work, LOAD) for work in traces])
    assert by_arrival == pytest.approx(law_of_arrival, rel=0.03)
    assert by_size == pytest.approx(law_of_size, rel=0.03)
    # The controls: each formula tells the other order apart.
    assert by_size != pytest.approx(law_of_arrival, rel=0.03)
    assert by_arrival != pytest.approx(law_of_size, rel=0.03)


@pytest.mark.slow
def test_sjf_keeps_its_gain_with_rough_predictions_and_has_none_with_random_ones() -> None:
    exact, rough = mild(), mild(noise=0.5)
    random = np.random.default_rng(9)
    blind = [
        Trace(work.arrival, work.service, random.permutation(work.predicted), work.deadline)
        for work in exact
    ]
    policy = Sjf(ageing_s=NO_AGEING)
    by_arrival = mean_of(Fcfs(), exact)
    gain = by_arrival - mean_of(policy, exact)
    assert by_arrival - mean_of(policy, rough) >= 0.85 * gain
    assert by_arrival - mean_of(policy, blind) <= 0.05 * gain


# -- ageing -----------------------------------------------------------------------------------

PATIENCE = 10.0  # seconds of waiting per second by which another job is shorter


def worst_overtaking(policy: OrderingPolicy, work: Trace, patience: float = PATIENCE) -> float:
    """Return by how much the bound was broken: a job that came so long after it went first.

    Nobody may be overtaken by a job that arrives later than `arrival + patience * (size -
    smallest size)`.
    """
    order = np.argsort(started(policy, work))
    latest_before = np.maximum.accumulate(work.arrival[order])  # among all that started so far
    waits_for = patience * (work.predicted - work.predicted.min())
    return float(np.max(latest_before - (work.arrival + waits_for)[order]))


@pytest.mark.slow
def test_with_ageing_nobody_is_overtaken_beyond_the_bound_and_without_it_they_starve() -> None:
    aged = Sjf(ageing_s=PATIENCE * 1_000 / COST)
    for work in (trace(30_000, 0.95, 2.0, seed) for seed in range(3)):
        assert worst_overtaking(aged, work) <= 1e-6
        assert worst_overtaking(aged, work, 0.9 * PATIENCE) > 1.0  # the bound is no looser
        assert worst_overtaking(Fcfs(), work) <= 0.0
        assert worst_overtaking(Sjf(ageing_s=NO_AGEING), work) > 100.0  # the control starves


@pytest.mark.slow
def test_ageing_costs_little_of_the_mean_and_spares_the_longest() -> None:
    work = trace(60_000, 0.9, 2.0, 5)
    longest = work.service >= np.quantile(work.service, 0.99)
    mean, tail = {}, {}
    for name, policy in (
        ("fcfs", Fcfs()),
        ("aged", Sjf(ageing_s=PATIENCE * 1_000 / COST)),
        ("sjf", Sjf(ageing_s=NO_AGEING)),
    ):
        waits = started(policy, work) - work.arrival
        mean[name], tail[name] = waits.mean(), waits[longest].mean()
    assert mean["sjf"] < mean["aged"] < 0.6 * mean["fcfs"]
    assert tail["fcfs"] < tail["aged"] < tail["sjf"]


# -- overload ---------------------------------------------------------------------------------

SERVERS = 8


def met(policy: OrderingPolicy, load: float) -> float:
    """Return the share of deadlines met, of those an idle fleet could meet."""
    work = trace(20_000, SERVERS * load, 2.0, 1, noise=0.5)
    end = started(policy, work, SERVERS, due=True) + work.service
    possible = work.arrival + work.service <= work.deadline
    return float(np.mean(end[possible] <= work.deadline[possible]))


@pytest.mark.slow
def test_deadline_order_falls_off_a_cliff_at_full_load() -> None:
    for policy in (Edf(drop_hopeless=False), LeastSlack(drop_hopeless=False)):
        assert met(policy, 0.8) >= 0.95
        assert met(policy, 1.0) <= 0.3
        assert met(policy, 1.2) <= 0.05


@pytest.mark.slow
def test_dropping_the_hopeless_takes_the_cliff_away() -> None:
    assert met(Edf(), 0.8) >= 0.94
    assert met(Edf(), 1.2) >= 0.94
    assert met(Edf(), 1.5) >= 0.94


def test_in_overload_least_slack_meets_fewer_deadlines_than_edf() -> None:
    assert met(LeastSlack(), 1.5) < met(Edf(), 1.5) - 0.03
