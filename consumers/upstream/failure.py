"""Classifies a server's error: its meaning for the request, and for the server."""

from __future__ import annotations

from math import isfinite
from typing import Any

import msgspec

from parallax.core.text import printable

#: Statuses that say: not now. They are no fault of the request.
BUSY = frozenset({408, 425, 429, 503, 529})
#: Statuses that say: not with this key.
LOCKED = frozenset({401, 403})

#: Longest pause that a server may ask for (seconds), and longest text told of an error.
MOST_PAUSE_S, MOST_TEXT = 60.0, 300


class Failure(Exception):
    """An exchange with a server failed."""

    def __init__(
        self,
        why: str,
        *,
        again: bool = True,  # another attempt may do better
        untouched: bool = False,  # the server has not begun with it
        busy: bool = False,  # it said: not now
        blames: bool = True,  # it speaks of the server and not of the request
        locked: bool = False,  # it refuses our key
        pause_s: float | None = None,  # it said when to come back
    ) -> None:
        self.why, self.again, self.untouched, self.busy = why, again, untouched, busy
        self.blames, self.locked, self.pause_s = blames, locked, pause_s
        super().__init__(why)


def of_status(status: int, retry_after: str, body: bytes) -> Failure:
    """Return what an answer with this status means. The key is in none of the texts."""
    said = text_of(body)
    if status in LOCKED:  # what it says may quote the key
        return Failure(f"the backend refuses its key ({status})", locked=True)
    if "insufficient_quota" in said:
        return Failure(
            f"the backend's quota is used up ({status})", busy=True, pause_s=MOST_PAUSE_S
        )
    if status in BUSY:
        told = f"the backend is busy ({status}{': ' if said else ''}{said})"
        return Failure(told, busy=True, blames=False, pause_s=_seconds(retry_after))
    if 400 <= status < 500:
        told = said or "it says no more"
        return Failure(f"the backend refuses it ({status}): {told}", again=False, blames=False)
    if 300 <= status < 400:
        return Failure(f"the backend leads elsewhere ({status}): name that address", again=False)
    return Failure(f"the backend failed ({status}{': ' if said else ''}{said})")


def of_error(error: Any) -> Failure:
    """Return what an `error` in the midst of an answer means."""
    code = error.get("code") if isinstance(error, dict) else None
    said = _said({"error": error}) or "it says no more"
    if isinstance(code, int) and 400 <= code < 500 and code not in BUSY | LOCKED:
        return Failure(f"the backend refuses it: {said}", again=False, blames=False)
    busy = isinstance(code, int) and code in BUSY
    return Failure(f"the backend failed: {said}", busy=busy, blames=not busy)


def text_of(body: bytes) -> str:
    """Return what the body of an error says to people, on one short line."""
    try:
        return _said(msgspec.json.decode(body))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _line(body.decode("utf-8", "replace")) if b"<" not in body[:20] else ""


def _said(document: Any) -> str:
    """Return the message of an error of OpenAI's form, or of the forms that others have."""
    for name in ("error", "message", "detail", "code"):
        found = document.get(name) if isinstance(document, dict) else None
        if isinstance(found, str):
            return _line(found)
        if isinstance(found, dict) and (said := _said(found)):
            code = found.get("code") or found.get("type")
            return f"{code}: {said}" if code == "insufficient_quota" else said
        if isinstance(found, list) and found:
            return _line(str(found[0]))
    return ""


def _line(text: str) -> str:
    shown = printable(" ".join(text[: 4 * MOST_TEXT].split()))
    return shown if len(shown) <= MOST_TEXT else f"{shown[: MOST_TEXT - 3]}..."


def _seconds(text: str) -> float | None:
    """Read `Retry-After`; a date is as good as nothing, for whose clock is right is not known."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return min(MOST_PAUSE_S, max(0.0, seconds)) if isfinite(seconds) else None
