"""Keeping passwords out of whatever people read: messages, logs, tables."""

from __future__ import annotations

import re
from itertools import pairwise

from parallax.core.redis_url import PLAIN, password_of

_HIDDEN = "***"
#: Where URLs begin; a text may have several.
_START = re.compile(r"(?<![A-Za-z0-9+.-])(?:redis(?:s|\+sentinel)?|valkeys?|unix|https?)://")
#: Where one ends, once nothing in it can be a password any more.
_END = re.compile(r"[\s'\"]")
_USER = re.compile(r"([A-Za-z0-9._-]*)(:|$)")


def redacted(text: str) -> str:
    """Return text (a URL, or a message with URLs in it) without the passwords of its URLs.

    A password may hold whatever its owner typed, blanks, `/` and `@` too: all is hidden from the
    scheme, and the name of the user, to the last `@` before the next URL. Of parameters only the
    values of those are shown that are no secret. Text without a URL stays as it is. O(length).
    """
    starts = [found.span() for found in _START.finditer(text)]
    if not starts:
        return text
    ends = [*(begin for begin, _ in starts[1:]), len(text)]
    parts = [text[: starts[0][0]]]
    for (begin, after), end in zip(starts, ends, strict=True):
        parts.append(text[begin:after] + _shown(text[after:end]))
    return "".join(parts)


def _shown(rest: str) -> str:
    """Return the part to show of a URL without its scheme, and of the text that follows it."""
    hidden, at, host = rest.rpartition("@")
    user = _USER.match(hidden)
    shown = f"{user[1]}{user[2]}" if user else ""
    before = f"{shown}{_HIDDEN if hidden[len(shown) :] else ''}@" if at else ""
    ending = _END.search(host)
    url, behind = (host[: ending.start()], host[ending.start() :]) if ending else (host, "")
    place, mark, query = url.partition("?")
    return before + place + mark + "&".join(map(_parameter, query.split("&"))) + behind


def _parameter(pair: str) -> str:
    name, equals, _ = pair.partition("=")
    return pair if not equals or name in PLAIN else f"{name}={_HIDDEN}"


def has_password(url: str) -> bool:
    """Say whether a URL, or one in a list of several, tells a password."""
    starts = [*(found.start() for found in _START.finditer(url)), len(url)]
    return any(password_of(url[a:b]) for a, b in pairwise(starts))
