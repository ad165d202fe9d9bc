"""The data directory: one owner, whatever is killed, and many who attach."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from parallax.broker.server import home as home_module
from parallax.broker.server.embedded import EmbeddedServer, data_home, running_server, socket_path
from parallax.core.errors import Conflict, InvalidInput
from parallax.services.clock import SystemClock
from tests.integration.processes import ask, children_of, is_gone
from tests.waiting import wait_until

linux = pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")

# -- an owner that is killed -----------------------------------------------------------------------


@pytest.mark.dear
@linux
def test_killing_the_owner_ends_the_server(owner: tuple[subprocess.Popen[str], int]) -> None:
    process, pid = owner
    assert not is_gone(pid)
    process.kill()
    wait_until(lambda: is_gone(pid), "the server of the killed owner to end")


@pytest.mark.dear
@linux
def test_the_next_owner_waits_for_the_last_server(
    owner: tuple[subprocess.Popen[str], int], make: Callable[..., EmbeddedServer], tmp_path: Path
) -> None:
    """Two servers on one append-only file would destroy it."""
    process, pid = owner
    seen = running_server(tmp_path / "data")
    assert seen is not None
    assert socket_path(seen).exists()
    ask(seen.url, "SET", "key", "value")
    process.kill()
    process.wait()
    info = make().start()
    wait_until(lambda: is_gone(pid), "the last server's process to be gone")  # its lock is
    assert ask(info.url, "GET", "key") == b"value"
    assert not socket_path(seen).parent.exists()


@pytest.mark.dear
@linux
def test_a_server_that_outlives_its_owner_keeps_the_directory(
    owner: tuple[subprocess.Popen[str], int],
    make: Callable[..., EmbeddedServer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As when the guardian was killed before its owner."""
    process, pid = owner
    (guardian,) = (p for p, told in children_of(process.pid).items() if "aftermath" in told)
    os.kill(guardian, signal.SIGKILL)
    monkeypatch.setattr(home_module, "LEAVE_S", 0.05)
    os.kill(pid, signal.SIGSTOP)
    process.kill()
    process.wait()
    with pytest.raises(Conflict, match=f"process {pid}.*owner is gone"):
        make().start()
    os.kill(pid, signal.SIGCONT)


# -- one owner, many who attach -------------------------------------------------------------------


@pytest.mark.dear
def test_a_second_owner_is_told_of_the_first(
    owner: tuple[subprocess.Popen[str], int], make: Callable[..., EmbeddedServer], tmp_path: Path
) -> None:
    process, _ = owner
    with pytest.raises(Conflict, match=f"in use by process {process.pid}"):
        make().start()
    assert running_server(tmp_path / "data") is not None  # the refused one took nothing away


@pytest.mark.dear
def test_others_find_the_server(owner: tuple[subprocess.Popen[str], int], tmp_path: Path) -> None:
    found = running_server(tmp_path / "data")
    assert found is not None
    assert found.pid == owner[1]
    assert ask(found.url, "PING") == b"PONG"


def test_what_is_found_is_what_was_started(make: Callable[..., EmbeddedServer]) -> None:
    server = make(durability="always")
    info = server.start()
    assert running_server(Path(info.data_dir)) == info
    server.kill()
    server.restart_if_dead()
    assert running_server(Path(info.data_dir)) == server.info


@pytest.mark.sampled(1)
@pytest.mark.parametrize("written", ["", str(os.getpid())], ids=["clean", "reused pid"])
def test_one_who_looks_does_not_turn_an_owner_away(
    make: Callable[..., EmbeddedServer], tmp_path: Path, written: str
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "lock").write_text(written)
    looking = (tmp_path / "data" / "lock").open()
    assert home_module._try_lock(looking, fcntl.LOCK_SH)

    class Passing(SystemClock):
        def wait(self, seconds: float) -> None:
            looking.close()
            super().wait(seconds)

    assert ask(make(clock=Passing()).start().url, "PING") == b"PONG"


def test_nothing_is_found_where_nothing_runs(tmp_path: Path) -> None:
    assert running_server(tmp_path) is None


@pytest.mark.sampled(1)
@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"url": 5}', b"\xff\xfe"])
def test_a_broken_file_is_ignored(
    make: Callable[..., EmbeddedServer], tmp_path: Path, content: bytes
) -> None:
    make().start()
    (tmp_path / "data" / "server.json").write_bytes(content)
    assert running_server(tmp_path / "data") is None


def test_a_stale_file_is_ignored(make: Callable[..., EmbeddedServer], tmp_path: Path) -> None:
    server = make()
    server.start()
    published = (tmp_path / "data" / "server.json").read_bytes()
    server.stop()
    (tmp_path / "data" / "server.json").write_bytes(published)
    assert running_server(tmp_path / "data") is None


def test_a_file_without_a_lock_is_ignored(
    make: Callable[..., EmbeddedServer], tmp_path: Path
) -> None:
    """A server that answers is not enough: it must be the owner's of this directory."""
    make().start()
    (tmp_path / "other").mkdir()
    published = (tmp_path / "data" / "server.json").read_bytes()
    (tmp_path / "other" / "server.json").write_bytes(published)
    (tmp_path / "other" / "lock").touch()
    assert running_server(tmp_path / "other") is None


def test_a_dead_server_is_not_found(make: Callable[..., EmbeddedServer], tmp_path: Path) -> None:
    server = make()
    server.start()
    server.kill()
    assert running_server(tmp_path / "data") is None


# -- where data live ------------------------------------------------------------------------------


def test_the_directory_is_named_or_the_users(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("PARALLAX_HOME", raising=False)
    assert data_home() == tmp_path / ".local" / "share" / "parallax"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    assert data_home() == tmp_path / "xdg" / "parallax"
    monkeypatch.setenv("PARALLAX_HOME", str(tmp_path / "mine"))
    assert data_home() == tmp_path / "mine"
    assert data_home(Path("here")) == Path.cwd() / "here"


# -- what strangers left there ---------------------------------------------------------------------


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A directory as it was unpacked, with a `server.json` in it."""
    folder = tmp_path / "data"
    folder.mkdir()
    precious = tmp_path / "precious"
    precious.write_text("mine")
    told = {
        "url": f"unix://:x@{precious}?db=0", "tcp_url": "redis://:x@127.0.0.1:1/0", "pid": 1,
        "version": "9.0.0", "data_dir": str(folder), "durability": "always",
    }  # fmt: skip
    (folder / "server.json").write_text(json.dumps(told))
    (folder / "server.json").chmod(0o600)
    return folder


def test_no_file_that_a_stranger_names_is_removed(
    make: Callable[..., EmbeddedServer], foreign: Path
) -> None:
    make().start()
    assert (foreign.parent / "precious").read_text() == "mine"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_told_password_that_others_may_read_is_refused(
    make: Callable[..., EmbeddedServer], foreign: Path, mode: int
) -> None:
    (foreign / "server.json").chmod(mode)
    with pytest.raises(InvalidInput, match=r"home: .*server\.json .*closed to others"):
        make().start()
    assert (foreign.parent / "precious").exists()
    lock = (foreign / "lock").open()
    fcntl.flock(lock, fcntl.LOCK_EX)  # as if its owner were alive
    with pytest.raises(InvalidInput, match="closed to others"):
        running_server(foreign)
    lock.close()


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", ["lock", "server.log", "server.json.new"])
@pytest.mark.parametrize("kind", ["link", "pipe"])
@pytest.mark.timeout(20)
def test_links_and_pipes_in_it_lead_nowhere(
    make: Callable[..., EmbeddedServer], foreign: Path, name: str, kind: str
) -> None:
    precious = foreign.parent / "precious"
    if kind == "link":
        (foreign / name).symlink_to(precious)
    else:
        os.mkfifo(foreign / name)
    if name == "server.json.new":
        make().start()  # it is ours to remove, and what it led to stays
    else:
        with pytest.raises(InvalidInput, match="home"):
            make().start()
    assert precious.read_text() == "mine"


@pytest.mark.parametrize("kind", ["link", "pipe"])
@pytest.mark.timeout(20)
def test_a_file_that_is_none_is_not_read(tmp_path: Path, kind: str) -> None:
    (tmp_path / "told").write_text("{}")
    if kind == "link":
        (tmp_path / "server.json").symlink_to(tmp_path / "told")
    else:
        os.mkfifo(tmp_path / "server.json")
    (tmp_path / "lock").touch()
    with (tmp_path / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert running_server(tmp_path) is None


@pytest.mark.sampled(1)
@pytest.mark.parametrize("mode", [0o700, 0o755, 0o775])
def test_the_mode_of_a_directory_that_was_there_is_left_alone(
    make: Callable[..., EmbeddedServer], tmp_path: Path, mode: int
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(mode)
    make().start()
    assert stat.S_IMODE(folder.stat().st_mode) == mode


def test_a_directory_in_which_everybody_may_write_is_refused(
    make: Callable[..., EmbeddedServer], tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(InvalidInput, match="nobody else may write"):
        make().start()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o777


# -- users without a home --------------------------------------------------------------------------


def test_a_user_without_a_home_is_told_to_name_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PARALLAX_HOME", "XDG_DATA_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)

    def nobody(_: object) -> None:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr("pwd.getpwuid", nobody)
    with pytest.raises(InvalidInput, match=r"home: .*--home.*--redis"):
        data_home()


def test_a_working_directory_that_was_deleted_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(InvalidInput, match="working directory was deleted"):
        data_home(Path("relative"))
    assert data_home(tmp_path) == tmp_path
