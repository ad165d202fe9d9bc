"""What the page about Python shows runs as it stands, and so does what the README shows."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.keys import Keys
from parallax.consumers.engines.registry import build_engine
from parallax.services.clock import SystemClock
from tests.integration.cells import Cell

ROOT = Path(__file__).parents[2]
BLOCKS = [
    pytest.param(code, id=f"{page}:{text.count(chr(10), 0, text.index(code)) + 1}")
    for page in ("docs/python.md", "README.md")
    for text in [(ROOT / page).read_text(encoding="utf-8")]
    for code in re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
]


@pytest.mark.sampled(2)
@pytest.mark.parametrize("code", BLOCKS)
def test_a_block_runs(code: str, embedded_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARALLAX_REDIS", embedded_url)
    cell = Cell(lambda: Link.to(embedded_url), keys=Keys())
    cell.scheduler()
    cell.worker(build_engine("echo", profile="laptop", slots=None, speed=10.0, clock=SystemClock()))
    with ThreadPoolExecutor(1) as pool:
        shown = pool.submit(exec, compile(code, "<page>", "exec"), {})
        cell.until(shown.done, "the block to end")
    shown.result()
