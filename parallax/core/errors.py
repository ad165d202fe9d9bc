"""Every error Parallax raises on purpose, as one tree.

    ParallaxError
    ├── InvalidInput          the caller's fault: says which field, which value, what is allowed
    │   ├── UnknownPolicy     no policy (or parameter) of that name; lists the known ones
    │   └── InvalidSettings   a setting is unknown or out of range
    ├── Refused               understood, but not accepted now; carries `retry_after_s`
    ├── Conflict              the same job id was used before with another content
    ├── NotCompleted          a job ended otherwise than completed; carries how, and its report
    ├── BrokenAnswer          a part of an answer is missing, or of another attempt
    ├── TimedOut              nobody told of the job's end in the time given; it may still end
    ├── Unreachable           Redis does not answer, or not in time: the outcome is unknown
    ├── StoreFull             Redis is at its memory limit: accepted work drains, new work waits
    ├── Fenced                this process is no longer the leader; what it asked was not done
    └── StoreFault            Redis answered something that no retry will mend
        └── Unusable          what is at the address will not serve us: why, and what to do

Foreign exceptions are translated into this tree at one door, `parallax.broker.link.errors`.
"""

from __future__ import annotations

from parallax.core.reasons import Reason
from parallax.core.text import printable


class ParallaxError(Exception):
    """Base of every error below."""


class InvalidInput(ParallaxError):
    """A field holds a value that is not allowed. The message names field, value and rule."""

    most = 200  # characters told of the allowed values: they may quote foreign data

    def __init__(self, field: str, value: object, allowed: str) -> None:
        self.field = field
        self.value = value
        self.allowed = allowed
        super().__init__(
            f"{_line(field)}: {_shown(value)} is not allowed; {_line(allowed, self.most)}"
        )


class UnknownPolicy(InvalidInput):
    """No policy, or no parameter of it, has that name."""

    most = 2_000  # the list of those that there are


class InvalidSettings(InvalidInput):
    """A setting is unknown, of the wrong type, or out of range."""

    most = 2_000  # the list of those that there are


class Refused(ParallaxError):
    """The job was not accepted because a limit is reached; it may be offered again later.

    `said` is for people, `reason` for programs; `retry_after_s` is in seconds.
    """

    def __init__(
        self, said: str, retry_after_s: float, reason: Reason = Reason.TENANT_QUEUE_FULL
    ) -> None:
        self.said, self.reason = said, reason
        self.retry_after_s = retry_after_s
        super().__init__(f"refused: {said}; try again in {retry_after_s:g} s")


class Conflict(ParallaxError):
    """A job with this id exists and says something else."""


class NotCompleted(ParallaxError):
    """A job ended, but not as it was meant to: `outcome` is the word for how."""

    def __init__(self, job_id: str, outcome: str, why: str) -> None:
        self.job_id, self.outcome, self.why = job_id, outcome, why
        super().__init__(f"job {job_id}: {outcome}" + (f": {_line(why)}" if why else ""))


class BrokenAnswer(ParallaxError):
    """An answer that came in pieces cannot be put together: one is missing, or does not belong."""


class TimedOut(ParallaxError):
    """Jobs have not ended within the time given. They were accepted, and may still end."""


class Unreachable(ParallaxError):
    """Redis did not answer in time. Whether the last command was executed is not known."""


class StoreFull(ParallaxError):
    """Redis refuses writes that grow it (`maxmemory`, or its disk is full).

    Accepted jobs drain meanwhile and make room, so it is worth coming back.
    """

    retry_after_s = 5.0

    def __init__(self, reason: str) -> None:
        hint = f"; try again in {self.retry_after_s:g} s"
        super().__init__(f"{reason.rstrip('.').removesuffix(hint)}{hint}")


class Fenced(ParallaxError):
    """Another process holds the lease; the command changed nothing."""


class StoreFault(ParallaxError):
    """Redis answered with an error that asking again will not change."""


class Unusable(StoreFault):
    """The server at the address refuses to serve. The message says why, and what to do."""


def _line(text: str, most: int = 200) -> str:
    """Keep a text that may quote foreign data short and on one line."""
    shown = printable(text[: most + 1])
    return shown if len(text) <= most else f"{shown[: most - 3]}..."


def _shown(value: object) -> str:
    """Render a value for a message: short, on one line, whatever it is."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
