"""Temporary homes and sockets: where they may be, and which are removed: our own abandoned ones."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from parallax.broker.server import temporary
from parallax.broker.server.embedded import EmbeddedServer
from parallax.broker.server.home import ServerInfo
from parallax.core.errors import InvalidInput
from parallax.services.clock import SystemClock
from tests.integration.processes import ask

DEAD = "1"  # an owner's process id, which is often the same in the next container


@pytest.fixture
def place() -> Iterator[Path]:
    """A temporary directory with a short path: sockets must fit."""
    with tempfile.TemporaryDirectory(prefix="t-") as folder:
        yield Path(folder)


@pytest.fixture
def listening(place: Path) -> Iterator[Callable[..., Path]]:
    """Return a function that makes a socket, with or without somebody who listens."""
    servers: list[socket.socket] = []

    def made(folder: str, *, alive: bool = False, name: str = "r.sock") -> Path:
        path = place / folder / name
        path.parent.mkdir(mode=0o700)
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(path))
        if alive:
            server.listen()
            servers.append(server)
        else:
            server.close()
        return path

    yield made
    for server in servers:
        server.close()


def told(path: Path) -> ServerInfo:
    return ServerInfo(f"unix://:x@{path}?db=0", "redis://:x@127.0.0.1:1/0", 1, "9", "d", "always")


# -- sockets --------------------------------------------------------------------------------------


def test_the_socket_of_a_dead_server_is_removed(listening: Callable[..., Path]) -> None:
    path = listening("plx-abcdefgh")
    temporary.remove_socket(told(path))
    assert not path.parent.exists()


def test_one_on_which_somebody_listens_stays(listening: Callable[..., Path]) -> None:
    path = listening("plx-abcdefgh", alive=True)
    temporary.remove_socket(told(path))
    assert path.exists()


@pytest.mark.parametrize("name", ["precious", "plx-abcdefgh/r.sock", "plx-abcdefgh/other"])
def test_a_file_that_a_stranger_names_stays(place: Path, name: str) -> None:
    path = place / name
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_text("mine")
    temporary.remove_socket(told(path))
    assert path.read_text() == "mine"


def test_a_socket_elsewhere_stays(listening: Callable[..., Path]) -> None:
    paths = [listening("somewhere"), listening("plx-abcdefgh", name="other.sock")]
    for path in paths:
        temporary.remove_socket(told(path))
    assert all(path.exists() for path in paths)


def test_a_link_is_not_followed(listening: Callable[..., Path], place: Path) -> None:
    path = listening("somewhere")
    (place / "plx-abcdefgh").symlink_to(path.parent)
    temporary.remove_socket(told(place / "plx-abcdefgh" / "r.sock"))
    assert path.exists()


@pytest.mark.parametrize("writable", ["usual", "home"])
def test_a_socket_goes_where_something_can_be_written(
    place: Path, monkeypatch: pytest.MonkeyPatch, writable: str
) -> None:
    """A read-only root with one writable directory is enough for an embedded server."""

    def made(prefix: str, dir: Path) -> str:  # noqa: A002 - as tempfile calls it
        if writable == "home" and dir != place / "home":
            raise OSError(30, "Read-only file system")
        (dir / f"{prefix}abcdefgh").mkdir()
        return str(dir / f"{prefix}abcdefgh")

    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    (place / "home").mkdir()
    monkeypatch.setattr("tempfile.mkdtemp", made)
    if writable == "home":
        monkeypatch.setattr("tempfile.gettempdir", none)
    else:
        monkeypatch.setattr("tempfile.gettempdir", lambda: str(place))
    there = temporary.new_socket_folder(place / "home")
    assert there.parent == (place if writable == "usual" else place / "home")


def test_a_home_of_its_own_needs_no_temporary_directory(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr("tempfile.gettempdir", none)
    with EmbeddedServer(SystemClock(), home=place / "home") as server:
        assert server.info is not None
        assert ask(server.info.url, "PING") == b"PONG"
    with pytest.raises(InvalidInput, match="TMPDIR"):
        EmbeddedServer(SystemClock(), ephemeral=True)


# -- homes ----------------------------------------------------------------------------------------


def home(place: Path, lock: str = DEAD, name: str = "parallax-0123456789abcdef") -> Path:
    folder = place / name
    folder.mkdir(mode=0o700)
    (folder / "appendonlydir").mkdir()
    (folder / "lock").write_text(lock)
    return folder


def test_an_abandoned_home_is_removed_with_its_socket(
    place: Path, listening: Callable[..., Path]
) -> None:
    folder, path = home(place), listening("plx-abcdefgh")
    (folder / "server.json").write_bytes(msgspec.json.encode(told(path)))
    (folder / "server.json").chmod(0o600)
    temporary.remove_abandoned(place)
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    ("lock", "name"),
    [
        ("", "parallax-0123456789abcdef"),
        (DEAD, "parallax-report"),
        (DEAD, "parallax"),
    ],
    ids=["just made", "another name", "no number"],
)
def test_every_other_directory_stays(place: Path, lock: str, name: str) -> None:
    folder = home(place, lock, name)
    temporary.remove_abandoned(place)
    assert (folder / "appendonlydir").exists()


def test_a_home_that_somebody_holds_stays(place: Path) -> None:
    folder = home(place)
    with (folder / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        temporary.remove_abandoned(place)
        assert (folder / "appendonlydir").exists()
    temporary.remove_abandoned(place)  # the control: it was the lock
    assert not folder.exists()


def test_what_others_may_enter_was_not_made_by_us(place: Path) -> None:
    folder = home(place)
    folder.chmod(0o755)
    temporary.remove_abandoned(place)
    assert folder.exists()


def test_a_link_to_a_home_is_not_one(place: Path) -> None:
    folder = home(place, name="elsewhere")
    (place / "parallax-0123456789abcdef").symlink_to(folder)
    temporary.remove_abandoned(place)
    assert (folder / "lock").exists()


@pytest.mark.dear
def test_the_next_start_removes_what_nobody_could(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Owner, guardian and server were all killed at once, as when a container is stopped."""
    monkeypatch.setattr("tempfile.tempdir", str(place))
    first = EmbeddedServer(SystemClock(), ephemeral=True)
    info = first.start()
    guardian = first._guardian._process
    assert guardian is not None
    guardian.kill()
    guardian.wait()
    os.kill(info.pid, signal.SIGKILL)
    assert first._process is not None
    first._process.wait()
    first._data._lock.close()  # type: ignore[union-attr]
    first._data._lock = None
    left = {path.name for path in place.iterdir()}
    with EmbeddedServer(SystemClock(), ephemeral=True):
        assert not left & {path.name for path in place.iterdir()}
    assert list(place.iterdir()) == []
    first.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_guardian_is_not_left_in_a_directory(place: Path) -> None:
    """Its own working directory must not keep a file system busy."""
    with EmbeddedServer(SystemClock(), home=place / "home") as server:
        process = server._guardian._process
        assert process is not None
        assert Path(f"/proc/{process.pid}/cwd").readlink() == Path("/")
