"""A real Prometheus scrapes a real Parallax under load: every panel and every alert has data."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ops.grafana.asking import filled, has_data, queries
from ops.grafana.boards_parts import BOARDS
from ops.prometheus.alerts import ALERTS
from ops.prometheus.live import Live
from ops.prometheus.records import RECORDS
from ops.prometheus.server import Prometheus, Refused, missing
from parallax.services.clock import SystemClock
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.prometheus,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(missing()), reason=missing() or "it is here"),
]
#: The window of rates: many scrapes, for a loaded machine leaves some out.
WINDOW = "30s"
PATIENCE_S = 120.0


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Let two tenants ask for twice what there is, a client chat, and a canary run."""
    with Live(tmp_path_factory.mktemp("live"), SystemClock()) as live:
        live.run("canary", "start", "least_loaded", "--percent", "50", "--slo-ttft", "2",
                 "--slo-tpot", "0.1")  # fmt: skip
        live.load(300.0, 300.0)
        live.chat()
        yield live.prometheus


def empty(prometheus: Prometheus, pending: dict[str, str]) -> dict[str, str]:
    """Return those of the expressions that give nothing."""
    return {name: expr for name, expr in pending.items() if not has_data(prometheus, expr)}


def await_data(prometheus: Prometheus, asked: dict[str, str]) -> None:
    left = dict(asked)

    def all_there() -> bool:
        nonlocal left
        left = empty(prometheus, left)
        return not left

    try:
        wait_until(all_there, "data", PATIENCE_S)
    except AssertionError:
        assert left == {}
        raise


def test_every_target_is_scraped(prometheus: Prometheus) -> None:
    def up() -> bool:
        found = prometheus.query('up{job=~"parallax-.*"}')
        return len(found) == 8 and all(one["value"][1] == "1" for one in found)

    wait_until(up, "all targets to be up", PATIENCE_S)


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_every_query_of_every_panel_returns_data(prometheus: Prometheus, board: object) -> None:
    await_data(
        prometheus,
        {
            f"{panel.title} / {query.legend}": filled(query.expr, WINDOW)
            for panel, query in queries(board)  # type: ignore[arg-type]
            if not panel.optional
        },
    )
    for panel, query in queries(board):  # type: ignore[arg-type]
        if panel.optional:  # nobody runs what it is of here: it is understood, and that is all
            prometheus.query(filled(query.expr, WINDOW))


def test_every_alert_has_something_to_look_at(prometheus: Prometheus) -> None:
    await_data(prometheus, {alert.name: alert.value for alert in ALERTS})
    for alert in ALERTS:
        prometheus.query(alert.expr)


def test_every_record_is_worked_out(prometheus: Prometheus) -> None:
    await_data(prometheus, {record.name: record.name for record in RECORDS})


def test_prometheus_holds_all_alerts(prometheus: Prometheus) -> None:
    assert [rule["name"] for rule in prometheus.alerts()] == [alert.name for alert in ALERTS]
    assert {rule["health"] for rule in prometheus.alerts()} <= {"ok", "unknown"}


@pytest.mark.parametrize("expr", ["sum(rate(parallax_jobs_total[5m])", "1 +", "rate(up)"])
def test_a_planted_broken_expression_is_caught(prometheus: Prometheus, expr: str) -> None:
    with pytest.raises(Refused):
        has_data(prometheus, expr)


def test_a_planted_metric_that_is_not_there_is_caught(prometheus: Prometheus) -> None:
    assert not has_data(prometheus, "rate(parallax_no_such_total[5m])")
