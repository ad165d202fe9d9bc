"""docker-compose.yml: what can be known of it without an engine; each rule finds its breach."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.compose import Service, Unset, faults, interpolated, mentioned, services, settings

ROOT = Path(__file__).parents[3]
FILE, EXAMPLE = ROOT / "docker-compose.yml", ROOT / ".env.example"
SECRETS = ("REDIS_PASSWORD", "GRAFANA_PASSWORD", "PARALLAX_API_KEY")


def environment() -> dict[str, str]:
    """Return the settings of somebody who did as `.env.example` says."""
    example = settings(EXAMPLE)
    assert {name for name, value in example.items() if not value} == set(SECRETS)
    return {**example, **dict.fromkeys(SECRETS, "s3cret")}


@pytest.fixture(scope="module")
def found() -> dict[str, Service]:
    return services(FILE, environment())


def test_it_is_as_it_should_be(found: dict[str, Service]) -> None:
    assert faults(ROOT, found) == []


def test_everything_that_was_asked_for_is_there(found: dict[str, Service]) -> None:
    assert set(found) >= {
        "redis", "scheduler", "worker", "gateway", "exporter", "prometheus", "grafana",
        "dashboard", "autoscaler", "loadgen", "llama",
    }  # fmt: skip
    assert found["scheduler"]["deploy"]["replicas"] == 2
    assert {name: found[name]["profiles"] for name in ("loadgen", "llama", "autoscaler")} == {
        "autoscaler": ["autoscale"],
        "loadgen": ["load"],
        "llama": ["llama"],
    }


def test_the_server_keeps_what_it_accepted(found: dict[str, Service]) -> None:
    (script,) = found["redis"]["command"]
    for line in "maxmemory-policy noeviction", "appendonly yes", "appendfsync everysec":
        assert f"\n{line}\n" in script
    assert script.startswith("exec ")  # process 1 hears when it is told to stop
    assert "s3cret" not in script


def test_the_settings_of_the_example_are_those_of_the_file() -> None:
    text = EXAMPLE.read_text("utf-8")
    told = {line.lstrip("# ").partition("=")[0] for line in text.splitlines() if "=" in line}
    assert mentioned(FILE) - told == set()
    assert {name for name in told if name.isupper()} - mentioned(FILE) == set()


@pytest.mark.parametrize("missing", SECRETS)
def test_nothing_starts_without_secrets(missing: str) -> None:
    with pytest.raises(Unset, match=missing):
        services(FILE, {**environment(), missing: ""})


def test_variables_are_put_in_as_compose_does() -> None:
    assert interpolated("$$A ${A} ${B:-b:c} ${A:-d} ${A:?e}", {"A": "1"}) == "$A 1 b:c 1 1"
    with pytest.raises(Unset):
        interpolated("${A}", {})


BREACHES: dict[str, Callable[[Service], Any]] = {
    "is not pinned": lambda s: s.update(image="parallax:latest"),
    "is not pinned to a": lambda s: s.update(image="parallax"),
    "its root can be": lambda s: s.pop("read_only"),
    "keeps capabilities": lambda s: s.pop("cap_drop"),
    "may gain privileges": lambda s: s.pop("security_opt"),
    "runs as root": lambda s: s.update(user="0:0"),
    "shares the machine": lambda s: s.update(network_mode="host"),
    "rules the engine": lambda s: s.update(volumes=["/var/run/docker.sock:/s:ro"]),
    "memory has no limit": lambda s: s.pop("deploy"),
    "can be only one": lambda s: s.update(container_name="w"),
    "is open to others": lambda s: s.update(ports=["9090:9090"]),
    "there is no ./nowhere": lambda s: s.update(volumes=["./nowhere:/x:ro"]),
    "./ops can be written to": lambda s: s.update(volumes=["./ops:/x"]),
    "asks how it is": lambda s: s.pop("healthcheck"),
    "No such option": lambda s: s["command"].append("--nope"),
    "No such command": lambda s: s.update(command=["wroker"]),
    "PARALLAX_WORKER_ENGIEN": lambda s: s["environment"].update(PARALLAX_WORKER_ENGIEN="echo"),
    "'nope' is not one of": lambda s: s["environment"].update(PARALLAX_WORKER_ENGINE="nope"),
    "while it may drain": lambda s: s.update(stop_grace_period="60s"),
    "cannot be reached": lambda s: s.update(command=["worker", "--metrics-port", "9100"]),
}


@pytest.mark.parametrize("told", BREACHES)
def test_the_control_every_rule_finds_its_breach(found: dict[str, Service], told: str) -> None:
    service = copy.deepcopy(found["worker"])
    BREACHES[told](service)
    assert any(told in fault for fault in faults(ROOT, {"worker": service}))


@pytest.mark.skipif(find_spec("check_jsonschema") is None, reason="`make manifests` installs it")
@pytest.mark.parametrize(
    ("good", "bad"),
    [("", ""), ("service_healthy", "service_helthy"), ("profiles:", "profile:")],
    ids=["as it is", "a condition", "a key"],
)
@pytest.mark.sampled(1)
def test_it_follows_the_specification(tmp_path: Path, good: str, bad: str) -> None:
    changed = tmp_path / "docker-compose.yml"
    changed.write_text(FILE.read_text("utf-8").replace(good, bad, 1) if good else FILE.read_text())
    words = ["-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(changed)]
    done = subprocess.run([sys.executable, *words], capture_output=True, timeout=100, check=False)
    assert (done.returncode != 0) == bool(bad), done.stdout
