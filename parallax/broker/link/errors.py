"""Foreign errors become ours: at this door, and nowhere else."""

from __future__ import annotations

import re

import redis

from parallax.broker.link import refusals, tls
from parallax.broker.link.nodes import redirected
from parallax.core.errors import ParallaxError, StoreFault, StoreFull, Unreachable

#: The message for a connection that the server closed.
HUNG_UP = ("reset", "closed by server", "roken pipe")
_FULL = ("OOM",)
#: Redis 6.2 puts what stopped a script into a sentence of its own, and the word into its middle.
_WRAPPED = re.compile(r"^Error running script .*?: \d+: -([A-Z]+) ")
_WRONG_TYPE = "WRONGTYPE"
#: How scripts and servers report a value of a wrong type.
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
    """The server does not have this script in its cache. Never leaves this package."""


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
