"""A guardian ends and removes what its owner left, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from parallax.broker.server import aftermath
from parallax.broker.server.guardian import Guardian
from tests.integration.processes import is_gone
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]

OWNER = """
import subprocess, sys, threading
from pathlib import Path
from parallax.broker.server.guardian import Guardian
guardian = Guardian()
ignoring = [
    "import signal, threading",
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
    "print(1, flush=True)",
    "threading.Event().wait()",
]
child = subprocess.Popen([sys.executable, "-c", "\\n".join(ignoring)], stdout=subprocess.PIPE)
child.stdout.readline()
guardian.watch(child.pid, 0.1)
guardian.keep(Path(sys.argv[1]))
guardian.keep(Path(sys.argv[2]))
guardian.spare(Path(sys.argv[2]))
print(child.pid, guardian._process.pid, flush=True)
threading.Event().wait()
"""

Owned = tuple[subprocess.Popen[str], int, int]


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owned]:
    """Start a process with a child that ignores SIGTERM; return it, the child and the guardian."""
    for name in ("kept", "spared"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    command = [sys.executable, "-c", OWNER, str(tmp_path / "kept"), str(tmp_path / "spared")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        child, guardian = (int(pid) for pid in process.stdout.readline().split())
        yield process, child, guardian
        process.kill()
    for pid in (child, guardian):
        aftermath.signalled(pid, signal.SIGKILL)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("paused", [False, True])
def test_a_killed_owner_leaves_nothing(owner: Owned, tmp_path: Path, paused: bool) -> None:
    process, child, guardian = owner
    if paused:
        os.kill(child, signal.SIGSTOP)
    process.kill()
    wait_until(lambda: is_gone(child), "the child to end")
    wait_until(lambda: is_gone(guardian), "the guardian to end")
    assert not (tmp_path / "kept").exists()
    assert (tmp_path / "spared" / "file").exists()


@pytest.mark.sampled(1)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_to_the_whole_group_do_not_stop_it(
    owner: Owned, tmp_path: Path, number: signal.Signals
) -> None:
    process, child, guardian = owner
    os.kill(guardian, number)
    process.kill()
    wait_until(lambda: is_gone(child) and is_gone(guardian), "both to end")
    assert not (tmp_path / "kept").exists()


def test_the_control_without_a_guardian_the_child_stays(owner: Owned, tmp_path: Path) -> None:
    process, child, guardian = owner
    os.kill(guardian, signal.SIGKILL)
    wait_until(lambda: is_gone(guardian), "the guardian to end")
    process.kill()
    process.wait()
    assert not is_gone(child)
    assert (tmp_path / "kept").exists()


def test_one_that_was_killed_is_replaced_and_knows_everything(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    guardian = Guardian()
    guardian.keep(folders[0])
    assert guardian._process is not None
    guardian._process.kill()
    guardian._process.wait()
    guardian.keep(folders[1])
    second = guardian._process
    assert second.stdin is not None
    second.stdin.close()  # as if we had been killed
    assert second.wait(20) == 0
    assert [folder.exists() for folder in folders] == [False, False]
    guardian._process = None


def test_an_owner_that_ends_in_good_order_is_cleared_of_nothing(tmp_path: Path) -> None:
    guardian = Guardian()
    guardian.keep(tmp_path)
    process = guardian._process
    guardian.close()
    guardian.close()
    assert process is not None
    assert process.poll() == 0
    assert tmp_path.exists()


def test_a_later_process_of_the_same_id_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    left = aftermath.Left()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        left.note({"pid": other.pid, "grace_s": 0.0})
        left.processes[other.pid] = ("an earlier start", 0.0)
        left.clear_away()
        assert other.poll() is None
        other.kill()


def test_a_line_that_was_cut_is_no_order(tmp_path: Path) -> None:
    aftermath.wait_and_clear([f'{{"folder": "{tmp_path}"}}\n', '{"fold'])
    assert not tmp_path.exists()


def test_a_process_that_is_forgotten_is_left_alone() -> None:
    left = aftermath.Left()
    left.note({"pid": os.getpid(), "grace_s": 0.0})
    left.note({"forget": os.getpid()})
    left.clear_away()  # or this test would not end
