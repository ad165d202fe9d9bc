"""`parallax up`: which ports there are for its processes."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from parallax.cli import up
from parallax.core.errors import ParallaxError
from parallax.services.system import Plan, System, free_port
from tests.unit.cli.invoking import Run

# 4 workers, 2 schedulers and an exporter in each of 2 cells: 14 ports, the last of them 65535
LAST = 65_522


@pytest.mark.parametrize(("port", "code"), [(LAST, 1), (LAST + 1, 2), (1, 1)])
def test_the_last_port_may_be_used(
    run: Run, monkeypatch: pytest.MonkeyPatch, port: int, code: int
) -> None:
    def system(plan: Plan, clock: object, **options: Any) -> System:
        assert plan.metrics_port == port
        raise ParallaxError("nothing is started")

    monkeypatch.setattr(up, "System", system)
    answer = run("up", "--cells", "a,b", "--metrics-port", str(port))
    assert answer.code == code
    assert ("--metrics-port" in answer.err) == (code == 2)


@pytest.mark.parametrize(
    ("arguments", "engine", "port"),
    [
        ((), "cpu", None),
        (("--gateway-port", "4321"), "echo", 4321),
        (("--gateway-port", "4321", "--engine", "cpu"), "cpu", 4321),
    ],
)
def test_a_gateway_has_engines_that_answer(
    run: Run, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], engine: str,
    port: int | None,
) -> None:  # fmt: skip
    plans: list[Plan] = []

    def system(plan: Plan, clock: object, **options: Any) -> System:
        plans.append(plan)
        raise ParallaxError("nothing is started")

    monkeypatch.setattr(up, "System", system)
    assert run("up", *arguments).code == 1
    (plan,) = plans
    assert plan.gateway_port == port
    assert list(plan.worker_arguments)[:2] == ["--engine", engine]


@pytest.mark.parametrize(("arguments", "port"), [((), None), (("--dashboard-port", "4321"), 4321)])
def test_a_dashboard_is_served_if_it_is_wanted(
    run: Run, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], port: int | None
) -> None:
    plans: list[Plan] = []

    def system(plan: Plan, clock: object, **options: Any) -> System:
        plans.append(plan)
        raise ParallaxError("nothing is started")

    monkeypatch.setattr(up, "System", system)
    assert run("up", *arguments).code == 1
    assert plans[0].dashboard_port == port
    assert len(plans[0].dashboard_token) >= 32


def test_a_free_port_is_found_where_the_usual_one_is_taken(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) != port
    assert free_port(0) > 0
