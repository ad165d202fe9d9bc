"""The exporter answers over loopback: metrics, health, and 404 for anything else."""

from __future__ import annotations

from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from parallax.core.errors import InvalidInput
from parallax.services.exporter import Exporter
from parallax.telemetry.metrics import METRICS, Metrics

METRICS_OF_THIS_PROCESS = Metrics()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with Exporter(METRICS_OF_THIS_PROCESS.registry, 0) as exporter:
        assert exporter.port is not None
        yield exporter.port


def get(port: int, path: str, method: str = "GET") -> tuple[HTTPResponse, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response, response.read().decode()
    finally:
        connection.close()


def test_port_0_finds_a_free_port(port: int) -> None:
    assert port > 0


def test_metrics_are_served_as_prometheus_reads_them(port: int) -> None:
    response, text = get(port, "/metrics")
    assert response.status == 200
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    names = {family.name for family in text_string_to_metric_families(text)}
    assert {
        m.name.removesuffix("_total") for m in METRICS if m.process in {"scheduler", "any"}
    } <= names


def test_each_scrape_shows_the_values_of_now(port: int) -> None:
    workers = METRICS_OF_THIS_PROCESS.gauge("workers")
    workers.set(3)
    assert "parallax_workers 3.0" in get(port, "/metrics")[1]
    workers.set(4)
    assert "parallax_workers 4.0" in get(port, "/metrics")[1]


def test_health_is_ok(port: int) -> None:
    response, text = get(port, "/healthz")
    assert (response.status, text) == (200, "ok\n")


@pytest.mark.parametrize("path", ["/", "/metric", "/metrics/", "/../etc/passwd", "/healthz/x"])
def test_an_unknown_path_is_not_found_and_says_what_there_is(port: int, path: str) -> None:
    response, text = get(port, path)
    assert response.status == 404
    assert "/metrics" in text


def test_only_reading_is_possible(port: int) -> None:
    assert get(port, "/metrics", "POST")[0].status == 501


def test_a_scrape_leaves_no_line_in_the_log(port: int, capfd: pytest.CaptureFixture[str]) -> None:
    get(port, "/metrics")
    get(port, "/nothing")
    assert capfd.readouterr() == ("", "")


def test_without_a_port_it_does_nothing() -> None:
    with Exporter(CollectorRegistry(), None) as exporter:
        assert exporter.port is None


@pytest.mark.parametrize("wrong", [-1, 65_536, 10**9])
def test_a_port_that_cannot_be_is_refused(wrong: int) -> None:
    with pytest.raises(InvalidInput, match=f"metrics port: {wrong} is not allowed"):
        Exporter(CollectorRegistry(), wrong)


def test_a_port_in_use_is_refused(port: int) -> None:
    with pytest.raises(InvalidInput, match=r"a free port .*in use"):
        Exporter(CollectorRegistry(), port)


def test_after_the_end_nobody_listens() -> None:
    with Exporter(CollectorRegistry(), 0) as exporter:
        port = exporter.port
    assert port is not None
    with pytest.raises(ConnectionRefusedError):
        get(port, "/healthz")


# -- where it listens -----------------------------------------------------------------------------


def test_it_listens_on_loopback_unless_told_otherwise() -> None:
    with Exporter(CollectorRegistry(), 0) as exporter:
        assert exporter.address == "127.0.0.1"


@pytest.mark.parametrize(
    ("host", "asked"),
    [("0.0.0.0", "127.0.0.1"), ("localhost", "localhost")],  # noqa: S104 - that is what is tested
)
@pytest.mark.sampled(1)
def test_it_listens_where_it_is_told(host: str, asked: str) -> None:
    with Exporter(CollectorRegistry(), 0, host) as exporter:
        assert exporter.port is not None
        for path in ("/healthz", "/metrics"):
            connection = HTTPConnection(asked, exporter.port, timeout=10)
            connection.request("GET", path)
            assert connection.getresponse().status == 200
            connection.close()


@pytest.mark.parametrize("host", ["::", "::1"])
@pytest.mark.dear
def test_it_listens_on_the_newer_addresses_too(host: str) -> None:
    try:
        with Exporter(CollectorRegistry(), 0, host) as exporter:
            assert exporter.port is not None
            connection = HTTPConnection("::1", exporter.port, timeout=10)
            connection.request("GET", "/healthz")
            assert connection.getresponse().status == 200
            connection.close()
    except InvalidInput:
        pytest.skip("this machine has no IPv6")


@pytest.mark.parametrize("host", ["", "nowhere.invalid", "192.0.2.1", "a..b", "x" * 70])
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(InvalidInput, match="metrics host"):
        Exporter(CollectorRegistry(), 0, host)
