"""The interface of all engines: how a worker runs one, and what an engine reports.

An engine never waits and is never polled. It is given requests, and *pushes* what happens to its
host: `Started` once, `Chunk`s of a streamed answer, `Done` once; and its `Condition`, where that
may change. The host is the worker's loop in life and a test's hand in tests; it lends the engine
timers, a thread beside the loop, and tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from parallax.engine.request import Consumed, Request


class Started(Struct, frozen=True):
    """A request had its first token at monotonic time `at` (seconds)."""

    id: str
    at: float
    output_tokens: int = 1
    cached_tokens: int = 0  # of its prompt, found in a cache
    joined_at: float | None = None  # when it joined the batch, where that is known


class Chunk(Struct, frozen=True):
    """A piece of a streamed answer: the bytes of one `data:` payload, to be forwarded as it is."""

    id: str
    at: float
    data: bytes
    output_tokens: int = 0  # of the answer so far


class Done(Struct, frozen=True):
    """A request has ended. With an `error` it failed; `again`: another attempt may do better.

    `untouched`: the engine had not begun with it, so the attempt does not count.
    """

    id: str
    at: float
    output_tokens: int = 0
    cached_tokens: int = 0
    joined_at: float | None = None
    first_at: float | None = None  # its first token, if no `Started` told of it
    answer: bytes = b""
    error: str = ""
    again: bool = False
    untouched: bool = False
    prompt_tokens: int | None = None  # of its prompt, where the engine has counted them


class Condition(Struct, frozen=True):
    """The engine's capacity has changed: it takes nothing while it is not `ready`, and `slots`
    requests at once else. `why` it is less than usual is for people."""

    at: float
    ready: bool
    slots: int
    why: str = ""


Event = Started | Chunk | Done | Condition


class Timer(Protocol):
    """A call that will be made."""

    def cancel(self) -> None:
        """Do not make it."""


class Task(Protocol):
    """Something that goes on beside the loop's other work."""

    def cancel(self) -> Any:
        """Let it end where it waits."""


class Host(Protocol):
    """The process around an engine. All it calls, it calls in the loop, one after the other."""

    def tell(self, events: Sequence[Event]) -> None:
        """Hear what happened, in order."""

    def at(self, when: float, work: Callable[[], None]) -> Timer:
        """Call `work()` at a monotonic time, or as soon as possible after it."""

    def aside(self, work: Callable[[], None], then: Callable[[], None]) -> None:
        """Call `work()` beside the loop, in a thread, and `then()` in the loop when it returned."""

    def run(self, work: Coroutine[Any, Any, None]) -> Task:
        """Run this in the loop, until it ends or the host does; only hosts with a loop can."""


class Engine(Protocol):
    """A batching engine that lives in real time. Times are monotonic seconds."""

    name: str
    reads_bodies: bool  # whether it needs the bodies of requests

    @property
    def slots(self) -> int:
        """Requests that run at once; a change is told as a `Condition`."""

    @property
    def ready(self) -> bool:
        """Whether it can take requests; a change is told as a `Condition`."""

    @property
    def kv_capacity(self) -> int:
        """Tokens of KV cache; 0 = not known."""

    @property
    def kv_used(self) -> float:
        """Share of KV memory in use, 0..1."""

    def start(self, host: Host) -> None:
        """Live in this host from now on. Called once, before the first request."""

    def add(self, request: Request, now: float) -> None:
        """Take a request at `now`; raises InvalidInput if it can never be served.

        One that is `prefilled` starts when its KV cache has been transferred. No event of it is
        told before this returns.
        """

    def stop(self, request_id: str) -> Consumed | None:
        """Drop a request; return what it has consumed, None if it is not here or nobody knows.

        Up to now, not up to the last event: a stopped request is charged by this. No event of it is
        told afterwards.
        """

    def describe(self) -> Mapping[str, str | int | float]:
        """The facts about its engine that a worker registers."""
