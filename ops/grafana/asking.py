"""Asks a real Prometheus what the panels would: for tests, and for the pictures."""

from __future__ import annotations

from collections.abc import Iterator
from math import isnan

from ops.grafana.panels import Board, Panel, Query
from ops.prometheus.server import Prometheus

#: What Grafana puts in the place of its variables when all is chosen.
_ALL = {"$job": ".*", "$instance": ".*", "$tenant": ".*"}


def filled(expr: str, window: str) -> str:
    """Return an expression as Grafana sends it, with everything chosen."""
    for name, chosen in {"$__rate_interval": window, **_ALL}.items():
        expr = expr.replace(name, chosen)
    return expr


def queries(board: Board) -> Iterator[tuple[Panel, Query]]:
    """Yield every query of a dashboard with its panel."""
    for panel in board.panels:
        for query in panel.queries:
            yield panel, query


def has_data(prometheus: Prometheus, expr: str) -> bool:
    """Whether an expression gives a number now. Raises Refused if it is no expression."""
    found = prometheus.query(expr)
    return any(not isnan(float(series["value"][1])) for series in found)
