"""A server whose disk is full: what is true is said, nobody ends, and all goes on by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.server.embedded import EmbeddedServer
from parallax.broker.server.home import answers
from parallax.broker.server.log import reason
from parallax.cli.doctor import _disk
from parallax.core.clock import ManualClock
from parallax.core.errors import StoreFault, StoreFull
from parallax.services.clock import SystemClock
from parallax.services.system import Plan, System


class Refusing:
    """A link to a server that has said MISCONF."""

    def __init__(self, *_: object) -> None:
        pass

    def call(self, *_: object) -> bytes:
        raise StoreFull("Redis cannot write to its disk")

    def close(self) -> None:
        pass


def test_a_server_that_refuses_writes_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Link, "to", Refusing)
    assert answers("unix:///nowhere")


class Dying:
    """An embedded server that dies as often as it is started, until there is room again."""

    tries, full = 0, True

    def restart_if_dead(self) -> bool:
        self.tries += 1
        if self.full:
            raise StoreFault("the embedded server did not start: its disk is full")
        return True


def test_who_watches_survives_a_server_that_cannot_be_started_and_tries_again() -> None:
    clock = ManualClock()
    system = System(Plan(), clock, url="redis://h")
    system._processes = type("NoProcesses", (), {"watch": lambda _: []})()
    system.server = dying = Dying()  # type: ignore[assignment]
    for _ in range(600):
        assert system.watch() == []
        clock.wait(0.1)
    assert 5 < dying.tries < 15  # not hurried
    dying.full = False
    clock.wait(10.0)
    assert system.watch() == ["server"]


def test_the_address_that_was_published_before_need_not_be_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = EmbeddedServer(SystemClock(), home=tmp_path)
    before = server.start()
    try:

        def full(_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(server._data, "publish", full)
        server.kill()
        assert server.restart_if_dead()
        assert answers(before.url)
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("1:M 1 Jan # Can't recover from AOF write error when the AOF fsync policy is 'always'. "
         "Exiting...", "free some space in /data"),
        ("1:M 1 Jan # Bad file format reading the append only file appendonly.aof.1.incr.aof",
         "its append-only file is damaged: put back a copy of /data/appendonlydir"),
        ("1:M 1 Jan # Your current 'ulimit -n' of 16 is not enough for the server to start.",
         "raise `ulimit -n`"),
        ("something else", "something else"),
    ],
)  # fmt: skip
def test_a_log_is_read_for_the_reason(line: str, says: str) -> None:
    assert says in reason(f"1:M 1 Jan * Server initialized\n{line}\n", Path("/data"))


@pytest.mark.dear
def test_a_damaged_file_is_named_and_said_what_to_do_with(tmp_path: Path) -> None:
    server = EmbeddedServer(SystemClock(), home=tmp_path)
    link = Link.to(server.start().url)
    link.calls([("SET", f"k{n}", "v" * 100) for n in range(200)])
    link.close()
    server.stop()
    for file in tmp_path.rglob("*.aof"):
        data = bytearray(file.read_bytes())
        data[len(data) // 2 : len(data) // 2 + 400] = b"\x00" * 400
        file.write_bytes(bytes(data))
    with pytest.raises(StoreFault, match="its append-only file is damaged") as caught:
        EmbeddedServer(SystemClock(), home=tmp_path).start()
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(("state", "word"), [(b"err", "bad"), (b"ok", "ok")])
def test_doctor_says_that_the_disk_is_full(state: bytes, word: str) -> None:
    class Telling(Refusing):
        def call(self, *_: object) -> bytes:
            return b"# Persistence\r\naof_enabled:1\r\naof_last_write_status:" + state + b"\r\n"

    ((what, finding, text),) = _disk(Telling())  # type: ignore[arg-type]
    assert (what, finding) == ("disk", word)
    assert ("free some space" in text) == (word == "bad")
