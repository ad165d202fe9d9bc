"""What the README prints works as printed, in an empty directory beside a system that runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(400)]

BASH, PARALLAX = shutil.which("bash") or "bash", str(Path(sys.executable).parent / "parallax")
ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def block(language: str, begin: str) -> str:
    """Return the one code block that begins so."""
    fences = re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    (found,) = (text for text in fences if text.startswith(begin))
    return str(found)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reader")


@pytest.fixture(scope="module")
def environment(place: Path) -> dict[str, str]:
    """Return a reader's environment; simulations are of fewer jobs than they would be."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PARALLAX_")}
    return kept | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PARALLAX_HOME": str(place / "home"),
        "PARALLAX_SIMULATE_LIMIT": "300",
        "PARALLAX_COMPARE_LIMIT": "300",
    }


@pytest.fixture(scope="module", autouse=True)
def system(place: Path, environment: dict[str, str]) -> Iterator[None]:
    """Keep what the README starts in the first terminal."""
    words = block("sh", "parallax up").partition("#")[0].split()
    with (place / "up.log").open("wb") as log:
        running = subprocess.Popen(words, cwd=place, env=environment, stdout=log, stderr=log)
        try:
            wait_until(
                lambda: b"Parallax is up" in (place / "up.log").read_bytes(), "it is up", 60.0
            )
            yield
        finally:
            running.terminate()
            running.wait(timeout=60)


def typed(text: str, place: Path, environment: dict[str, str]) -> str:
    """Type a block into a shell; every line must succeed."""
    done = subprocess.run(
        [BASH, "-euo", "pipefail", "-c", text], cwd=place, env=environment, capture_output=True,
        text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]
    return done.stdout


def test_the_first_question(place: Path, environment: dict[str, str]) -> None:
    shown = typed(block("sh", 'parallax submit "Say hello" --stream'), place, environment)
    assert shown == block("text", "Say hello")


def test_an_answer_is_kept(place: Path, environment: dict[str, str]) -> None:
    shown = typed(block("sh", 'parallax submit "Say hello" --detach'), place, environment)
    assert shown == "greeting accepted\n" + " ".join(["Say hello"] * 32) + "\n"


def test_the_second_terminal(place: Path, environment: dict[str, str]) -> None:
    shown = typed(block("sh", "parallax submit --prompt-tokens"), place, environment)
    assert "completed" in shown
    assert re.search(r"^acme +4 ", shown, re.MULTILINE), "the load is shown with the weight set"
    assert shown.splitlines()[-1].startswith("redis://")


def test_jobs_come_through_a_pipe(place: Path, environment: dict[str, str]) -> None:
    shown = typed(block("sh", "printf"), place, environment)
    assert shown.count('"state": "completed"') == 2
    assert '"text": "Say hello Say hello"' in shown


def test_completion(place: Path, environment: dict[str, str]) -> None:
    typed(block("sh", "eval"), place, environment)
    words = {"COMP_WORDS": "parallax up --routing power", "COMP_CWORD": "3"}
    offered = subprocess.run(
        [PARALLAX], env=environment | words | {"_PARALLAX_COMPLETE": "bash_complete"},
        capture_output=True, text=True, timeout=60, check=False, cwd=place,
    )  # fmt: skip
    assert offered.stdout == "plain,power_of_two\n"


def test_the_laboratory(place: Path, environment: dict[str, str]) -> None:
    typed(block("sh", "parallax simulate"), place, environment)
    assert (place / "report.html").exists()


def test_python(place: Path, environment: dict[str, str]) -> None:
    (place / "script.py").write_text(block("python", "from parallax"))
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=place, env=environment, capture_output=True, text=True,
        timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(" completed Say hello Say hello\n")
