"""Rules and alerts: of metrics that exist, each alert with a section that says what to do."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ops.prometheus import files
from ops.prometheus.alerts import ALERTS, RUNBOOK, Alert
from ops.prometheus.live import COUNT, NAMED, config_text
from ops.prometheus.records import RECORDS, Record
from ops.prometheus.server import missing
from tests.unit.ops.test_grafana import unknown

ROOT = Path(__file__).parents[3]
RUNBOOK_PAGE = ROOT / "docs" / Path(RUNBOOK).name
needs_promtool = [
    pytest.mark.prometheus,
    pytest.mark.skipif(bool(missing()), reason=missing() or "it is here"),
]


def promtool(*words: str) -> subprocess.CompletedProcess[str]:
    found = shutil.which("promtool") or "promtool"
    return subprocess.run([found, *words], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_records_are_of_metrics_that_exist(record: Record) -> None:
    assert unknown(record.expr) == set()


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_is_of_metrics_that_exist_and_says_what_to_do(alert: Alert) -> None:
    assert unknown(alert.expr) == set()
    assert alert.severity in ("warning", "critical")
    assert re.fullmatch(r"[A-Z{].*\.", alert.summary)
    assert set(re.findall(r"\$labels\.(\w+)", alert.summary)) <= set(alert.labels)
    assert alert.fires != alert.silent
    headings = re.findall(r"^## (\w+)$", RUNBOOK_PAGE.read_text("utf-8"), re.MULTILINE)
    assert alert.name in headings
    assert alert.anchor in {heading.lower() for heading in headings}


def test_the_runbook_has_no_section_of_an_alert_that_is_gone() -> None:
    headings = re.findall(r"^## (Parallax\w+)$", RUNBOOK_PAGE.read_text("utf-8"), re.MULTILINE)
    assert headings == [alert.name for alert in ALERTS]


def test_the_static_configuration_has_the_ports_that_up_numbers() -> None:
    text = (files.HERE / "prometheus.yml").read_text("utf-8")
    ports = sorted(int(port) for port in re.findall(r'"127\.0\.0\.1:(\d+)"', text))
    assert ports == [*range(NAMED, NAMED + COUNT)]
    moved = config_text(30_000, 1)
    assert '"127.0.0.1:30007"' in moved
    assert ":9100" not in moved
    assert "scrape_interval: 1s" in moved


class TestWithPromtool:
    """What promtool itself says of the files."""

    pytestmark = needs_promtool

    @pytest.mark.parametrize("name", ["prometheus.yml", "prometheus.dns.yml"])
    def test_a_configuration_is_valid(self, name: str) -> None:
        found = promtool("check", "config", str(files.HERE / name))
        assert found.returncode == 0, found.stdout + found.stderr

    def test_rules_are_valid(self) -> None:
        rules = [str(files.HERE / "rules" / name) for name in ("records.yml", "alerts.yml")]
        found = promtool("check", "rules", "--lint=all", "--lint-fatal", *rules)
        assert found.returncode == 0, found.stdout + found.stderr

    @pytest.mark.dear
    def test_every_alert_fires_when_it_should_and_only_then(self) -> None:
        found = promtool("test", "rules", str(files.HERE / "rules" / "alerts_test.yml"))
        assert found.returncode == 0, found.stdout + found.stderr

    @pytest.mark.dear
    def test_a_planted_alert_that_never_fires_is_found(self, tmp_path: Path) -> None:
        for path, text in files.files().items():
            right, wrong = (f"(max by (cell) (parallax_cell_leader)) == {n}" for n in (0, 9))
            (tmp_path / path.name).write_text(text.replace(right, wrong))
        found = promtool("test", "rules", str(tmp_path / "alerts_test.yml"))
        assert found.returncode != 0
        assert "ParallaxNoLeader" in found.stdout + found.stderr
