"""A short drill: every fault that ends at once or soon, and every promise."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


def verify(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "parallax", "verify", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)


def test_a_short_drill_keeps_every_promise(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    done = verify(
        "--seed", "5", "--duration", "8", "--pause", "0.3", "--json", "-o", str(page)
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    document = json.loads(done.stdout)
    assert document["violations"] == 0
    assert document["accepted jobs"] > 300
    assert document["faults"] > 5
    assert "| all |" in page.read_text()


def test_an_unknown_fault_is_refused() -> None:
    done = verify("--fault", "earthquake")
    assert done.returncode == 2
    assert "known: kill a worker" in done.stderr
