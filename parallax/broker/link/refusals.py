"""Classifies refusals of servers, and of peers that are no Redis, and says what to do."""

from __future__ import annotations

import socket
from contextlib import suppress
from errno import EMFILE, ENFILE

import redis

from parallax.core.errors import ParallaxError, StoreFault, StoreFull, Unreachable, Unusable

#: How long a server that hung up may take to say why, when it is asked once more.
PROBE_S = 0.5

_FILES = "this process may open no more files: raise `ulimit -n`, or close what it does not need"
_CLIENTS = "Redis has as many clients as it may have: raise its maxclients and `ulimit -n`"
_PROTECTED = (
    "Redis is in protected mode and serves this machine only: set a password for it "
    "(`requirepass`, or users of an ACL) and name that in the URL"
)
_DISK = (
    "Redis cannot write to its disk: free some space there. It goes on by itself, and so do we; "
    "what was accepted is kept"
)
_NO_USER = (
    "Redis refuses user or password: {}; look at the URL, and percent-encode what is special in a "
    "password (%20 for a blank, %23 #, %2F /, %3F ?, %40 @)"
)
_NAMELESS = "Redis asks for a password: write redis://:PASSWORD@host, or redis://USER:PASSWORD@host"
#: Beginnings of replies that no Redis gives, as the parsers of redis-py quote them.
_STRANGERS = (
    (("HTTP/", 'got "H"', "b'HTTP"), "it speaks HTTP"),
    (('got "\\x15"', "\\x15\\x03", 'got "\x15"'), "it speaks TLS: use rediss://"),
)


def refusal(error: Exception, text: str) -> ParallaxError | None:
    """Return what an error means that comes from the server's state, or from no server of ours.

    None if it is about something else.
    """
    if isinstance(error, OSError) and error.errno in {EMFILE, ENFILE}:
        return Unreachable(_FILES)
    if "Too many open files" in text:
        return Unreachable(_FILES)
    if "max number of clients" in text:
        return Unreachable(_CLIENTS)
    if "DENIED" in text[:12] or "protected mode" in text:
        return Unusable(_PROTECTED)
    if "MISCONF" in text:
        return StoreFull(f"{_DISK} ({_reason(text)})")
    if "NOAUTH" in text[:60] or "Authentication required" in text:
        return Unusable(_NAMELESS)
    if isinstance(error, redis.AuthenticationError) or "WRONGPASS" in text[:60]:
        return Unusable(_NO_USER.format(text.rstrip(".")))
    if isinstance(error, redis.exceptions.NoPermissionError):
        return StoreFault(f"Redis refuses this user: {text}")
    if isinstance(error, redis.exceptions.InvalidResponse):
        return _stranger(text)
    return None


def is_forbidden(error: ParallaxError) -> bool:
    """Whether the server refused something to this user."""
    text = str(error)
    return "refuses this user" in text or "NOPERM" in text or "permissions" in text


def greeting(host: str, port: int) -> ParallaxError | None:
    """Return why a server hangs up on us, if it tells a client that connects; else None.

    It speaks before we do and closes: its message is lost when we have written meanwhile.
    """
    with suppress(OSError), socket.create_connection((host, port), PROBE_S) as probe:
        probe.settimeout(PROBE_S)
        said = probe.recv(300).decode("ascii", "replace")
        return refusal(redis.ConnectionError(said), said.removeprefix("-"))
    return None


def _stranger(text: str) -> Unusable:
    what = next((what for marks, what in _STRANGERS if any(m in text for m in marks)), "")
    said = f": {what}" if what else f" ({text[:80]})"
    return Unusable(f"what listens at this address is no Redis{said}; look at host and port")


def _reason(text: str) -> str:
    """Return the last words of a MISCONF: what the system said of the file."""
    said = text.partition("MISCONF")[2].partition(" script:")[0].strip(" .")
    return (said.rpartition(": ")[2] or "MISCONF")[:80]
