"""Backlog against an objective: what it asks for, and why it does not swing."""

from __future__ import annotations

from random import Random

import pytest

from parallax.core.errors import InvalidInput
from parallax.core.model import LoadView
from parallax.policies.scaling.backlog_slo import BacklogSlo


def load(
    erlangs: float, workers: int, waits_s: float = 0.0, burst: float | None = None,
    ready: int | None = None,
) -> LoadView:  # fmt: skip
    """A load of so many workers' worth, and a queue of so many seconds of one worker."""
    burst = erlangs if burst is None else burst
    ready = workers if ready is None else ready
    return LoadView(erlangs * 1e3, burst * 1e3, waits_s * 1e3, workers, ready, 1e3, waits_s * 1e3)


def policy(**fields: float) -> BacklogSlo:
    return BacklogSlo(**({"stable_s": 0.0, "startup_s": 10.0} | fields))  # type: ignore[arg-type]


def test_without_a_backlog_it_keeps_up_with_the_load() -> None:
    assert policy(target=0.8).desired(load(8.0, 4), 0.0) == 8  # at most twice as many
    assert policy(target=0.8).desired(load(8.0, 8), 0.0) == 10
    assert policy(target=0.8).desired(load(8.0, 10), 0.0) == 10
    assert policy().desired(load(0.0, 10), 0.0) == 1


def test_a_backlog_within_the_objective_asks_for_nobody() -> None:
    calm = policy(slo_s=2.0, share=0.5)
    assert calm.desired(load(8.0, 10, waits_s=9.0), 0.0) == 10
    assert calm.desired(load(8.0, 10, waits_s=40.0), 0.0) == 12, "beyond it is worked off"


def test_what_will_have_come_until_a_new_worker_serves_counts() -> None:
    """16 workers' load on 10: in 10 s 60 s of work more wait than now."""
    slow, soon = policy(startup_s=60.0), policy(startup_s=1.0)
    assert soon.desired(load(16.0, 10, waits_s=20.0), 0.0) == 20
    assert slow.desired(load(16.0, 15, waits_s=20.0), 0.0) > 17


def test_while_work_waits_the_last_seconds_count() -> None:
    assert policy().desired(load(4.0, 10, burst=16.0), 0.0) == 5
    assert policy().desired(load(4.0, 10, burst=16.0, waits_s=20.0), 0.0) == 20


def test_without_anybody_all_that_waits_is_late() -> None:
    assert policy(fewest=0).desired(load(0.0, 0, waits_s=0.5), 0.0) == 1
    assert policy(fewest=0).desired(load(0.0, 0), 0.0) == 0


@pytest.mark.parametrize("waits_s", [0.0, 5.0, 50.0, 500.0])
def test_more_load_never_asks_for_fewer(waits_s: float) -> None:
    random = Random(5)
    for _ in range(200):
        workers = random.randint(0, 30)
        less, more = sorted((random.uniform(0, 60), random.uniform(0, 60)))
        few, many = (policy().desired(load(x, workers, waits_s), 0.0) for x in (less, more))
        assert few <= many


@pytest.mark.parametrize("field", ["slo_s", "share", "target", "startup_s", "tolerance"])
def test_parameters_are_checked(field: str) -> None:
    with pytest.raises(InvalidInput, match=f"backlog_slo.{field}"):
        BacklogSlo(**{field: -1.0})  # type: ignore[arg-type]
