"""The last minute as a leader tells it: what is in it, what leaves it, and who goes on from it."""

from __future__ import annotations

import pytest

from parallax.broker.store.codec import Report
from parallax.core.lifecycle import Outcome
from parallax.core.reasons import Reason
from parallax.scheduling.actions import Action, Admitted, Dispatch, Reject
from parallax.scheduling.events import AttemptEnded, Event
from parallax.telemetry.pulse import HAPPENINGS, SAMPLE, SLOT_S, SLOTS, TENANTS, Pulse
from parallax.telemetry.scheduling import SchedulingMetrics

Told = list[tuple[Event, Report | None]]


def ended(job: str = "j1", tenant: str = "acme", worker: str = "w1", **more: object) -> Told:
    report = Report(tenant, worker, 1, 10.0, 100, 10, 20, 0.5, 0.25, 1.0)
    event = AttemptEnded(job, tenant, worker, 1, 10.0, Outcome.COMPLETED, None)
    return [(event, report)]


def report(seen: Pulse, told: Told) -> None:
    """Tell a pulse what the metrics of a scheduler would."""
    metrics = SchedulingMetrics()
    metrics.pulse = seen
    metrics.reported(told)


def pulse(now: float = 1_000.0) -> Pulse:
    made = Pulse()
    made.now = now
    return made


def test_a_completed_job_is_in_the_minute() -> None:
    seen = pulse()
    report(seen, ended())
    minute = seen.minute()
    assert minute.counts == {"prompt_tokens": 100, "cached_tokens": 20, "output_tokens": 10}
    served = minute.tenants["acme"]
    assert (served.cost, served.completed, served.output_tokens) == (80 + 2 * 10, 1, 10)
    assert minute.workers["w1"]["completed"] == 1
    assert {name: sketch.count for name, sketch in minute.latencies.items()} == dict.fromkeys(
        ("queue_wait_s", "ttft_s", "tpot_s", "e2e_s"), 1
    )


def test_an_attempt_that_decides_nothing_is_charged_and_not_completed() -> None:
    seen = pulse()
    ((event, figures),) = ended()
    assert isinstance(event, AttemptEnded)
    lost = AttemptEnded("j1", "acme", "w1", 1, 10.0, None, None)
    report(seen, [(lost, figures), (event, None)])
    assert seen.minute().tenants["acme"].completed == 0
    assert seen.minute().tenants["acme"].cost == 100


@pytest.mark.dear
def test_at_high_rates_some_ends_stand_for_all() -> None:
    seen = pulse()
    report(seen, ended() * (3 * SAMPLE))
    assert seen.minute().latencies["e2e_s"].count == 3 * SAMPLE  # it had not been told of the rate
    before = seen.minute().latencies["e2e_s"].count
    report(seen, ended() * (4 * SAMPLE))
    seen.minute()
    looked = seen._step
    for _ in range(SAMPLE):
        report(seen, ended() * 4)
    counted = seen.minute().latencies["e2e_s"].count - before - 4 * SAMPLE
    assert looked == 5
    assert abs(counted - 4 * SAMPLE) < looked
    assert seen.minute().tenants["acme"].completed == 11 * SAMPLE  # these are all counted


def test_what_is_older_than_a_minute_leaves_it() -> None:
    seen = pulse()
    report(seen, ended())
    seen.minute()
    seen.now += SLOT_S
    assert seen.minute().tenants["acme"].completed == 1
    seen.now += SLOT_S * SLOTS
    minute = seen.minute()
    assert minute.tenants == {}
    assert seen.sums["prompt_tokens"] == 100  # sums stay


def test_decisions_are_counted_and_told() -> None:
    seen = pulse()
    actions: list[Action] = [
        Admitted("j1", "acme"), Dispatch("j1", "acme", "1-0", "w1", 1, 5.0),
        Dispatch("j1", "acme", "", "w2", 2, 5.0, hedge=True),
        Reject("j2", "bob", "1-0", Reason.QUEUE_FULL, 1.0),
        Reject("j3", "bob", "1-0", Reason.QUEUE_FULL, 1.0),
    ]  # fmt: skip
    seen.decided(actions)
    minute = seen.minute()
    assert (minute.counts["admitted"], minute.counts["dispatched"]) == (1, 2)
    assert minute.counts["rejected.queue_full"] == seen.sums["rejected.queue_full"] == 2
    assert minute.tenants["bob"].rejected == 2
    assert minute.workers["w2"]["hedged"] == 1
    told = [(one.seq, one.kind, one.job, one.jobs, one.target) for one in seen.happenings()]
    assert told == [(1, "hedged", "j1", 1, "w2"), (2, "shed", "j2", 2, "")]


def test_what_goes_on_is_one_happening_within_a_second() -> None:
    seen = pulse()
    seen.stolen(["a", "b"], "w1", "w2")
    seen.stolen(["c"], "w1", "w2")
    seen.now += 2.0
    seen.stolen(["d"], "w1", "w2")
    assert [(one.job, one.jobs) for one in seen.happenings()] == [("a", 3), ("d", 1)]
    assert seen.minute().workers["w1"]["stolen_from"] == 4


@pytest.mark.dear
def test_all_of_it_is_bounded() -> None:
    seen = pulse()
    for n in range(TENANTS + 50):
        report(seen, ended(tenant=f"t{n}", worker=f"w{n}"))
        seen.happened("worker_new", target=f"w{n}")
    minute = seen.minute()
    assert len(minute.tenants) <= TENANTS + 1
    assert len(minute.workers) <= TENANTS + 1
    assert sum(served.completed for served in minute.tenants.values()) == TENANTS + 50
    assert len(seen.happenings()) == HAPPENINGS


def test_a_new_leader_goes_on_where_the_old_one_stopped() -> None:
    old, new = pulse(), pulse(1_005.0)
    report(old, ended())
    old.happened("worker_new", target="w1")
    new.take_over(old.minute(), old.sums, old.happenings())
    report(new, ended("j2"))
    new.happened("leader_new", target="me")
    assert new.minute().tenants["acme"].completed == 2
    assert new.sums["prompt_tokens"] == 200
    assert [one.seq for one in new.happenings()] == [1, 2]
    new.now = 1_000.0 + SLOT_S * SLOTS + 1
    assert new.minute().tenants["acme"].completed == 1  # what the old one saw is too old now
