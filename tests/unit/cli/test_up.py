"""`parallax up`: which ports there are for its processes."""

from __future__ import annotations

from typing import Any

import pytest

from parallax.cli import up
from parallax.core.errors import ParallaxError
from parallax.services.system import Plan, System
from tests.unit.cli.invoking import Run

# 4 workers and 2 schedulers in each of 2 cells: 12 ports, the last of them 65535
LAST = 65_524


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
