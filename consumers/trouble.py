"""Trouble on purpose: for trying out what rescues from it."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, replace

from msgspec import structs

from parallax.consumers.engines.interface import Done, Event
from parallax.core.errors import InvalidInput
from parallax.core.hashing import share
from parallax.core.model import check_int, check_number
from parallax.engine.request import Request


@dataclass(frozen=True, slots=True)
class Slowdown:
    """A share of all executions is `factor` times slower.

    Which ones follows from the seed, the job and the number of the attempt, and from nothing else:
    the simulator draws the same, and a second attempt draws anew.
    """

    share: float = 0.0
    slower: float = 10.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_number("slow share", self.share, 0.0, 1.0)
        check_number("slow factor", self.slower, 1.0, 1e4)
        check_int("slow seed", self.seed, 0, 2**63)

    def factor(self, job_id: str, attempt: str | int) -> float:
        """Return how many times slower this execution is."""
        if not self.share:
            return 1.0
        return self.slower if share(f"{self.seed}/{job_id}/{attempt}") < self.share else 1.0


NEVER_SLOW = Slowdown()


@dataclass(frozen=True, slots=True)
class Failures:
    """A share of all executions fails when it should end. Which ones is drawn as in `Slowdown`."""

    share: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_number("fail share", self.share, 0.0, 1.0)
        check_int("fail seed", self.seed, 0, 2**63)

    def strike(self, job_id: str, attempt: str | int) -> bool:
        """Return whether this execution fails."""
        return self.share > 0 and share(f"fail/{self.seed}/{job_id}/{attempt}") < self.share


NEVER_FAILS = Failures()


def parsed_slowdown(text: str) -> Slowdown:
    """Read `0.02:10` or `0.02:10:SEED`; '' is none. Raises InvalidInput."""
    if not text:
        return NEVER_SLOW
    share, _, rest = text.partition(":")
    slower, _, seed = rest.partition(":")
    try:
        return Slowdown(float(share), float(slower), int(seed or 0))
    except ValueError:
        raise InvalidInput("--slow", text, "SHARE:FACTOR or SHARE:FACTOR:SEED") from None


def parsed_failures(text: str) -> Failures:
    """Read `0.02` or `0.02:SEED`; '' is none. Raises InvalidInput."""
    if not text:
        return NEVER_FAILS
    share, _, seed = text.partition(":")
    try:
        return Failures(float(share), int(seed or 0))
    except ValueError:
        raise InvalidInput("--fail", text, "SHARE or SHARE:SEED") from None


def crash_on(prefix: str, job_id: str) -> None:
    """End this process if it was told to die of jobs whose id begins with `prefix`."""
    if prefix and job_id.startswith(prefix):
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Wraps an engine: all its requests and all its events pass here."""

    slowdown: Slowdown = NEVER_SLOW
    failures: Failures = NEVER_FAILS
    crash_on: str = ""

    @property
    def strikes(self) -> bool:
        """Whether any event of an engine is to be changed."""
        return self.failures.share > 0

    def added(self, request: Request, attempt: str) -> Request:
        """Return a request as the engine is to have it; some kill the process."""
        crash_on(self.crash_on, request.id)
        factor = self.slowdown.factor(request.id, attempt)
        return request if factor == 1.0 else replace(request, factor=factor)

    def told(self, event: Event, attempt: str) -> Event:
        """Return the events to report in place of an engine's event."""
        if isinstance(event, Done) and self.failures.strike(event.id, attempt):
            return structs.replace(event, error="the engine failed", again=True)
        return event
