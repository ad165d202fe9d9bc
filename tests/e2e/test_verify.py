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
        "--seed", "5", "--duration", "8", "--pause", "0.3", "--shape", "small", "--json",
        "-o", str(page),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    document = json.loads(done.stdout)
    assert document["violations"] == 0
    assert document["accepted_jobs"] > 300
    assert document["faults"] > 5
    assert "| all |" in page.read_text()
    assert "| 5 | small |" in page.read_text()


def test_a_short_drill_in_another_shape_keeps_every_promise(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    shape = ("workers=12", "tenants=300", "rtt_ms=2", "body_bytes=20000", "prefix=500",
             "cancels=0.2", "weights=60")  # fmt: skip
    pinned = [word for value in ("small", *shape) for word in ("--shape", value)]
    done = verify("--seed", "7", "--duration", "8", "--pause", "0.5", *pinned, "--json",
                  "-o", str(page))  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    document = json.loads(done.stdout)
    assert document["violations"] == 0
    assert document["bodies_checked"] > 10
    assert "tenants=300 workers=12 rtt_ms=2" in page.read_text()


def test_an_unknown_shape_is_refused() -> None:
    done = verify("--shape", "enormous")
    assert done.returncode == 2
    assert "known: small, wide" in done.stderr


def test_an_unknown_fault_is_refused() -> None:
    done = verify("--fault", "earthquake")
    assert done.returncode == 2
    assert "known: kill a worker" in done.stderr
