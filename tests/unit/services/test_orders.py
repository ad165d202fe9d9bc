"""Signals set flags; whoever waits looks at them; what was there before comes back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from parallax.services.orders import Interrupted, Orders

ROOT = Path(__file__).parents[3]
each_signal = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])


@pytest.fixture(autouse=True)
def terminal_that_stays() -> Iterator[None]:
    """Whoever started the tests under nohup ignores SIGHUP, and orders leave that as it is."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def state(orders: Orders) -> tuple[bool, bool, int]:
    return orders.stop.is_set(), orders.now.is_set(), orders.code


@each_signal
def test_the_first_is_to_stop_and_the_second_to_stop_now(number: signal.Signals) -> None:
    with Orders() as orders:
        orders.check()
        assert state(orders) == (False, False, 0)
        signal.raise_signal(number)
        assert state(orders) == (True, False, 128 + number)
        with pytest.raises(Interrupted) as told:
            orders.check()
        assert told.value.code == 128 + number
        signal.raise_signal(signal.SIGINT)
        assert state(orders) == (True, True, 128 + number)


@each_signal
def test_afterwards_signals_mean_what_they_meant(number: signal.Signals) -> None:
    heard = []
    before = signal.signal(number, lambda *_: heard.append(number))
    try:
        with Orders() as orders:
            signal.raise_signal(number)
        assert heard == []
        signal.raise_signal(number)
        assert heard == [number]
        assert not orders.now.is_set()
    finally:
        signal.signal(number, before)


def test_under_nohup_the_terminal_may_go() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Orders() as orders:
            signal.raise_signal(signal.SIGHUP)
            assert state(orders) == (False, False, 0)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_third_waits_for_nothing_at_all() -> None:
    script = (
        "import signal, threading\n"
        "from parallax.services.orders import Orders\n"
        "with Orders():\n"
        "    for _ in range(3):\n"
        "        signal.raise_signal(signal.SIGTERM)\n"
        "    threading.Event().wait()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, check=False, timeout=60)
    assert done.returncode == 128 + signal.SIGTERM


def test_without_signals_only_hurry_is_an_order() -> None:
    orders = Orders()
    orders.check()
    orders.hurry()
    assert state(orders) == (True, True, 0)


def test_whoever_drains_hears_the_first_order_and_no_other() -> None:
    drained: list[int] = []
    with Orders(lambda: drained.append(1)):
        for _ in range(2):
            signal.raise_signal(signal.SIGTERM)
    assert drained == [1]
