"""Keeping passwords out of whatever people read: messages, logs, tables."""

from __future__ import annotations

import re

_HIDDEN = "***"
#: `user:password@` after a scheme, or at the start of a word; the last `@` ends the password.
_CREDENTIALS = re.compile(r"(?<=://)([^/:@\s]*):\S*@|(?<![^\s'\"])([^/:@\s]+):[^/\s]*@")
#: Redis URLs may say anything in their parameters; only the number of the database is no secret.
_PARAMETER = re.compile(r"([?&](?!db=)[\w-]+=)[^&\s'\"]*")


def redacted(text: str) -> str:
    """Return text (a URL, or a message with URLs in it) without the passwords of its URLs."""
    return _PARAMETER.sub(rf"\1{_HIDDEN}", _CREDENTIALS.sub(rf"\1\2:{_HIDDEN}@", text))


def has_password(url: str) -> bool:
    """Say whether a URL tells a password."""
    return redacted(url) != url
