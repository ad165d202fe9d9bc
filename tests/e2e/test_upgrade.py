"""Processes of the previous commit beside those of this one, both ways, under load.

The cell changes hands while it works: what leads and serves is of one release and the workers of
the other, then it is the other way round. Nothing that was accepted may be lost, nor run twice.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.dead_letters import DeadLetters
from parallax.broker.store.keys import Keys
from parallax.core.lifecycle import Outcome
from parallax.core.model import Job
from parallax.producers.client.chat import chat
from parallax.producers.client.client import Client
from parallax.services.system import free_port
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(400)]

ROOT = Path(__file__).parents[2]
PACKAGES = ("parallax", "producers", "consumers")
JOBS, ASKED = 400, 30
#: Slow enough that jobs are everywhere when processes are replaced.
WORKER = ("worker", "--engine", "echo", "--speed", "5")


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tree of the commit before this one."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("this is no clone: there is no previous commit")
    archive = [git, "-C", str(ROOT), "archive", "HEAD^", *PACKAGES]
    done = subprocess.run(archive, capture_output=True, check=False, timeout=60)
    if done.returncode:
        pytest.skip("a shallow clone has no previous commit")
    folder = tmp_path_factory.mktemp("previous")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tree:
        tree.extractall(folder, filter="tar")
    return folder


@dataclass(frozen=True, slots=True)
class Release:
    """Where its code is, and the server that its processes work on."""

    tree: Path
    url: str
    home: Path

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start `parallax WORDS...` of this release."""
        return subprocess.Popen(
            [sys.executable, "-m", "parallax", *words], env=self._environment(), cwd=self.home,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def code(self) -> Path:
        """Return where its processes have their code from."""
        told = subprocess.run(
            [sys.executable, "-c", "import parallax; print(parallax.__file__)"], check=True,
            env=self._environment(), cwd=self.home, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        return Path(told.stdout.strip())

    def _environment(self) -> dict[str, str]:
        kept = {name: v for name, v in os.environ.items() if not name.startswith("PARALLAX_")}
        return kept | {"PYTHONPATH": str(self.tree), "PARALLAX_REDIS": self.url}


@pytest.fixture
def releases(previous: Path, embedded_url: str, tmp_path: Path) -> dict[str, Release]:
    here = {"old": previous, "new": ROOT}
    return {name: Release(tree, embedded_url, tmp_path) for name, tree in here.items()}


@contextmanager
def running(release: Release, *words: str) -> Iterator[None]:
    process = release.start(*words)
    try:
        yield
        assert process.poll() is None, f"{words} has ended: {process.returncode}"
    finally:
        process.terminate()
        process.wait(timeout=90)


def submit(client: Client, count: int, of: str) -> list[str]:
    """Submit jobs, half of them chats; return their ids."""
    jobs, bodies = list[Job](), dict[str, bytes]()
    for n in range(count):
        job, body = chat("Say hello", id=f"{of}-{n}", tenant=f"t{n % 3}", max_tokens=20, keep=True)
        jobs.append(job)
        bodies[job.id] = body
    assert all(receipt.accepted for receipt in client.submit(jobs, bodies=bodies))
    return [job.id for job in jobs]


def ask(port: int) -> list[int]:
    """Ask a gateway questions; return the statuses."""
    question = {
        "model": "echo", "max_tokens": 5, "messages": [{"role": "user", "content": "Say hello"}],
    }  # fmt: skip
    base = f"http://127.0.0.1:{port}"
    with httpx.Client(base_url=base, timeout=90.0, trust_env=False) as asking:
        wait_until(lambda: answers(asking), "the gateway", 60.0)
        return [
            asking.post("/v1/chat/completions", json=question).status_code for _ in range(ASKED)
        ]


def answers(asking: httpx.Client) -> bool:
    try:
        return asking.get("/health").status_code == 200
    except httpx.HTTPError:
        return False


def check(client: Client, url: str, names: Sequence[str]) -> None:
    """Assert that nothing was lost, finished twice, or not understood.

    Attempts are not counted: a worker that drains hands back, unharmed, what it has not begun.
    """
    ends = [record and record.outcome for record in client.records(names)]
    assert ends == [Outcome.COMPLETED] * len(names)
    link = Link.to(url)
    try:
        assert DeadLetters(link, Keys("main")).newest(5) == []
    finally:
        link.close()
    counts = client.counts()
    assert counts["accepted"] == counts["completed"], counts
    assert not [word for word in counts if re.search("malformed|dead|late", word)], counts


def all_ended(client: Client, names: Sequence[str]) -> Callable[[], bool]:
    return lambda: all(record and record.outcome for record in client.records(names))


def some_ended(client: Client) -> Callable[[], bool]:
    return lambda: client.counts().get("completed", 0) > JOBS // 8


@pytest.mark.parametrize(("first", "second"), [("old", "new"), ("new", "old")])
def test_a_cell_changes_hands_and_nothing_is_lost(
    first: str, second: str, releases: dict[str, Release]
) -> None:
    one, other = releases[first], releases[second]
    assert {release.code().parents[1] for release in (one, other)} == {one.tree, other.tree}
    statuses: list[int] = []
    with ExitStack() as stack:
        client = stack.enter_context(Client(one.url))
        port = free_port(0)
        leading = stack.enter_context(ExitStack())
        leading.enter_context(running(one, "scheduler", "--lease", "1"))
        leading.enter_context(running(one, "gateway", "--port", str(port)))
        working = stack.enter_context(ExitStack())
        working.enter_context(running(other, *WORKER))
        questions = threading.Thread(target=lambda: statuses.extend(ask(port)))
        questions.start()
        names = submit(client, JOBS, "before")
        wait_until(some_ended(client), "some of it to end", 90.0)
        questions.join(120.0)
        # Those who led and served go, and the others come; then so do the workers.
        stack.enter_context(running(other, "scheduler", "--lease", "1"))
        leading.close()
        names += submit(client, JOBS // 4, "between")
        stack.enter_context(running(one, *WORKER))
        working.close()
        names += submit(client, JOBS // 4, "after")
        wait_until(all_ended(client, names), "all of it to end", 120.0)
        check(client, one.url, names)
        with pytest.raises(AssertionError):  # the control: a job that is not there is found
            check(client, one.url, [*names, "never"])
    assert statuses == [200] * ASKED
