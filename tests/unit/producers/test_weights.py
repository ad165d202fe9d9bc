"""A load tool shows the weights that are in force, and changes them in a system of its own only."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest

from parallax.cli.load_figures import figures
from parallax.core.cells import CellAddress
from parallax.core.clock import ManualClock
from parallax.core.errors import InvalidInput
from parallax.core.lifecycle import Outcome
from parallax.producers.client.client import Client
from parallax.producers.load.drive import Run, Sample
from parallax.producers.load.live import Live
from parallax.services.orders import Orders
from parallax.services.system import System


def live(url: str, weights: dict[str, float], own: bool = False) -> Live:
    system = cast("System", object()) if own else None
    return Live.of([CellAddress("main", url)], ManualClock(), system, [], weights, Orders())


def weighed(url: str, weights: dict[str, float], own: bool = False) -> dict[str, float]:
    one, client = live(url, weights, own), Client(url)
    try:
        one._weigh(client)
    finally:
        client.close()
    return one.in_force


@pytest.fixture
def url(embedded_url: str) -> str:
    """Return the URL of a cell in which acme's weight is 4."""
    client = Client(embedded_url)
    client.set_weights({"acme": 4.0})
    client.close()
    return embedded_url


def test_the_weights_of_the_cell_are_shown(url: str) -> None:
    assert weighed(url, {}) == {"acme": 4.0}
    assert weighed(url, {"acme": 4.0, "bob": 1.0}) == {"acme": 4.0}


def test_a_running_cell_keeps_its_weights(url: str) -> None:
    with pytest.raises(InvalidInput, match="the running cell gives it 4: `parallax tenants set"):
        weighed(url, {"acme": 1.0})
    assert weighed(url, {}) == {"acme": 4.0}


def test_a_system_of_its_own_takes_them(url: str) -> None:
    assert weighed(url, {"acme": 1.0, "bob": 2.0}, own=True) == {"acme": 1.0, "bob": 2.0}


# -- why somebody is below its due


def sample(tenant: str, cost: float, due: float = 5.0, ended: float = 6.0) -> Sample:
    return Sample(tenant, due, due, outcome=Outcome.COMPLETED, told=1, ended=ended, cost=cost)


def notes(*samples: Sample) -> dict[str, str | None]:
    run = Run({f"j{n}": one for n, one in enumerate(samples)}, ended_s=20.0)
    return {one.tenant: one.note for one in figures(run, {"gold": 4.0}, (0.0, 10.0))}


def test_a_tenant_that_got_all_it_asked_for_is_told_so() -> None:
    found = notes(sample("gold", 40.0), sample("tin", 60.0), sample("tin", 60.0, ended=15.0))
    assert found["gold"] == "got all it asked for: 40% of the service, where up to 80% was its due"
    assert found["tin"] is None
    assert found["all"] is None


def test_one_that_waits_below_its_due_is_not_excused() -> None:
    waits = [sample("gold", 40.0, ended=15.0) for _ in range(9)]
    assert notes(sample("gold", 40.0), *waits, sample("tin", 60.0))["gold"] is None


def test_one_that_was_refused_is_not_excused() -> None:
    refused = replace(sample("gold", 0.0), outcome=None, refused="full", ended=None)
    assert notes(sample("gold", 40.0), refused, sample("tin", 60.0))["gold"] is None


def test_one_that_got_its_due_needs_no_excuse() -> None:
    assert notes(sample("gold", 80.0), sample("tin", 20.0))["gold"] is None
