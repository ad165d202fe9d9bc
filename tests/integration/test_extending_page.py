"""The recipes of docs/extending.md work as they stand: their code comes from the page and runs."""

from __future__ import annotations

import ast
import hashlib
import importlib
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from parallax.broker.link import scripts
from parallax.broker.link.connection import Link
from parallax.broker.link.scripts import Script
from parallax.broker.store.keys import Keys
from parallax.broker.store.limits import Limits
from parallax.cli import contract
from parallax.cli.main import COMMANDS
from parallax.consumers.engines.registry import ENGINES, build_engine
from parallax.core.lifecycle import Outcome
from parallax.core.model import Job
from parallax.producers.client.client import Client
from parallax.services.clock import SystemClock
from parallax.telemetry import metrics
from parallax.telemetry.scheduling import SchedulingMetrics
from tests.contract.conftest import Cell
from tests.contract.scenes import table
from tests.integration.cells import Cell as LiveCell
from tests.unit.cli.invoking import run_main

PAGE = (Path(__file__).parents[2] / "docs" / "extending.md").read_text("utf-8")


def blocks(title: str, language: str = "python") -> list[str]:
    """Return the code blocks of one recipe, in one language."""
    (text,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


# -- what a distribution of its own may bring


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which the distribution of the page is installed."""
    folder = tmp_path_factory.mktemp("site")
    (project,) = blocks("In a distribution of your own", "ini")
    about = tomllib.loads(project)["project"]
    info, package = folder / "parallax_mine-1.0.dist-info", folder / "parallax_mine"
    info.mkdir()
    package.mkdir()
    head = f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n"
    (info / "METADATA").write_text(head)
    points = [
        f"[{group}]\n" + "".join(f"{name} = {where}\n" for name, where in named.items())
        for group, named in about["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(points))
    (package / "__init__.py").write_text("")
    modules = {"A policy": "warmest", "A trace format": "minutes", "An engine": "parrot"}
    for title, module in modules.items():
        (package / f"{module}.py").write_text(blocks(title)[0])
    return folder


@pytest.fixture
def parallax(mine: Path, tmp_path: Path) -> Callable[..., Any]:
    """Return what runs a command beside that distribution, and reads the JSON it prints."""

    def run(*arguments: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "parallax", *arguments, "--json"], cwd=tmp_path, timeout=100,
            env=os.environ | {"PYTHONPATH": str(mine)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.mark.dear
def test_a_policy_is_simulated(parallax: Callable[..., Any]) -> None:
    (page,) = parallax("policy", "show", "warmest")
    assert (page["kind"], page["source"]) == ("routing", "parallax-mine")
    figures = parallax("simulate", "chat", "--limit", "50", "--routing", "warmest")
    assert figures["jobs_completed"] == 50


@pytest.mark.dear
def test_a_trace_format_is_read(parallax: Callable[..., Any], tmp_path: Path) -> None:
    listed = {row["format"]: row["source"] for row in parallax("trace", "formats")}
    assert (listed["minutes"], listed["azure"]) == ("parallax-mine", "parallax-lb")
    (tmp_path / "load.csv").write_text("minute,asked,answered\n0,10,5\n1,20,6\n2.5,30,7\n")
    figures = parallax("trace", "stats", "load.csv")
    assert (figures["jobs"], figures["duration_s"]) == (3, 150.0)


def test_an_engine_runs_in_a_worker(
    embedded_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (module,) = blocks("An engine")
    (tmp_path / "parallax_parrot.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    assert "parrot" not in ENGINES  # what is ours has been imported
    monkeypatch.setattr(ENGINES, "_builders", dict(ENGINES._builders))
    importlib.import_module("parallax_parrot")
    engine = build_engine("parrot", profile="laptop", slots=2, speed=100.0, clock=SystemClock())
    cell = LiveCell(lambda: Link.to(embedded_url), keys=Keys())
    cell.scheduler()
    cell.worker(engine)
    job = Job("j1", "acme", 10, 20)
    with Client(embedded_url) as client, ThreadPoolExecutor(1) as pool:
        ended = pool.submit(client.run, job, b"Polly")
        cell.until(ended.done, "the answer")
    assert (ended.result().outcome, ended.result().answer) == (Outcome.COMPLETED, b"Polly")


# -- what is added here


def test_a_metric_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    row, method = blocks("A metric")
    added = eval(row, vars(metrics))  # noqa: S307 - it is our own page
    monkeypatch.setattr(metrics, "METRICS", (*metrics.METRICS, added))
    defined: dict[str, Any] = {}
    exec(method, defined)  # noqa: S102
    monkeypatch.setattr(SchedulingMetrics, "returned", defined["returned"], raising=False)
    counted: Any = SchedulingMetrics()
    counted.returned("acme")
    shown = metrics.exposition(counted.registry).decode()
    assert 'parallax_returns_total{tenant="acme"} 1.0' in shown


def test_a_script_answers_as_its_scenes_say(
    connect: Callable[[], Link], monkeypatch: pytest.MonkeyPatch
) -> None:
    (lua,), (builder, scenes) = blocks("A script", "lua"), blocks("A script")
    common = (files("parallax.broker") / "lua" / "common.lua").read_text()
    digest = hashlib.sha1((common + lua).encode(), usedforsecurity=False).hexdigest()
    monkeypatch.setattr(scripts, "script", lambda name: Script(name, common + lua, digest))
    monkeypatch.setattr(table, "SCENES", {})
    defined: dict[str, Any] = {}
    exec(builder + scenes.replace("from __future__ import annotations\n", ""), defined)  # noqa: S102
    header = re.findall(r"\(([a-z|]+)\)", lua.splitlines()[3])[0]
    assert {("note", word) for word in header.split("|")} == set(table.SCENES)
    for (_, word), stage in table.SCENES.items():
        ask = stage(Cell(connect(), Keys(f"test-{word}"), Limits()))
        assert (ask(), ask()) == (word, word)


def test_a_command_runs_and_is_documented(
    embedded_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    module, row, document = blocks("A command")
    (tmp_path / "parallax_letters.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    for name, (_, text) in ast.literal_eval(row).items():
        monkeypatch.setitem(COMMANDS, name, ("parallax_letters:letters", text))
    answer = run_main(capsys, "letters", "--redis", embedded_url, "--json")
    assert answer.document == {"cell": "main", "dead_letters": 0}
    rows = eval(document, vars(sys.modules["parallax_letters"]))  # noqa: S307
    for name, kind in rows.items():
        monkeypatch.setitem(contract.DOCUMENTS, name, kind)
    assert "| `letters` | [Letters](#letters) |" in contract.page()
