"""Containers of a Compose service, through a `docker` that only takes notes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from parallax.core.errors import InvalidInput
from parallax.services.capacity.compose import ComposeCapacity
from parallax.services.capacity.interface import CapacityFault

DOCKER = """#!{python}
import json, pathlib, sys
here, told = pathlib.Path({here!r}), sys.argv[1:]
with (here / "told").open("a") as notes:
    notes.write(json.dumps(told) + "\\n")
count = here / "count"
if (here / "broken").exists():
    sys.exit("no such service")
if "ps" in told:
    print("\\n".join("c%d" % n for n in range(int(count.read_text()))))
for one in told:
    if "=" in one:
        count.write_text(one.partition("=")[2])
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    docker = tmp_path / "docker"
    docker.write_text(DOCKER.format(python=sys.executable, here=str(tmp_path)))
    docker.chmod(0o755)
    (tmp_path / "count").write_text("2")
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def told(here: Path) -> list[list[str]]:
    return [json.loads(line) for line in (here / "told").read_text().splitlines()]


def test_the_number_of_containers_is_changed_by_up_scale(here: Path) -> None:
    capacity = ComposeCapacity("worker", Path("a b.yml"), "cell1")
    assert capacity.size() == 2
    capacity.start(3)
    assert capacity.size() == 5
    capacity.drain(["w1-00ff00", "w2-00ff00"])
    assert capacity.size() == 3
    up = next(words for words in told(here) if "up" in words)
    assert up[:5] == ["compose", "--file", "a b.yml", "--project-name", "cell1"]
    assert up[-3:] == ["--scale", "worker=5", "worker"]
    assert "--no-recreate" in up


def test_a_failure_says_what_docker_said(here: Path) -> None:
    (here / "broken").touch()
    with pytest.raises(CapacityFault, match="no such service"):
        ComposeCapacity("worker").size()


def test_without_docker_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CapacityFault, match="no `docker`"):
        ComposeCapacity("worker")


@pytest.mark.parametrize("service", ["", "--help", "a b", "x=1"])
def test_a_service_that_could_be_an_option_is_refused(here: Path, service: str) -> None:
    with pytest.raises(InvalidInput, match="--target"):
        ComposeCapacity(service)
