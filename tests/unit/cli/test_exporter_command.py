"""`parallax exporter`: what it refuses before it serves anything."""

from __future__ import annotations

import pytest

from tests.unit.cli.invoking import Run


@pytest.mark.parametrize("wrong", ["0", "-1", "nan", "1e9"])
def test_an_interval_that_is_none_is_refused(run: Run, embedded_url: str, wrong: str) -> None:
    answer = run("exporter", "--redis", embedded_url, "--every", wrong)
    assert answer.code == 2
    assert "--every" in answer.err
    assert answer.out == ""


def test_it_needs_a_server(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARALLAX_HOME", "/nonexistent/parallax")
    answer = run("exporter")
    assert answer.code == 4
    assert "parallax up" in answer.err
