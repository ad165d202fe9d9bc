"""However a command ends, nothing of it is left: no process, no file with data or a password."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from parallax.broker.server.home import running_server
from parallax.broker.store.keys import Keys
from parallax.producers.client.client import Client
from tests.e2e.ending import Room, room
from tests.integration.processes import ask
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(180),
    pytest.mark.skipif(sys.platform != "linux", reason="processes are counted in /proc"),
]

SLOW = ("--engine", "clock", "--engine-speed", "0.02")  # what runs takes longer than the test
#: Command -> its arguments, and how many processes it has when it is under way: with a guardian.
COMMANDS: dict[str, tuple[tuple[str, ...], int]] = {
    "demo": (("demo", "--workers", "2", "--rate", "50"), 7),
    "loadgen": (("loadgen", "--workers", "1", "--duration", "60", "--rate", "20", *SLOW), 6),
    "replay": (("replay", "trace.csv", "--workers", "1", "--speed", "0.01", *SLOW), 6),
    "verify": (("verify", "--seed", "7", "--shape", "small", "--shape", "workers=3"), 8),
    "up": (("up", "--workers", "1", *SLOW), 6),
}


@pytest.fixture
def here() -> Iterator[Room]:
    with room() as there:
        yield there


def arguments_of(command: str, here: Room) -> list[str]:
    """Return the arguments; a trace lies in the home, which is no temporary file."""
    trace = here.folder / "home" / "trace.csv"
    trace.parent.mkdir(mode=0o700)
    trace.write_text("arrival_s,prompt_tokens,output_tokens\n0,100,300\n500,100,300\n")
    return [str(trace) if word == "trace.csv" else word for word in COMMANDS[command][0]]


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_signal_leaves_no_process_and_no_file(here: Room, command: str, number: str) -> None:
    with here.start(*arguments_of(command, here)) as process:
        count = COMMANDS[command][1]
        wait_until(lambda: len(here.processes()) >= count, f"{count} processes", 60.0)
        process.send_signal(signal.Signals[number])
        out, err = process.communicate(timeout=60)
    here.await_empty()
    if number == "SIGKILL":
        return
    drained = command == "up"
    assert process.returncode == (0 if drained else 128 + signal.Signals[number]), err
    assert "Traceback" not in out + err


@pytest.mark.parametrize("command", ["up", "loadgen", "verify"])
def test_two_signals_do_not_wait_for_what_runs(here: Room, command: str) -> None:
    """A worker that has a job would drain for thirty seconds."""
    with here.start(*arguments_of(command, here)) as process:
        wait_until(lambda: len(here.processes()) >= COMMANDS[command][1], "its processes", 60.0)
        worker = _stopped_worker(here)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode in {128 + signal.SIGINT, 128 + signal.SIGTERM}
    assert worker not in here.processes()
    here.await_empty()


def _stopped_worker(here: Room) -> int:
    """Pause a worker: it can answer no signal but the last one."""
    worker = next(pid for pid, command in here.processes().items() if " worker " in command)
    os.kill(worker, signal.SIGSTOP)
    return worker


def test_a_killed_parent_takes_paused_children_along(here: Room) -> None:
    with here.start(*arguments_of("loadgen", here)) as process:
        wait_until(lambda: len(here.processes()) >= COMMANDS["loadgen"][1], "its processes", 60.0)
        _stopped_worker(here)
        process.kill()
    here.await_empty()


def test_a_signal_while_it_starts_leaves_nothing(here: Room) -> None:
    with here.start(*arguments_of("demo", here)) as process:
        wait_until(here.files, "the first file", 60.0)
        process.send_signal(signal.SIGINT)
        assert "Traceback" not in process.communicate(timeout=60)[1]
        assert process.returncode == 130
    here.await_empty()


@pytest.mark.parametrize("command", ["loadgen", "demo"])
def test_an_interrupted_load_tells_what_is_known_so_far(here: Room, command: str) -> None:
    arguments = (
        ("demo", "--workers", "2", "--rate", "50", "--json") if command == "demo" else
        ("loadgen", "--workers", "1", "--rate", "100", "--duration", "600", "--json")
    )  # fmt: skip
    with here.start(*arguments) as process:
        count = COMMANDS[command][1]
        wait_until(lambda: len(here.processes()) >= count, f"{count} processes", 60.0)
        _some_ended(here)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    told: dict[str, Any] = json.loads(out)
    assert process.returncode == 130
    assert told["interrupted"]
    assert told["kept"]
    assert told["offered_jobs"] >= told["accepted_jobs"] > 0
    assert told["outcomes"]["completed"] > 0
    assert told["accepted_jobs"] == sum(told["outcomes"].values()) + told["open_jobs"]
    assert "Traceback" not in err


def _some_ended(here: Room) -> None:
    """Wait until jobs have ended, as the server of the command tells."""
    (home,) = here.folder.glob("parallax-*")
    wait_until(lambda: running_server(home), "its server")
    found = running_server(home)
    assert found is not None
    client = Client(found.url)
    wait_until(lambda: client.counts().get("completed", 0) > 5, "some ends", 60.0)
    client.close()


def test_ctrl_c_without_a_server_still_tells_the_summary(here: Room) -> None:
    """The server of another went away in the middle of the load."""
    with here.start(*arguments_of("up", here)) as up:
        wait_until(lambda: len(here.processes()) >= COMMANDS["up"][1], "its processes", 60.0)
        with here.start("loadgen", "--rate", "50", "--duration", "600", "--json") as load:
            wait_until(lambda: _active(here), "jobs to arrive", 60.0)
            _hurried(up)
            load.send_signal(signal.SIGINT)
            out, err = load.communicate(timeout=60)
    told = json.loads(out)
    assert load.returncode == 130, err
    assert told["offered_jobs"] > 0
    here.await_empty()


def _hurried(process: subprocess.Popen[str]) -> None:
    """Send SIGINT until it has ended: of two at once a process may see only one."""
    for _ in range(60):
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=1)
            return
    pytest.fail("it did not end")


def _active(here: Room) -> bool:
    found = running_server(here.folder / "home")
    return found is not None and ask(found.url, "ZCARD", Keys("main").open) > 0


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"])
def test_a_pool_ends_with_its_command(here: Room, tmp_path: Path, number: str) -> None:
    arguments = ("compare", "chat", "--limit", "200000", "--seeds", "4", "--jobs", "2",
                 "-o", str(tmp_path / "out"))  # fmt: skip
    with here.start(*arguments) as process:
        wait_until(lambda: len(here.processes()) >= 3, "a pool of processes", 60.0)
        process.send_signal(signal.Signals[number])
        _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    wait_until(lambda: not here.processes(), f"the pool to end: {err}")
