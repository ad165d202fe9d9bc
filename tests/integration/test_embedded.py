"""The embedded server: starting, keeping data, stopping, keeping its password."""

from __future__ import annotations

import os
import signal
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from parallax.broker.server import embedded as module
from parallax.broker.server.embedded import EmbeddedServer, ServerInfo
from parallax.core.errors import InvalidInput, StoreFault, Unreachable
from parallax.core.secrets import redacted
from parallax.services.clock import SystemClock
from tests.integration.processes import ask, is_gone


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# -- starting -------------------------------------------------------------------------------------


def test_it_answers_over_the_socket_and_over_tcp(make: Callable[..., EmbeddedServer]) -> None:
    info = make().start()
    assert ask(info.url, "PING") == b"PONG"
    assert ask(info.tcp_url, "PING") == b"PONG"


def test_start_twice_is_one_server(make: Callable[..., EmbeddedServer]) -> None:
    server = make()
    assert server.start() == server.start()


@pytest.mark.dear
def test_start_brings_a_dead_server_back(make: Callable[..., EmbeddedServer]) -> None:
    server = make()
    first = server.start()
    server.kill()
    assert server.start().pid != first.pid
    assert ask(first.url, "PING") == b"PONG"


def test_nobody_enters_without_the_password(make: Callable[..., EmbeddedServer]) -> None:
    info = make().start()
    address = info.tcp_url.rpartition("@")[2]
    for url in (f"redis://{address}", f"redis://:guess@{address}"):
        with pytest.raises((StoreFault, Unreachable), match=r"(?i)auth|password"):
            ask(url, "PING")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("appendonly", "yes"),
        ("appendfsync", "always"),
        ("aof-load-truncated", "yes"),
        ("save", ""),
        ("maxmemory", str(64 * 1024**2)),
        ("maxmemory-policy", "noeviction"),
        ("bind", "127.0.0.1"),
        ("unixsocketperm", "700"),
        ("hash-max-ziplist-entries", "64"),
        ("hash-max-ziplist-value", "512"),
        ("stream-node-max-bytes", "2048"),
        ("io-threads", "1"),
        ("lua-time-limit", "5000"),
        ("tcp-keepalive", "60"),
    ],
)
def test_the_configuration_is_in_force(strict: ServerInfo, name: str, value: str) -> None:
    assert ask(strict.url, "CONFIG", "GET", name)[1].decode() == value


@pytest.fixture(scope="module")
def strict() -> Iterator[ServerInfo]:
    options: dict[str, Any] = {"durability": "always", "maxmemory": "64mb"}
    with EmbeddedServer(SystemClock(), ephemeral=True, stream_node_bytes=2048, **options) as server:
        assert server.info is not None
        yield server.info


@pytest.mark.parametrize(
    "wrong",
    [
        {"durability": "never"},
        {"maxmemory": "much"},
        {"maxmemory": "0\nloadmodule evil.so"},
        {"stream_node_bytes": 0},
    ],
)
def test_a_wrong_setting_is_refused_at_once(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        EmbeddedServer(SystemClock(), **wrong)


@pytest.mark.dear
def test_a_port_taken_in_the_meantime_is_given_up(
    make: Callable[..., EmbeddedServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        ports = iter([taken, module._free_port()])
        monkeypatch.setattr(module, "_free_port", lambda: next(ports))
        info = make().start()
    assert ask(info.tcp_url, "PING") == b"PONG"
    assert f":{taken}/" not in info.tcp_url


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", ["with space", 'quote" and #', "ünïcode", "d" * 150])
def test_any_name_of_a_directory_will_do(
    make: Callable[..., EmbeddedServer], tmp_path: Path, name: str
) -> None:
    info = make(home=tmp_path / name).start()
    assert info.data_dir == str(tmp_path / name)
    assert ask(info.url, "CONFIG", "GET", "dir")[1].decode() == info.data_dir


@pytest.mark.dear
def test_a_long_temporary_directory_is_no_place_for_the_socket(
    make: Callable[..., EmbeddedServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("t" * 120)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    assert ask(make().start().url, "PING") == b"PONG"


def test_a_home_that_is_a_file_is_refused(
    make: Callable[..., EmbeddedServer], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match="home"):
        make(home=tmp_path / "file").start()


def test_a_binary_that_is_no_server_is_refused(
    make: Callable[..., EmbeddedServer], tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match=r"binary: .*>= 6\.2"):
        make(binary=tmp_path / "nothing").start()


@pytest.mark.dear
def test_a_failed_start_says_why_and_leaves_nothing(
    make: Callable[..., EmbeddedServer], tmp_path: Path
) -> None:
    in_the_way = tmp_path / "data" / "appendonly.aof"  # where a server < 7.0 wants a file
    in_the_way.mkdir(parents=True)
    (tmp_path / "data" / "appendonlydir").touch()  # where a later one wants a directory
    with pytest.raises(StoreFault, match=r"(?s)did not start: .*append-?only"):
        make().start()
    assert not (tmp_path / "data" / "server.json").exists()
    in_the_way.rmdir()
    (tmp_path / "data" / "appendonlydir").unlink()
    assert ask(make().start().url, "PING") == b"PONG"  # the directory is free


# -- data -----------------------------------------------------------------------------------------


@pytest.mark.dear
def test_data_survive_a_clean_restart(make: Callable[..., EmbeddedServer]) -> None:
    for n in range(3):
        with make() as server:
            assert server.info is not None
            assert ask(server.info.url, "INCR", "starts") == n + 1


def test_data_and_address_survive_a_kill(make: Callable[..., EmbeddedServer]) -> None:
    server = make(durability="always")
    before = server.start()
    ask(before.url, "SET", "key", "value")
    server.kill()
    assert server.restart_if_dead()
    assert server.info is not None
    assert (server.info.url, server.info.tcp_url) == (before.url, before.tcp_url)
    assert ask(before.url, "GET", "key") == ask(before.tcp_url, "GET", "key") == b"value"


@pytest.mark.dear
def test_a_torn_last_write_does_not_stop_a_restart(
    make: Callable[..., EmbeddedServer], tmp_path: Path
) -> None:
    server = make(durability="always")
    info = server.start()
    ask(info.url, "SET", "whole", "1")
    ask(info.url, "SET", "torn", "2")
    server.kill()
    log = next((tmp_path / "data").rglob("*.aof*.incr.aof"), tmp_path / "data" / "appendonly.aof")
    log.write_bytes(log.read_bytes()[:-3])
    server.restart_if_dead()
    assert ask(info.url, "MGET", "whole", "torn") == [b"1", None]


def test_a_living_server_is_left_alone(make: Callable[..., EmbeddedServer]) -> None:
    server = make()
    assert not server.restart_if_dead()
    info = server.start()
    assert not server.restart_if_dead()
    assert server.info == info


def test_the_data_of_a_newer_server_are_not_overlooked(
    make: Callable[..., EmbeddedServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A 6.2 does not look where a 7.0 writes, and would start empty."""
    (tmp_path / "data" / "appendonlydir").mkdir(parents=True)
    monkeypatch.setattr(module, "find_binary", lambda _: (Path("old-server"), "6.2.14"))
    with pytest.raises(StoreFault, match=r"written by a server >= 7\.0.*PARALLAX_SERVER_BINARY"):
        make().start()


# -- stopping -------------------------------------------------------------------------------------


@pytest.mark.dear
def test_stop_ends_the_process_and_may_be_repeated(
    make: Callable[..., EmbeddedServer], tmp_path: Path
) -> None:
    server = make()
    info = server.start()
    server.stop()
    server.stop()
    assert is_gone(info.pid)
    assert not (tmp_path / "data" / "server.json").exists()
    with pytest.raises(Unreachable):
        ask(info.url, "PING")


@pytest.mark.dear
def test_a_server_that_does_not_listen_is_killed(
    make: Callable[..., EmbeddedServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STOP_S", 0.05)
    server = make()
    pid = server.start().pid
    os.kill(pid, signal.SIGSTOP)
    server.stop()
    assert is_gone(pid)


@pytest.mark.dear
def test_an_ephemeral_server_leaves_nothing_behind() -> None:
    with EmbeddedServer(SystemClock(), ephemeral=True) as server:
        assert server.info is not None
        folder, path = Path(server.info.data_dir), module.socket_path(server.info)
        assert folder.exists()
        assert path.exists()
    assert not folder.exists()
    assert not path.parent.exists()


# -- secrets --------------------------------------------------------------------------------------


def test_the_password_shows_nowhere(make: Callable[..., EmbeddedServer], tmp_path: Path) -> None:
    server = make()
    info = server.start()
    password = info.tcp_url.split(":")[2].partition("@")[0]
    assert len(password) >= 32
    shown = [repr(info), str(info), repr(server), redacted(info.url), redacted(info.tcp_url)]
    assert server._process is not None
    shown.append(repr(server._process.args))  # a server overwrites its /proc/PID/cmdline, but late
    if sys.platform == "linux":
        shown.append(Path(f"/proc/{info.pid}/cmdline").read_text())
        shown.append(Path(f"/proc/{info.pid}/environ").read_text(errors="replace"))
    shown.append((tmp_path / "data" / "server.log").read_text())
    assert [text for text in shown if password in text] == []


@pytest.mark.dear
def test_only_the_user_may_read_what_is_stored(
    make: Callable[..., EmbeddedServer], tmp_path: Path
) -> None:
    """Also in a directory that others may enter: its mode is its owner's affair."""
    (tmp_path / "data").mkdir(mode=0o755)
    server = make()
    info = server.start()
    ask(info.url, "SET", "key", "value")
    assert mode(tmp_path / "data") == 0o755
    assert mode(module.socket_path(info).parent) == 0o700
    assert mode(module.socket_path(info)) == 0o700
    assert mode(tmp_path / "data" / "server.json") == 0o600
    assert {"lock", "server.json", "server.log"} <= {p.name for p in (tmp_path / "data").iterdir()}
    for path in (tmp_path / "data").rglob("*"):
        assert mode(path) & 0o077 == 0, path


@pytest.mark.dear
def test_a_new_directory_is_the_users_alone(
    make: Callable[..., EmbeddedServer], tmp_path: Path
) -> None:
    make().start()
    assert mode(tmp_path / "data") == 0o700


@pytest.mark.dear
def test_whoever_waits_for_it_to_load_may_change_his_mind(
    make: Callable[..., EmbeddedServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def enough() -> None:
        raise ZeroDivisionError

    server = make(check=enough)
    with monkeypatch.context() as loading:
        loading.setattr(module, "answers", lambda _: False)
        with pytest.raises(ZeroDivisionError):
            server.start()
    assert server._process is None
    assert not (tmp_path / "data" / "server.json").exists()
    assert ask(make().start().url, "PING") == b"PONG"  # the directory is free
