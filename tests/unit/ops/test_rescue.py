"""The yardstick of the stealing benchmark."""

from __future__ import annotations

import pytest

from ops.bench.rescue import mm_n


def test_one_server_is_the_simple_queue() -> None:
    assert mm_n(0.5, 1) == pytest.approx(2.0)


def test_two_servers_are_the_textbook_ones() -> None:
    assert mm_n(0.5, 2) == pytest.approx(1 / (1 - 0.25))  # 1 / (1 - load^2)


def test_many_servers_hardly_wait() -> None:
    assert 1 < mm_n(0.7, 16) < mm_n(0.7, 4) < mm_n(0.7, 2)
