"""Where it must run: as process 1, in two containers, without a home, without Redis at the end."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from parallax.broker.server.embedded import EmbeddedServer
from parallax.broker.server.home import running_server
from parallax.broker.store.keys import Keys
from parallax.core.model import Job
from parallax.producers.client.client import Client
from parallax.services.clock import SystemClock
from tests.e2e.ending import MARK, Command, Room, room
from tests.integration.processes import ask
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(180),
    pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's"),
]

PARALLAX = [sys.executable, "-m", "parallax"]
ROOT = Path(__file__).parents[2]
APART = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
SHELL = "/bin/sh"
MOUNTING = ["unshare", "-m", SHELL, "-c"]
STRANGER = ["setpriv", "--reuid", "54321", "--clear-groups"]


def works(*command: str) -> bool:
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, capture_output=True, check=False, cwd="/").returncode == 0


needs_namespaces = pytest.mark.skipif(
    not works(*APART, "true"), reason="`unshare --pid` needs root: it is not allowed here"
)


@pytest.fixture
def here() -> Iterator[Room]:
    with room() as there:
        yield there


def apart(here: Room, *arguments: str, **more: str) -> subprocess.Popen[str]:
    """Start `parallax` as process 1 of a namespace of its own."""
    return Command(
        [*APART, *PARALLAX, *arguments], env=here.environment(**more), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip


def first_of(here: Room, word: str) -> int:
    """Return the id, as seen from outside, of the process with this command."""
    named = [pid for pid, told in here.processes().items() if f"-m parallax {word}" in told]
    return next(pid for pid in sorted(named) if "unshare" not in here.processes()[pid])


@needs_namespaces
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_as_process_1_it_serves_and_ends_in_good_order(here: Room, number: int) -> None:
    with apart(here, "up", "--workers", "1", "--engine", "noop") as process:
        wait_until(lambda: running_server(here.folder / "home"), "the server", 60.0)
        found = running_server(here.folder / "home")
        assert found is not None
        client = Client(found.url)
        client.submit([Job("j", "t", 10, 10, output_tokens=2)])
        wait_until(lambda: client.counts().get("completed"), "the job to end", 60.0)
        client.close()
        os.kill(first_of(here, "up"), number)
        out, err = process.communicate(timeout=60)
    assert "draining" in out, err
    assert process.returncode == 0
    here.await_empty()


@needs_namespaces
def test_what_a_stopped_container_leaves_goes_at_the_next_start(here: Room) -> None:
    """Its processes are all killed at once, those that clear away too."""
    with apart(here, "demo", "--workers", "2") as process:
        wait_until(
            lambda: any(" worker " in told for told in here.processes().values()), "work", 60
        )
        guardian = next(pid for pid, told in here.processes().items() if "aftermath" in told)
        os.kill(guardian, signal.SIGSTOP)  # or it may be faster than the end of its container
        process.kill()
    wait_until(lambda: not here.processes(), "all to be gone")
    left = here.files()
    assert [name for name in left if name.startswith("parallax-")]
    with here.start("loadgen", "--workers", "1", "--rate", "5", "--duration", "0.5",
                    "--engine", "noop") as after:  # fmt: skip
        after.communicate(timeout=90)
    here.await_empty()


@needs_namespaces
def test_of_two_schedulers_that_are_process_1_on_one_host_one_leads(here: Room) -> None:
    with EmbeddedServer(SystemClock(), ephemeral=True) as server:
        assert server.info is not None
        url, seen = server.info.url, set()
        more = {"PARALLAX_REDIS": url, "PARALLAX_SCHEDULER_LEASE": "2"}
        with apart(here, "scheduler", **more) as one, apart(here, "scheduler", **more) as two:
            for _ in range(2):
                wait_until(lambda: ask(url, "GET", Keys("main").leader), "a leader", 60.0)
                seen.add(ask(url, "GET", Keys("main").leader))
            wait_until(lambda: len(_led(one, two, here)) == 2, "both to run", 60.0)
            epochs = {token.rpartition(b"|")[2] for token in seen}
            assert len(epochs) == 1
            for pid in _led(one, two, here):
                wait_until(partial(_hears, pid, signal.SIGTERM), "it to hear signals", 60.0)
                os.kill(pid, signal.SIGTERM)
            errors = [process.communicate(timeout=60)[1] for process in (one, two)]
        assert sum("leading with epoch" in told for told in errors) >= 1
        assert sum(told.count("leading with epoch") for told in errors) <= 2


def _hears(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler: process 1 of a container hears no other signals."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (caught,) = (line.split()[1] for line in lines if line.startswith("SigCgt:"))
    return bool(int(caught, 16) >> (number - 1) & 1)


def _led(
    one: subprocess.Popen[str], two: subprocess.Popen[str], here: Room
) -> list[int]:  # fmt: skip
    running = here.processes()
    own = {one.pid, two.pid}
    return [p for p, told in running.items() if "parallax scheduler" in told and p not in own]


@pytest.mark.skipif(
    not works(*STRANGER, "env", f"PYTHONPATH={ROOT}", *PARALLAX, "version"),
    reason="`setpriv` needs root, and an interpreter that other users can read",
)
def test_a_user_without_a_home_gets_a_sentence() -> None:
    done = subprocess.run(
        [*STRANGER, "env", "-u", "HOME", "-u", "PARALLAX_HOME", f"PYTHONPATH={ROOT}", *PARALLAX,
         "status"],
        capture_output=True, text=True, check=False, cwd="/", timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("parallax: home: ")
    assert "no home directory" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", ["status", "policy list", "simulate chat --limit 5"])
def test_a_deleted_working_directory_is_not_needed(here: Room, arguments: str) -> None:
    gone = here.folder / "home" / "gone"
    gone.mkdir(parents=True)
    command = f"cd {gone} && rmdir {gone} && exec {shlex.join(PARALLAX)} {arguments}"
    done = subprocess.run(
        [SHELL, "-c", command], env=here.environment(), capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == (4 if arguments == "status" else 0)
    assert "Traceback" not in done.stderr


def test_a_load_from_a_deleted_working_directory_runs(here: Room) -> None:
    """Its processes start there too."""
    gone = here.folder / "home" / "gone"
    gone.mkdir(parents=True)
    load = "loadgen --workers 1 --rate 20 --duration 1 --engine noop"
    command = f"cd {gone} && rmdir {gone} && exec {shlex.join(PARALLAX)} {load}"
    done = subprocess.run(
        [SHELL, "-c", command], env=here.environment(), capture_output=True, text=True, check=False,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    here.await_empty()


READ_ONLY = f"""
mount --make-rprivate / && mount --bind "$HERE" /mnt && mount -o remount,bind,ro / || exit 99
cd / && exec {shlex.join(PARALLAX)} up --home /mnt/home --workers 1 --engine noop
"""


@pytest.mark.skipif(
    not works(*MOUNTING, "mount --make-rprivate / && mount --bind /tmp /mnt"),
    reason="mounting needs root: it is not allowed here",
)
def test_one_writable_directory_is_enough(here: Room) -> None:
    """A read-only root, and no temporary directory."""
    environment = {**here.environment(), "HERE": str(here.folder), MARK: here.mark}
    del environment["TMPDIR"]
    with subprocess.Popen(
        [*MOUNTING, READ_ONLY], env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        line = process.stdout.readline()
        process.terminate()
        _, err = process.communicate(timeout=60)
        if process.returncode == 99:
            pytest.skip("the root cannot be made read-only here")
    assert "Parallax is up" in line, err
    assert process.returncode == 0
    assert not list((here.folder / "home").glob("plx-*"))


# -- a store that is gone -------------------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_whose_redis_is_gone_ends_at_its_deadline(here: Room, how: int) -> None:
    """With a job that would run for minutes, and two seconds to drain."""
    with EmbeddedServer(SystemClock(), ephemeral=True) as server:
        assert server.info is not None
        more = {"PARALLAX_REDIS": server.info.tcp_url}
        with (
            here.start("scheduler", **more) as scheduler,
            here.start(
                "worker", "--drain", "2", "--engine", "clock", "--speed", "0.001", **more
            ) as worker,
        ):
            client = Client(server.info.url)
            client.submit([Job("j", "t", 200, 400, output_tokens=300)])
            wait_until(lambda: _running(client, "j"), "the job to run", 60.0)
            client.close()
            os.kill(server.info.pid, how)
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(timeout=30) == 0  # in 5 s, on a machine that is not busy
            scheduler.send_signal(signal.SIGTERM)
            assert scheduler.wait(timeout=60) == 0
            if how == signal.SIGSTOP:
                os.kill(server.info.pid, signal.SIGCONT)
            worker.communicate()
            scheduler.communicate()


def _running(client: Client, job: str) -> bool:
    (record,) = client.records([job])
    return record is not None and record.state == "running"


# -- a directory of a stranger's ------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_up_in_a_strangers_directory_removes_nothing_of_ours(here: Room, mode: int) -> None:
    """With settings that make it the home, and a file that says where the last server was."""
    foreign, precious = here.folder / "home", here.folder / "home" / "precious"
    foreign.mkdir(mode=0o755)
    precious.write_text("mine")
    told = {
        "url": f"unix://:x@{precious}?db=0", "tcp_url": "redis://:x@127.0.0.1:1/0", "pid": 1,
        "version": "9.0.0", "data_dir": str(foreign), "durability": "always",
    }  # fmt: skip
    (foreign / "server.json").write_text(json.dumps(told))
    (foreign / "server.json").chmod(mode)
    (foreign / "parallax.toml").write_text('home = "."\n')
    environment = here.environment()
    del environment["PARALLAX_HOME"]
    with subprocess.Popen(
        [*PARALLAX, "up", "--workers", "1", "--engine", "noop"], env=environment, cwd=foreign,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        line = process.stdout.readline()
        process.terminate()
        _, err = process.communicate(timeout=60)
    assert process.returncode == (0 if mode == 0o600 else 2), err
    assert ("Parallax is up" in line) == (mode == 0o600)
    assert precious.read_text() == "mine"
    assert foreign.stat().st_mode & 0o777 == 0o755
    here.await_empty()
