"""One connection to Redis: bytes in, bytes out, errors translated, nothing sent twice by surprise.

Why not redis-py's client classes: they retry by default, and a retried `XADD` is a second job;
they decode replies by protocol version; and they cost several times what the socket does. A `Link`
uses redis-py for what it is best at (URLs, TLS, ACL users, the handshake, the replies), packs its
commands itself (redis-py looks at each argument twice more) and adds three rules:

1. A command whose reply is lost raises `Unreachable`: its outcome is unknown. Only scripts and
   reads, which answer the same when run twice, may ask to be `repeated`.
2. Blocking reads wait at most `MAX_BLOCK_MS`, well below the socket timeout.
3. Every foreign error becomes one of `parallax.core.errors`, here and nowhere else.

On Redis Cluster it follows the slot of its cell to the node that has it
(`parallax.broker.link.nodes`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any, TypeVar

import redis
from hiredis import pack_command
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool
from redis.retry import Retry

from parallax.broker.link import refusals, tls
from parallax.broker.link.call import Call, Commands
from parallax.broker.link.nodes import MOST_HOPS, Moved, Route, redirected
from parallax.broker.link.scripts import Script, names, script
from parallax.broker.store import misfits
from parallax.core.clock import Clock
from parallax.core.errors import (
    InvalidInput,
    ParallaxError,
    StoreFault,
    StoreFull,
    Unreachable,
)
from parallax.core.redis_url import FIELD, URLS, checked

R = TypeVar("R")
Reply = Any
Argument = str | bytes | int | float

MAX_BLOCK_MS = 2_000
SOCKET_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 2.0
#: Waits between repetitions: full jitter up to base * 2^n, capped, in seconds.
BACKOFF_BASE_S, BACKOFF_CAP_S = 0.05, 2.0

_FULL = ("OOM",)
#: Redis 6.2 puts what stopped a script into a sentence of its own, and the word into its middle.
_WRAPPED = re.compile(r"^Error running script .*?: \d+: -([A-Z]+) ")
#: What is said of a connection that the server closed.
_HUNG_UP = ("reset", "closed by server", "roken pipe")
_NO_SCRIPTS = "Redis does not have our scripts, and this user may not bring them: a scheduler does"
_WRONG_TYPE = "WRONGTYPE"
#: What scripts and servers say of a value that is not what it should be.
_DATA = (
    "attempt to ", "bad argument", "is not an integer", "not a valid float", "is not a float",
    "Invalid stream ID", "out of range",
)  # fmt: skip
#: What will mend itself: redis-py has a class for some errors and cuts the word from their text.
#: A key is "non local" to a script that removed it while its slot is on the way to another node.
_PASSING = (
    "LOADING",
    "BUSY",
    "NOREPLICAS",
    "UNBLOCKED",
    "non local key",
)
_PASSING_WORDS = ("READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN")
_PASSING_ERRORS = (
    redis.BusyLoadingError,
    redis.ReadOnlyError,
    redis.exceptions.MasterDownError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.TryAgainError,
)


class Spoilt(StoreFault):
    """A command or script stumbled over a value that none of ours has written."""


class WrongType(Spoilt):
    """A key holds a value of a type that this command does not work on."""


class ScriptMissing(StoreFault):
    """The server does not have this script in its cache. Never leaves this file."""


class Link:
    """A connection that opens itself when it is first used, and again after it broke.

    Not safe to share between threads: each thread has its own.
    """

    def __init__(self, connect: Callable[..., Any], *, asks: bool = False) -> None:
        # `connect` may be given another host and port than those of the URL. With `asks` the first
        # server is asked whether it is a node of a cluster: once it is gone, others must be known.
        self._origin = connect, asks
        self._route = Route(connect, asks)
        self._connection: Any = None
        self._served = False  # whether any server has ever answered here

    @classmethod
    def to(cls, url: str, timeout_s: float = SOCKET_TIMEOUT_S) -> Link:
        """Return a link to the server at `url` (`redis://`, `rediss://`, `unix://`).

        Raises InvalidInput for a URL that cannot be (see `parallax.core.redis_url`). `timeout_s` is
        the longest wait for a reply.
        """
        url = checked(url)
        try:
            pool = ConnectionPool.from_url(
                url,
                protocol=2,
                socket_timeout=timeout_s,
                socket_connect_timeout=CONNECT_TIMEOUT_S,
                retry=Retry(NoBackoff(), 0),
                health_check_interval=0,
            )
            # Not the pool's own `make_connection`: it counts, and refuses the hundredth reconnect.
            secure = url.startswith("rediss://")
            kind = tls.TlsConnection if secure else pool.connection_class
            connect = partial(kind, **pool.connection_kwargs)
            connect()
        except (ValueError, TypeError, redis.RedisError):
            raise InvalidInput(FIELD, "***", URLS) from None
        except OSError as error:
            raise translated(error) from error
        if secure:
            tls.check_files(pool.connection_kwargs)
        return cls(connect, asks="path" not in pool.connection_kwargs)

    def twin(self) -> Link:
        """Return another link to the same server, for another thread."""
        connect, asks = self._origin
        return Link(connect, asks=asks)

    @property
    def address(self) -> str:
        """Host and port that were reached last; '' before that, and for a unix socket."""
        host, port = getattr(self._connection, "host", ""), getattr(self._connection, "port", "")
        return f"{host}:{port}" if host else ""

    def call(self, *command: Argument) -> Reply:
        """Send one command and return its reply. An error reply is raised."""
        return self.calls([command])[0]

    def calls(self, commands: Sequence[Sequence[Argument]]) -> list[Reply]:
        """Send commands in one write and return their replies; the first error reply is raised."""
        self.send(commands)
        replies = self.receive(len(commands))
        for reply in replies:
            if isinstance(reply, ParallaxError):
                return self._settled(commands, replies)
        return replies

    def _settled(self, commands: Sequence[Sequence[Argument]], replies: list[Reply]) -> list[Reply]:
        """Send what another node must do there, and nothing else again; raise what stays wrong."""
        for _ in range(MOST_HOPS):
            moved = [n for n, reply in enumerate(replies) if isinstance(reply, Moved)]
            if not moved:
                break
            self._route.follow(replies[moved[-1]], self._connection)
            self.close()
            self.send([commands[n] for n in moved])
            for n, reply in zip(moved, self.receive(len(moved)), strict=True):
                replies[n] = reply
        self._cleared(commands, replies)
        for reply in replies:
            if isinstance(reply, ParallaxError):
                raise reply
        return replies

    def _cleared(self, commands: Sequence[Sequence[Argument]], replies: list[Reply]) -> None:
        """Set keys of a wrong type aside, and send what stumbled over them once more."""
        wrong = [n for n, reply in enumerate(replies) if isinstance(reply, WrongType)]
        if not wrong:
            return
        found = [key for n in wrong for key in misfits.keys_of(commands[n])]
        if misfits.set_aside(self, found):
            self.send([commands[n] for n in wrong])
            for n, reply in zip(wrong, self.receive(len(wrong)), strict=True):
                replies[n] = reply

    def do(self, call: Call[R]) -> R:
        """Carry out an operation and return its decoded reply."""
        return call.decode(self._run(call.command, call.script))

    def do_each(self, calls: Sequence[Call[R]]) -> list[R]:
        """Carry out operations in one write and return their decoded replies, in order.

        When the server lacks a script all of it is sent again: scripts answer the same when they
        are run twice.
        """
        if not calls:
            return []
        try:
            replies = self.calls([call.command for call in calls])
        except ScriptMissing:
            replies = self.calls(_with_texts(calls))
        return [call.decode(reply) for call, reply in zip(calls, replies, strict=True)]

    def ask(self, commands: Commands[R]) -> R:
        """Send plain commands in one write and return what their replies say."""
        return commands.decode(self.calls(commands.commands))

    def run(self, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> list[bytes]:
        """Run a script and return its flat reply."""
        reply: list[bytes] = self._run(script.invocation(keys, args), script)
        return reply

    def run_each(
        self, script: Script, rounds: Sequence[tuple[Sequence[str], Sequence[Argument]]]
    ) -> list[list[bytes]]:
        """Run a script once for each pair of keys and arguments, in one write; return the replies.

        When the server does not have the script all of it is sent again: scripts answer the same
        when they are run twice.
        """
        if not rounds:
            return []
        commands = [script.invocation(keys, args) for keys, args in rounds]
        try:
            return self.calls(commands)
        except ScriptMissing:
            first, *others = commands
            return self.calls([["EVAL", script.text, *first[2:]], *others])

    def _run(self, command: Sequence[Argument], script: Script) -> Reply:
        try:
            return self.call(*command)
        except ScriptMissing:  # a restart or SCRIPT FLUSH emptied the cache
            if self.bring_scripts():
                with suppress(ScriptMissing):  # it may be emptied again
                    return self.call(*command)
            try:
                return self.call("EVAL", script.text, *command[2:])
            except StoreFault as error:
                if not refusals.is_forbidden(error):
                    raise
                raise Unreachable(_NO_SCRIPTS) from error

    def bring_scripts(self) -> bool:
        """Load all scripts, also for those whose users may only run them; False for such a user."""
        try:
            self.calls([("SCRIPT", "LOAD", script(name).text) for name in names()])
        except StoreFault as error:
            if not refusals.is_forbidden(error):
                raise
            return False
        return True

    def send(self, commands: Sequence[Sequence[Argument]]) -> None:
        """Write commands without waiting for their replies; `receive` them in the same order."""
        try:
            connection = self._opened()
            packed = b"".join(
                [pack_command(tuple(command)) for command in commands]  # type: ignore[arg-type]
            )
            connection.send_packed_command([packed], check_health=False)
        except (redis.RedisError, OSError) as error:
            raise self._broken(error) from error
        except UnicodeError:  # a host that no name server could be asked for
            self.close()
            raise InvalidInput(FIELD, "its host", URLS) from None

    def receive(self, count: int) -> list[Reply]:
        """Return that many replies in order; an error reply stands in the list as an exception."""
        return [self._receive() for _ in range(count)]

    def _receive(self) -> Reply:
        try:
            reply = self._connection.read_response(disable_decoding=True)
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise self._broken(error) from error
        except redis.ResponseError as error:
            return translated(error)
        except (redis.RedisError, OSError) as error:
            raise self._broken(error) from error
        self._served = True
        return reply

    def _broken(self, error: Exception) -> ParallaxError:
        """Drop the connection; return what broke it, as the server says who never served us."""
        host, port = self._route.tried
        self.close()
        ours = translated(error)
        if host and not self._served and any(word in str(ours) for word in _HUNG_UP):
            return refusals.greeting(host, port) or ours
        return ours

    def close(self) -> None:
        """Drop the connection; the next call opens a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()

    def _opened(self) -> Any:
        if self._connection is None:
            self._connection = self._route.open()
        return self._connection


def _with_texts(calls: Sequence[Call[Any]]) -> list[list[Argument]]:
    """Return the commands of these calls; the first run of each script brings its text."""
    brought: set[str] = set()
    commands = []
    for call in calls:
        known = call.script.digest in brought
        commands.append(call.command if known else call.command_with_text)
        brought.add(call.script.digest)
    return commands


def repeated(attempt: Callable[[], R], clock: Clock, random: Random, times: int = 5) -> R:
    """Call `attempt()` again after `Unreachable`, with jittered waits, up to `times` in all.

    Only for what answers the same when it is run twice: scripts and reads.
    """
    for n in range(times - 1):
        try:
            return attempt()
        except Unreachable:
            clock.wait(random.uniform(0, min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2**n)))
    return attempt()


def translated(error: Exception) -> ParallaxError:
    """Return the error of our own tree that a foreign one stands for."""
    text = str(error)
    elsewhere = redirected(error)
    if elsewhere is not None:
        return elsewhere
    told = refusals.refusal(error, text)
    if told is not None:
        return told
    wrapped = _WRAPPED.search(text)
    word = wrapped[1] if wrapped else ""
    if (
        word in _FULL
        or any(full in text[:80] for full in _FULL)
        or isinstance(error, redis.OutOfMemoryError)
    ):
        return StoreFull(f"Redis refuses writes that grow it: {text}")
    if isinstance(error, redis.exceptions.NoScriptError):
        return ScriptMissing(text)
    if isinstance(error, _PASSING_ERRORS) or word in _PASSING_WORDS:
        return Unreachable(f"Redis cannot serve just now: {text}")
    if isinstance(error, redis.ConnectionError | redis.TimeoutError | OSError):
        return tls.refusal(text) or Unreachable(f"Redis does not answer: {text}{tls.hint(text)}")
    if any(passing in text for passing in _PASSING) and not text.startswith("NOTBUSY"):
        return Unreachable(f"Redis cannot serve just now: {text}")
    if _WRONG_TYPE in text:
        return WrongType(text)
    return Spoilt(text) if any(words in text for words in _DATA) else StoreFault(text)
