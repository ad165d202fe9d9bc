"""Servers held against the simulator: measured at once, and given a load that fits them."""

from __future__ import annotations

import json

import pytest

from parallax.consumers.upstream.failure import Failure
from parallax.core.errors import InvalidInput
from parallax.engine.cost_model import StepCost
from parallax.engine.profiles import Profile
from parallax.lab.against_backends import TOLERANCES, Server, bodies, known, load_for, measured
from parallax.lab.against_sim import Gap
from parallax.services.clock import SystemClock
from parallax.services.orders import Interrupted, Orders
from tests.unit.cli.test_calibrate import PROPS, counted
from tests.upstream import Upstream

LOOKS = {"/health": (200, {}), "/props": (200, PROPS)}
PROFILE = Profile("p", StepCost(5.0, 0.2, 1.0, 0.0, 0.0), 1_024, max_seqs=2)


def server() -> Upstream:
    return Upstream(owner="llamacpp", looks=LOOKS, otherwise=counted)


def test_servers_are_measured_at_once_and_get_a_load_that_fits_them() -> None:
    heard = list[str]()
    with server() as one, server() as other:
        found = measured([one.url, other.url], 5.0, SystemClock(), Orders(), heard.append)
        assert known(one.url, PROFILE) == Server(one.url, found[0].facts, PROFILE)
    assert len(heard) == 2
    assert all("fit errors" in text for text in heard)
    assert [(s.profile.max_seqs, s.context) for s in found] == [(2, 512), (2, 512)]
    ours = [Server(one.text, one.facts, PROFILE) for one in found]
    jobs = load_for("chat", ours, 0.5, None, 30.0, 1)
    assert 0 < max(job.prompt_tokens + job.max_tokens for _, job in jobs) <= 512
    assert max(at for at, _ in jobs) < 30.0
    busier = load_for("chat", ours, 1.0, None, 30.0, 1)
    assert len(busier) > 1.5 * len(jobs)
    shorter = load_for("chat", ours, 0.5, 1.0, 5.0, 1, 64)
    assert max(job.prompt_tokens + job.max_tokens for _, job in shorter) <= 64
    texts = bodies(jobs, ours)
    assert json.loads(texts[jobs[0][1].id])["ignore_eos"] is True
    with pytest.raises(InvalidInput, match="longer"):
        load_for("chat", ours, 0.5, 1e-5, 1.0, 1)


def test_a_server_that_is_away_and_an_order_to_stop_end_the_measuring() -> None:
    with server() as one, server() as other:
        other.down()
        with pytest.raises(Failure, match="cannot be reached"):
            measured([one.url, other.url], 5.0, SystemClock(), Orders(), print)
        orders = Orders()
        orders.hurry()
        with pytest.raises(Interrupted):
            measured([one.url], 5.0, SystemClock(), orders, print)


def test_real_engines_may_be_further_off_than_modelled_ones() -> None:
    close, far = (1.09, 1.19), (1.11, 1.0)
    assert Gap("r", "ttft", 1, (1.0, 1.0), close, TOLERANCES).held
    assert not Gap("r", "ttft", 1, (1.0, 1.0), far, TOLERANCES).held
    assert not Gap("r", "ttft", 1, (1.0, 1.0), close).held
