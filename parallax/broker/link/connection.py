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

from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Any, TypeVar

import redis
from hiredis import pack_command

from parallax.broker.link import dialogue, refusals
from parallax.broker.link.call import Call, Commands
from parallax.broker.link.dialogue import Ask, Dialogue
from parallax.broker.link.endpoint import SOCKET_TIMEOUT_S, Endpoint
from parallax.broker.link.errors import HUNG_UP, translated
from parallax.broker.link.nodes import Route
from parallax.broker.link.scripts import Argument
from parallax.broker.link.sentinel import check_leads, demoted
from parallax.core.clock import Clock
from parallax.core.errors import InvalidInput, ParallaxError, Unreachable
from parallax.core.redis_url import FIELD, URLS

R = TypeVar("R")
Reply = Any

#: Waits between repetitions: full jitter up to base * 2^n, capped, in seconds.
BACKOFF_BASE_S, BACKOFF_CAP_S = 0.05, 2.0


class Link:
    """A connection that opens itself when it is first used, and again after it broke.

    Not safe to share between threads: each thread has its own.
    """

    def __init__(
        self, connect: Callable[..., Any], *, asks: bool = False, watched: bool = False
    ) -> None:
        # `connect` may be given another host and port than those of the URL. With `asks` the first
        # server is asked whether it is a node of a cluster: once it is gone, others must be known.
        # With `watched` sentinels say where it is, and one that does not lead is left.
        self._origin = connect, asks, watched
        self._watched, self._demoted = watched, False
        self._connect = connect
        self._route = Route(asks)
        self._connection: Any = None
        self._tried = "", 0  # host and port of the last connection
        self._served = False  # whether any server has ever answered here

    @classmethod
    def to(cls, url: str, timeout_s: float = SOCKET_TIMEOUT_S) -> Link:
        """Return a link to the server at `url` (`redis://`, `rediss://`, `unix://`).

        Raises InvalidInput for a URL that cannot be (see `parallax.core.redis_url`). `timeout_s` is
        the longest wait for a reply.
        """
        endpoint = Endpoint.of(url, timeout_s)
        return cls(endpoint.connection, asks=endpoint.asks, watched=endpoint.sentinels is not None)

    def twin(self) -> Link:
        """Return another link to the same server, for another thread."""
        connect, asks, watched = self._origin
        return Link(connect, asks=asks, watched=watched)

    @property
    def address(self) -> str:
        """Host and port that were reached last; '' before that, and for a unix socket."""
        host, port = getattr(self._connection, "host", ""), getattr(self._connection, "port", "")
        return f"{host}:{port}" if host else ""

    def carry(self, dialogue: Dialogue[R]) -> R:
        """Send the commands of a dialogue and give it the replies; return its result."""
        answers: list[Reply] | None = None
        while True:
            try:
                ask = next(dialogue) if answers is None else dialogue.send(answers)
            except StopIteration as done:
                result: R = done.value
                return result
            answers = self._answers(ask)

    def _answers(self, ask: Ask) -> list[Reply]:
        if ask.moved is not None:
            self._route.follow(ask.moved, getattr(self._connection, "host", ""))
            self.close()
        self.send(ask.commands)
        return self.receive(len(ask.commands))

    def call(self, *command: Argument) -> Reply:
        """Send one command and return its reply. An error reply is raised."""
        return self.calls([command])[0]

    def calls(self, commands: Sequence[Sequence[Argument]]) -> list[Reply]:
        """Send commands in one write and return their replies; the first error reply is raised."""
        return self.carry(dialogue.calls(commands))

    def do(self, call: Call[R]) -> R:
        """Carry out an operation and return its decoded reply."""
        return self.carry(dialogue.do(call))

    def do_each(self, calls: Sequence[Call[R]]) -> list[R]:
        """Carry out operations in one write and return their decoded replies, in order."""
        return self.carry(dialogue.do_each(calls)) if calls else []

    def ask(self, commands: Commands[R]) -> R:
        """Send plain commands in one write and return what their replies say."""
        return commands.decode(self.calls(commands.commands))

    def bring_scripts(self) -> bool:
        """Load all scripts, also for those whose users may only run them; False for such a user."""
        return self.carry(dialogue.bring_scripts())

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
            self._demoted |= self._watched and demoted(error)
            return translated(error)
        except (redis.RedisError, OSError) as error:
            raise self._broken(error) from error
        self._served = True
        return reply

    def _broken(self, error: Exception) -> ParallaxError:
        """Drop the connection; return what broke it, as the server says who never served us."""
        host, port = self._tried
        self.close()
        ours = translated(error)
        if host and not self._served and any(word in str(ours) for word in HUNG_UP):
            return refusals.greeting(host, port) or ours
        return ours

    def close(self) -> None:
        """Drop the connection; the next call opens a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()

    def _opened(self) -> Any:
        if self._demoted:
            self._demoted = False
            self.close()
        if self._connection is None:
            self._connection = self._made()
        return self._connection

    def _made(self) -> Any:
        """Return a new connection. After a failure the next one is made elsewhere."""
        here = self._route.here
        connection = self._connect() if here is None else self._connect(host=here[0], port=here[1])
        self._tried = getattr(connection, "host", ""), getattr(connection, "port", 0)
        try:
            connection.connect()
            if self._watched:
                _check_leads(connection)
            questions = self._route.questions(self._tried[0])
            answer = None
            with suppress(StopIteration):
                while True:
                    answer = _asked(connection, questions.send(answer))
        except BaseException:
            self._route.failed()
            raise
        return connection


def _check_leads(connection: Any) -> None:
    try:
        check_leads(_asked(connection, ("ROLE",)))
    except redis.ConnectionError:
        connection.disconnect()
        raise


def _asked(connection: Any, command: Sequence[str]) -> Any:
    """Return the answer to a question that we can do without."""
    packed = pack_command(tuple(command))  # type: ignore[arg-type]
    connection.send_packed_command([packed], check_health=False)
    try:
        return connection.read_response(disable_decoding=True)
    except redis.ResponseError:
        return ()


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
