"""Every command that the documents show is run, or a reason stands beside it (`tests/shown.py`).

Here those that end by themselves: page by page, beside a cell that lives. Those that serve until
they are told to end are started by `tests/e2e/test_shown_services.py`.
"""

from __future__ import annotations

import logging
import os
import re
import shlex
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.broker.store.results import Results
from parallax.consumers.engines.registry import build_engine
from parallax.services.clock import SystemClock
from tests import shown
from tests.integration.cells import Cell, job
from tests.shown import How, Line
from tests.unit.cli.invoking import run_main
from tests.waiting import wait_until

#: The same commands, smaller: what is shown would take minutes.
SMALLER = (("--duration 20", "--duration 1"), ("--duration 60", "--duration 1"))
LIMITS = {
    "PARALLAX_SIMULATE_LIMIT": "60", "PARALLAX_COMPARE_LIMIT": "20", "PARALLAX_COMPARE_JOBS": "1",
}  # fmt: skip
#: Exit codes other than 0, by what is shown.
CODES = {
    # There is no replica here, and that is said.
    "docs/operations.md: parallax submit --durability replicated --id question-2 --prompt-tokens "
    "300 --max-tokens 80 --detach": {1},
    "docs/operations.md: parallax get --as bob question-1": {1},
    # What the page is about, and not what a test's server is.
    "docs/operations.md: parallax explain JOB": {0, 1},  # it tells of some of the last
    "docs/operations.md: parallax doctor": {0, 1},
    "docs/operations.md: parallax doctor --cell blue": {0, 1},
}
RUN = [line for line in shown.lines() if shown.how(line) is How.HERE]
TRAVELLERS = "traveller"


@dataclass(slots=True)
class Cells:
    """Cells of one server that a thread turns, each with some work again and again."""

    url: str
    over: threading.Event = field(default_factory=threading.Event)
    failed: list[BaseException] = field(default_factory=list)

    def live(self) -> None:
        """Take turns until it is over."""
        try:
            self._live([self._cell(name) for name in ("main", "a", "b")])
        except BaseException as error:  # noqa: BLE001 - the test's own thread raises it
            self.failed.append(error)

    def _live(self, cells: list[Cell]) -> None:
        for turn in count():
            for cell in cells:
                if turn % 8 == 0:
                    cell.submit(job(f"{TRAVELLERS}-{turn}"))
                cell.turn()
            if self.over.wait(0.002):
                break
        for cell in cells:
            for scheduler in cell.schedulers:
                scheduler.close()
            for worker in cell.workers:
                worker.close()

    def _cell(self, name: str) -> Cell:
        cell = Cell(lambda: Link.to(self.url), keys=Keys(name))
        cell.scheduler()
        for models in ((), ("qwen",)):
            engine = build_engine(
                "echo", profile="laptop", slots=None, speed=20.0, clock=SystemClock()
            )
            cell.worker(engine, models=models)
        return cell


def is_whole(url: str) -> bool:
    """Whether every cell has its leader and both workers."""
    link = Link.to(url)
    try:
        every = [Keys(name) for name in ("main", "a", "b")]
        asked = [command for keys in every
                 for command in (("EXISTS", keys.leader), ("HLEN", keys.workers))]  # fmt: skip
        return link.calls(asked) == [1, 2] * len(every)
    finally:
        link.close()


@pytest.fixture
def cells(embedded_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cells]:
    """Return living cells; the test is in an empty directory, with nothing of the caller's."""
    for name in [name for name in os.environ if name.startswith("PARALLAX_")]:
        monkeypatch.delenv(name)
    for name, value in {**LIMITS, "PARALLAX_REDIS": embedded_url}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PARALLAX_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ACME_KEY", f"plx-{'0' * 12}-{'k' * 43}")
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    living = Cells(embedded_url)
    thread = threading.Thread(target=living.live)
    thread.start()
    try:
        wait_until(lambda: is_whole(embedded_url), "leaders and workers to be there", 30.0)
        yield living
    finally:
        living.over.set()
        thread.join(30.0)
        root.handlers[:] = handlers
        root.setLevel(level)
    assert not living.failed, living.failed


def prepared(line: Line, url: str) -> list[str]:
    """Return the words of a call, with names of this test in place of those of the page."""
    text = line.text.replace("submit --tenant acme ...", "submit --tenant acme --prompt-tokens 9 "
                             "--max-tokens 4")  # fmt: skip
    for long, short in SMALLER:
        text = text.replace(long, short)
    if "--answer" in text:  # the line before it waits, in a shell
        _await_end("greeting", url)
    if "JOB" in text:
        text = text.replace("JOB", _known_job(line, url))
    return shlex.split(text.removeprefix("parallax "))


def _await_end(job_id: str, url: str) -> None:
    link = Link.to(url)
    results = Results(link, Keys("main"))

    def ended() -> bool:
        (record,) = results.records([job_id])
        return record is not None and record.outcome is not None

    wait_until(ended, f"{job_id} to end")
    link.close()


def _known_job(line: Line, url: str) -> str:
    """Return the id of a job such as the line is about."""
    if "--record" in line.text:
        found: list[str] = re.findall(rf"{TRAVELLERS}-\d+", Path("run.jsonl").read_text())
        return found[-1]
    link, keys = Link.to(url), Keys("main")
    try:
        if " dead " in line.text:
            why = ("why", "attempts used up", "sample", "")
            link.call("XADD", keys.dead, "*", "job", f"{TRAVELLERS}-0", *why)
            return f"{TRAVELLERS}-0"
        if " explain " in line.text:
            return _told_job(link, keys)
    finally:
        link.close()
    return f"{TRAVELLERS}-0"


def _told_job(link: Link, keys: Keys) -> str:
    """Return the id of a job of which the leader tells where it sent it, and why."""
    found: list[str] = []

    def told() -> bool:
        text = (link.call("GET", keys.figures) or b"").decode("utf-8", "replace")
        found.extend(re.findall(rf"{TRAVELLERS}-\d+", text.partition('"decisions"')[2]))
        return bool(found)

    wait_until(told, "the leader to tell of a job", 30.0)
    return found[-1]


def run_page(
    page: str, lines: list[Line], url: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for line in lines:
        if line.text == "parallax cells" and page == "docs/operations.md":
            monkeypatch.setenv("PARALLAX_CELLS", f"a={url},b={url}")
        if line.text.startswith("parallax policy"):
            monkeypatch.delenv("PARALLAX_CELLS", raising=False)
        answer = run_main(capsys, *prepared(line, url))
        assert answer.code in CODES.get(line.named, {0}), f"{line.named}\n{answer.out}{answer.err}"


@pytest.mark.dear
@pytest.mark.parametrize("page", dict.fromkeys(line.page for line in RUN))
def test_what_a_page_shows_is_run(
    page: str, cells: Cells, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_page(page, [line for line in RUN if line.page == page], cells.url, capsys, monkeypatch)


def test_the_control_a_command_that_fails_is_told(
    cells: Cells, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = [Line("README.md", "parallax get nobody")]
    with pytest.raises(AssertionError, match=r"README\.md: parallax get nobody"):
        run_page("README.md", wrong, cells.url, capsys, monkeypatch)


# -- nothing is left out


@pytest.mark.parametrize("line", shown.lines(), ids=lambda line: line.named[:70])
def test_every_line_is_run_somehow(line: Line) -> None:
    assert shown.how(line) is not None, f"{line.named}: who runs it? See tests/shown.py"


def test_the_control_a_line_that_nobody_runs_is_found() -> None:
    assert shown.how(Line("README.md", "helm install parallax")) is None


def test_no_command_hides_in_a_block_of_another_kind() -> None:
    assert shown.unmarked() == []


@pytest.mark.parametrize("pattern", shown.NOT_RUN)
def test_no_reason_outlives_its_line(pattern: str) -> None:
    assert any(re.match(pattern, line.named) for line in shown.lines())
    assert shown.NOT_RUN[pattern]


def test_every_target_is_made_or_has_a_reason() -> None:
    asked = {
        target
        for line in shown.lines()
        if shown.how(line) is How.MAKE
        for target in shown.targets(line)
    }
    made = set(re.findall(r"^\s*(?:if .*; then )?(?:timeout \d+ )?make ([\w-]+)", CI, re.MULTILINE))
    made |= {"compiled"}  # `test-compiled` is made of it
    assert {one for one in asked - made if not one.startswith("bench-")} == set(shown.NOT_MADE)
    assert len(made) > 8


CI = (shown.ROOT / ".ci" / "run").read_text("utf-8")


def test_blocks_of_python_are_on_pages_whose_blocks_are_run() -> None:
    run = {"docs/python.md", "README.md", "docs/gateway.md", "docs/extending.md"}
    having = {name for name, page in shown.PAGES.items() if "\n```python\n" in page.read_text()}
    assert having <= run
