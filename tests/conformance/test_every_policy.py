"""What every registered policy must do, whatever its name: the rules of `policies.interfaces`."""

from __future__ import annotations

import ast
import dataclasses
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

import parallax
from parallax.core.errors import InvalidInput, UnknownPolicy
from parallax.core.model import JobTruth, JobView
from parallax.policies.registry import (
    ADMISSION,
    FAIRNESS,
    GATE,
    ORDERING,
    PREDICTOR,
    REGISTRIES,
    ROUTING,
    Registry,
)
from parallax.policies.testing import cluster, job, queue, worker

ROOT = Path(parallax.__file__).parents[1]
ALL = [(registry, name) for registry in REGISTRIES for name in registry]
IDS = [f"{registry.kind}-{name}" for registry, name in ALL]
every_policy = pytest.mark.parametrize(("registry", "name"), ALL, ids=IDS)


@every_policy
def test_is_a_dataclass_with_a_docstring_and_a_test(registry: Registry[Any], name: str) -> None:
    kind = registry[name]
    assert dataclasses.is_dataclass(kind)
    assert kind.__doc__
    assert not kind.__doc__.startswith(f"{kind.__name__}(")


@every_policy
def test_unknown_parameters_are_refused_with_the_known_ones(
    registry: Registry[Any], name: str
) -> None:
    with pytest.raises(UnknownPolicy, match="known:") as caught:
        registry.build(name, {"no_such_parameter": "1"})
    assert "no_such_parameter" in str(caught.value)


@every_policy
def test_parameters_may_be_text_and_defaults_round_trip(registry: Registry[Any], name: str) -> None:
    parameters = registry.parameters(name)
    policy = registry.build(name, {key: str(default) for key, (_, default) in parameters.items()})
    for key, (kind, default) in parameters.items():
        assert getattr(policy, key) == default
        assert type(getattr(policy, key)) is kind


@every_policy
def test_numbers_that_cannot_be_are_refused(registry: Registry[Any], name: str) -> None:
    for key, (kind, _) in registry.parameters(name).items():
        if kind in (int, float):
            for value in ("nan", "-1", "1e400" if kind is float else str(10**30)):
                with pytest.raises(InvalidInput, match=key):
                    registry.build(name, {key: value})


@every_policy
def test_reads_no_clock_and_rolls_no_dice_of_its_own(registry: Registry[Any], name: str) -> None:
    path = ROOT.joinpath(*registry[name].__module__.split(".")).with_suffix(".py")
    tree = ast.parse(path.read_text("utf-8"))
    calls = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not [call for call in calls if call.startswith(("time.", "random.", "secrets."))]


def batches(seed: int) -> list[tuple[list[JobView], list[float]]]:
    random = Random(seed)
    return [
        ([job(10 * k + n) for n in range(10)], [random.uniform(1, 500) for _ in range(10)])
        for k in range(20)
    ]


@pytest.mark.parametrize("name", list(ROUTING))
def test_routing_is_repeatable_and_leaves_its_arguments_alone(name: str) -> None:
    seen = cluster(*(worker(n, free=50, weight=1.0 + n) for n in range(5)))
    before = repr(seen)
    runs = []
    for _ in range(2):
        policy = ROUTING.build(name, random=Random(7))
        runs.append([policy.route(jobs, costs, seen) for jobs, costs in batches(1)])
    assert runs[0] == runs[1]
    assert repr(seen) == before


@pytest.mark.parametrize("name", list(ROUTING))
def test_routing_uses_all_room_and_no_more(name: str) -> None:
    free = [0, 1, 3, 0, 2]
    seen = cluster(*(worker(n, free=f) for n, f in enumerate(free)))
    policy = ROUTING.build(name, random=Random(7))
    routes = policy.route([job(n) for n in range(9)], [10.0] * 9, seen)
    counts = Counter(route for route in routes if route is not None)
    assert [counts[f"w{n}"] for n in range(5)] == free
    assert routes.count(None) == 3


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", list(ROUTING))
def test_routing_forgets_workers_that_left(name: str) -> None:
    policy = ROUTING.build(name, random=Random(7))
    for n in range(2_000):
        policy.route([job(n)], [1.0], cluster(worker(n), worker(n + 1)))
    assert held(policy) < 500


@pytest.mark.parametrize("name", list(FAIRNESS))
def test_fairness_picks_only_tenants_that_wait(name: str) -> None:
    policy = FAIRNESS.build(name)
    random = Random(3)
    waiting: Counter[str] = Counter()
    for n in range(2_000):
        if random.random() < 0.5 or not waiting:
            tenant = f"t{random.randrange(8)}"
            waiting[tenant] += 1
            policy.joined(job(n, tenant))
        else:
            picked = policy.pick()
            assert picked is not None
            assert waiting[picked] > 0
            policy.charge(picked, random.uniform(1, 100))
            waiting[picked] -= 1
            if not waiting[picked]:
                del waiting[picked]
                policy.left(picked)
    assert (policy.pick() is None) == (not waiting)


@pytest.mark.parametrize("name", list(FAIRNESS))
def test_fairness_forgets_tenants_that_left(name: str) -> None:
    policy = FAIRNESS.build(name)
    for n in range(3_000):
        policy.joined(job(n, f"t{n}"))
        policy.charge(f"t{n}", 10.0)
        policy.left(f"t{n}")
        policy.settle(f"t{n}", 10.0, 8.0)
    assert held(policy) < 500


@pytest.mark.parametrize("name", list(ORDERING))
def test_order_is_a_number_that_does_not_change(name: str) -> None:
    policy = ORDERING.build(name)
    keys = {policy.key(job(5), 120.0, 0.4) for _ in range(3)}
    assert len(keys) == 1
    assert all(isinstance(key, float) for key in keys)


@pytest.mark.parametrize("name", list(GATE))
def test_the_gate_closes_for_a_worker_that_drains_or_is_full(name: str) -> None:
    gate = GATE.build(name)
    assert gate.free(worker(slots=4)) >= 1  # it is asked again when that was sent
    assert gate.free(worker(slots=4, draining=True)) == 0
    assert gate.free(worker(slots=4, in_flight=10_000_000)) == 0


@pytest.mark.parametrize("name", list(ADMISSION))
def test_an_idle_system_admits_a_job(name: str) -> None:
    assert ADMISSION.build(name).admit(job(), 500.0, queue(), 0.0) is None


@pytest.mark.parametrize("name", list(PREDICTOR))
def test_predictions_lie_between_one_and_the_longest(name: str) -> None:
    policy = PREDICTOR.build(name)
    random = Random(5)
    for n in range(500):
        asked = job(n, max_tokens=random.randint(1, 4_000))
        assert 1.0 <= policy.predict(asked) <= asked.max_tokens
        policy.learn(asked, random.randint(1, asked.max_tokens))


def test_a_policy_sees_no_true_length() -> None:
    views = {f.name for f in dataclasses.fields(JobView)}
    truths = {f.name for f in dataclasses.fields(JobTruth)}
    assert views & truths == set()


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UnknownPolicy, match="least_loaded"):
        ROUTING.build("no_such_policy")


def test_two_policies_cannot_share_a_name() -> None:
    registry: Registry[Any] = Registry("test")

    class One: ...

    class Two: ...

    registry.register("same")(One)
    with pytest.raises(ValueError, match="same"):
        registry.register("same")(Two)


def held(policy: object) -> int:
    """Return how many entries the containers of a policy hold."""
    fields = dataclasses.fields(policy)  # type: ignore[arg-type]
    values = [getattr(policy, field.name) for field in fields]
    return sum(len(value) for value in values if isinstance(value, dict | list | set))
