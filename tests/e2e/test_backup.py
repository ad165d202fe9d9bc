"""The commands of the page about backups, typed: a server is lost, and its copy goes on."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from parallax.core.model import Job
from parallax.producers.client.client import Client
from parallax.services.system import free_port
from tests.e2e.test_failover import lost, working
from tests.sentinels import Watched
from tests.servers import EMBEDDED, all_are_wanted

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text("utf-8")
BASH = shutil.which("bash") or "bash"


def blocks() -> tuple[str, str]:
    """Return what is typed to save a server, and to start from that."""
    (section,) = re.findall(r"^## Backup\n(.*?)(?=^## )", PAGE, re.MULTILINE | re.DOTALL)
    save, start = re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return save, start


def typed(text: str, folder: Path, url: str) -> None:
    done = subprocess.run(
        [BASH, "-euo", "pipefail", "-c", text], cwd=folder, timeout=90, check=False, text=True,
        env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "PARALLAX_REDIS": url},
        capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def submitted(client: Client, *names: str) -> set[str]:
    jobs = [Job(name, "acme", prompt_tokens=10, max_tokens=5) for name in names]
    assert all(receipt.accepted for receipt in client.submit(jobs))
    return set(names)


def test_what_was_saved_goes_on(tmp_path: Path) -> None:
    if shutil.which("redis-cli") is None and not all_are_wanted():
        pytest.skip("redis-cli is not here: `make servers`")
    (tmp_path / "redis-server").symlink_to(EMBEDDED.path())
    save, start = blocks()
    port = free_port(0)
    with Watched() as watched:
        url = watched.primary.url
        with Client(url) as client:
            with working(url):
                ended = submitted(client, "a", "b")
                assert not lost(url, ended)
            waiting = submitted(client, *(f"w{n}" for n in range(50)))
            typed(save, tmp_path, url)
            later = submitted(client, "later")
        watched.primary.send(signal.SIGKILL)
    restored = f"redis://127.0.0.1:{port}"
    try:
        typed(start.replace("6390", str(port)), tmp_path, url)
        with working(restored):
            assert lost(restored, ended | waiting | later) == later, "the rest has ended"
        with Client(restored) as client:
            assert client.submit(Job("later", "acme", prompt_tokens=10, max_tokens=5)).accepted
    finally:
        end(port)


def end(port: int) -> None:
    """End the server that the page started behind our back."""
    command = ["redis-cli", "-p", str(port), "shutdown", "nosave"]
    subprocess.run(command, capture_output=True, check=False, timeout=30)
