"""What the page about the gateway shows runs, and what it lists is what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from parallax.core.reasons import Reason
from parallax.producers.gateway import meaning
from parallax.producers.gateway.problems import Code
from parallax.producers.gateway.settings import GatewaySettings
from tests.integration.gateways import a_cell, echoing, fronted

PAGE = (Path(__file__).parents[2] / "docs" / "gateway.md").read_text("utf-8")
ADDRESS = "http://127.0.0.1:8080"
HEADERS = [
    *meaning.TENANT_HEADERS, *meaning.CLASS_HEADERS, *meaning.TTFT_HEADERS,
    *meaning.SESSION_HEADERS, meaning.PRIORITY_HEADER, meaning.DEADLINE_HEADER,
    meaning.READ_TIMEOUT_HEADER,
]  # fmt: skip


@pytest.mark.openai_sdk
@pytest.mark.parametrize(
    "code", re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
)
def test_a_block_runs(code: str, embedded_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("openai")
    assert ADDRESS in code
    with fronted(embedded_url, a_cell(embedded_url, echoing()), GatewaySettings()) as front:
        exec(compile(code.replace(ADDRESS, front.base), "<page>", "exec"), {})  # noqa: S102
    said = "Say hello Say hello Say hello"
    assert capsys.readouterr().out == f"{said}\n{said}"


@pytest.mark.parametrize("word", [*Code, *Reason], ids=str)
def test_every_code_is_listed(word: str) -> None:
    assert re.search(rf"^\| [0-9, ]+ \|.*`{word}`", PAGE, re.MULTILINE)


@pytest.mark.parametrize("header", HEADERS)
def test_every_header_is_listed(header: str) -> None:
    assert f"`{header}`" in PAGE
