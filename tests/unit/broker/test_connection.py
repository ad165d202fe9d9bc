"""A link translates every foreign error, keeps replies in step, and never tells a password."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from itertools import repeat
from random import Random

import fakeredis
import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from parallax.broker.link.call import Call
from parallax.broker.link.connection import BACKOFF_BASE_S, BACKOFF_CAP_S, Link, repeated
from parallax.broker.link.errors import translated
from parallax.broker.link.scripts import script
from parallax.core.clock import ManualClock
from parallax.core.errors import InvalidInput, ParallaxError, StoreFault, StoreFull, Unreachable
from parallax.core.secrets import redacted
from tests.examples import examples

CLOSED = "redis://127.0.0.1:1"
#: What Redis 6.2 puts before whatever stopped a script.
IN_A_SCRIPT = (
    f"Error running script (call to f_{'8f9b1d38' * 5}): @user_script:117: @user_script: 117:"
)


@pytest.fixture
def link() -> Iterator[Link]:
    pool = fakeredis.FakeRedis(server=fakeredis.FakeServer(), protocol=2).connection_pool
    made = Link(pool.make_connection)
    yield made
    made.close()


# -- reaching the server


@pytest.mark.parametrize(
    "url",
    [CLOSED, f"{CLOSED}/3", "rediss://127.0.0.1:1", "unix:///nowhere/redis.sock",
     "redis://no-such-host.invalid"],
)  # fmt: skip
def test_a_server_that_is_not_there_is_unreachable(url: str) -> None:
    with pytest.raises(Unreachable, match="Redis does not answer"):
        Link.to(url).call("PING")


def test_a_server_that_stays_silent_is_unreachable_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(Unreachable, match="Redis does not answer"):
            Link.to(f"redis://127.0.0.1:{port}", 0.05).call("PING")


def test_making_a_link_does_not_connect() -> None:
    Link.to(CLOSED).close()


def test_an_unreachable_error_does_not_tell_the_password() -> None:
    with pytest.raises(Unreachable) as caught:
        Link.to("redis://user:hunter2@127.0.0.1:1").call("PING")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1:6379", "http://127.0.0.1", "redis:/127.0.0.1"],
)
def test_a_url_that_cannot_be_is_refused_at_once(url: str) -> None:
    with pytest.raises(InvalidInput, match="use redis://, rediss:// or unix://") as caught:
        Link.to(url)
    assert caught.value.field == "redis url"


def test_a_refused_url_does_not_tell_its_password() -> None:
    with pytest.raises(InvalidInput) as caught:
        Link.to("http://user:hunter2@host")
    assert "hunter2" not in str(caught.value)


# -- redacted


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:hunter2@host:6379/0", "redis://user:***@host:6379/0"),
        ("redis://:hunter2@host", "redis://:***@host"),
        ("rediss://user:p@ss:word@host", "rediss://user:***@host"),
        ("unix://user:hunter2@/run/r.sock?db=1", "unix://user:***@/run/r.sock?db=1"),
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("unix:///run/r.sock", "unix:///run/r.sock"),
        ("", ""),
    ],
)
def test_redacted_leaves_out_the_password_only(url: str, shown: str) -> None:
    assert redacted(url) == shown


@settings(max_examples=examples(100), deadline=None)
@given(password=st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1))
def test_no_password_survives(password: str) -> None:
    assert redacted(f"redis://user:{password}@host:1/0") == "redis://user:***@host:1/0"


# -- talking


def test_replies_come_in_the_order_of_the_commands(link: Link) -> None:
    assert link.calls([("SET", "a", 1), ("INCR", "a"), ("GET", "a")]) == [b"OK", 2, b"2"]


def test_no_commands_no_replies(link: Link) -> None:
    assert link.calls([]) == []


def test_replies_are_bytes_whatever_they_hold(link: Link) -> None:
    link.call("SET", "a", b"\xff\x00\r\n")
    assert link.call("GET", "a") == b"\xff\x00\r\n"


def test_an_error_reply_is_raised_and_the_next_call_gets_its_own_reply(link: Link) -> None:
    with pytest.raises(StoreFault, match="WRONGTYPE"):
        link.calls([("SET", "a", 1), ("LPUSH", "a", 2), ("GET", "a")])
    assert link.call("GET", "a") == b"1"


def test_receive_returns_errors_in_their_place(link: Link) -> None:
    link.send([("SET", "a", 1), ("LPUSH", "a", 2), ("GET", "a")])
    first, second, third = link.receive(3)
    assert (first, third) == (b"OK", b"1")
    assert isinstance(second, StoreFault)


def test_a_closed_link_opens_itself_again(link: Link) -> None:
    link.call("SET", "a", 1)
    link.close()
    link.close()
    assert link.call("GET", "a") == b"1"


def test_a_script_the_server_forgot_is_sent_again(link: Link) -> None:
    link.call("SCRIPT", "FLUSH")
    for _ in range(2):
        assert link.do(Call(script("renew"), ["leader"], ["token", 1000], list)) != []


class Broken:
    """A connection on which one step fails."""

    def __init__(self, step: str, error: Exception) -> None:
        self._step, self._error, self.closed = step, error, 0

    def _do(self, step: str) -> None:
        if step == self._step:
            raise self._error

    def connect(self) -> None:
        self._do("connect")

    def pack_command(self, *_: object) -> list[bytes]:
        return [b"x"]

    def send_packed_command(self, *_: object, **__: object) -> None:
        self._do("send")

    def read_response(self, **_: object) -> bytes:
        self._do("read")
        return b"OK"

    def disconnect(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("step", ["connect", "send", "read"])
@pytest.mark.parametrize(
    "error",
    [redis.ConnectionError("reset"), redis.TimeoutError("late"), OSError(104, "reset"),
     ConnectionResetError("reset"), socket.gaierror("no name")],
    ids=repr,
)  # fmt: skip
def test_whatever_breaks_is_unreachable_and_the_next_call_connects_anew(
    step: str, error: Exception
) -> None:
    broken, whole = Broken(step, error), Broken("", error)
    connections = iter([broken, whole])
    link = Link(lambda: next(connections))
    with pytest.raises(Unreachable):
        link.call("PING")
    assert broken.closed == (step != "connect")
    assert link.call("PING") == b"OK"


def test_a_broken_protocol_drops_the_connection() -> None:
    broken = Broken("read", redis.exceptions.InvalidResponse("junk"))
    with pytest.raises(ParallaxError):
        Link(lambda: broken).call("PING")
    assert broken.closed == 1


# -- translated


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (redis.OutOfMemoryError("command not allowed"), StoreFull),
        (redis.ResponseError("OOM command not allowed when used memory"), StoreFull),
        (redis.ResponseError("MISCONF Redis is configured to save"), StoreFull),
        (redis.ResponseError(f"{IN_A_SCRIPT} -OOM command not allowed"), StoreFull),
        (redis.ResponseError(f"{IN_A_SCRIPT} -MISCONF Errors writing"), StoreFull),
        (redis.ResponseError(f"{IN_A_SCRIPT} -READONLY You can't write"), Unreachable),
        (redis.ResponseError(f"{IN_A_SCRIPT} Wrong number of args: -OOM here"), StoreFault),
        (redis.BusyLoadingError("Redis is loading"), Unreachable),
        (redis.ResponseError("NOREPLICAS Not enough good replicas"), Unreachable),
        (redis.ResponseError("BUSY Redis is busy running a script"), Unreachable),
        (redis.ResponseError("UNBLOCKED the stream key no longer exists"), Unreachable),
        (redis.ResponseError("Script attempted to access a non local key"), Unreachable),
        (redis.ConnectionError("reset"), Unreachable),
        (redis.TimeoutError("late"), Unreachable),
        (TimeoutError("late"), Unreachable),
        (BrokenPipeError("pipe"), Unreachable),
        (redis.AuthenticationError("WRONGPASS"), StoreFault),
        (redis.exceptions.NoPermissionError("NOPERM"), StoreFault),
        (redis.exceptions.NoScriptError("NOSCRIPT"), StoreFault),
        (redis.ResponseError("WRONGTYPE Operation against a key"), StoreFault),
        (redis.ResponseError("ERR unknown command"), StoreFault),
    ],
    ids=lambda value: getattr(value, "__name__", None) or repr(value),
)
def test_every_foreign_error_has_one_of_ours(error: Exception, kind: type[ParallaxError]) -> None:
    ours = translated(error)
    assert isinstance(ours, kind)
    assert str(error) in str(ours) or "MISCONF" in str(error)


# -- repeated


def failing(errors: Iterator[ParallaxError | None]) -> Callable[[], str]:
    def attempt() -> str:
        error = next(errors)
        if error is not None:
            raise error
        return "done"

    return attempt


def test_what_was_unreachable_is_tried_again_after_growing_waits() -> None:
    clock = ManualClock()
    errors = iter([Unreachable("1"), Unreachable("2"), None])
    assert repeated(failing(errors), clock, Random(1)) == "done"
    assert 0 < clock.monotonic() <= 3 * BACKOFF_BASE_S


def test_the_last_failure_is_raised() -> None:
    clock = ManualClock()
    errors = iter([Unreachable(str(n)) for n in range(1, 9)])
    with pytest.raises(Unreachable, match="4"):
        repeated(failing(errors), clock, Random(1), times=4)
    assert next(errors).args == ("5",)


def test_other_errors_are_raised_at_once() -> None:
    clock = ManualClock()
    with pytest.raises(StoreFull):
        repeated(failing(repeat(StoreFull("full"))), clock, Random(1))
    assert clock.monotonic() == 0


def test_no_wait_is_longer_than_the_cap() -> None:
    clock = ManualClock()
    with pytest.raises(Unreachable):
        repeated(failing(repeat(Unreachable("never"))), clock, Random(1), times=101)
    assert clock.monotonic() <= 100 * BACKOFF_CAP_S
