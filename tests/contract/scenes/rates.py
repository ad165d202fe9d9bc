"""Scenes of the rates of API keys: spend."""

from __future__ import annotations

from parallax.broker.store.rates import Rates, Spending, spend_call
from tests.contract.conftest import Cell
from tests.contract.scenes.table import Question, scene


def spending(cell: Cell, requests: int, tokens: int, nonce: str = "n1") -> Question:
    one = Spending("k1", Rates(1, 100), requests, tokens, nonce)

    def ask() -> str:
        (left,) = cell.link.do(spend_call(cell.keys, [one]))
        return "ok" if left.allowed else "full"

    return ask


@scene("spend", "ok")
def _(cell: Cell) -> Question:
    return spending(cell, 1, 100)


@scene("spend", "full")
def _(cell: Cell) -> Question:
    spending(cell, 1, 100, "n0")()
    return spending(cell, 1, 1)
