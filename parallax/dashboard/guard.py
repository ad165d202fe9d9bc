"""Decides which requests may read and which may write.

On a loopback address everybody on this machine may look; anywhere else, and for every change, the
token is wanted that was printed at the start, or an API key that may administer. A browser hands
either in once and gets a cookie that no script can read and no other site can send. Two more looks
keep other sites out: on a loopback address the request must name this machine as its host (no page
whose name was bent to point here), and a change must come from our own pages (`Origin`).
"""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import Request

from parallax.broker.store.keyring import ADMIN, ApiKey, id_of
from parallax.core.clock import Clock
from parallax.dashboard.problems import Problem
from parallax.producers.gateway.doorkeeper import FRESH_S, LOOPBACK
from parallax.producers.gateway.fresh import Fresh

#: How long a session lasts (seconds), and how many there are at most.
SESSION_S, MOST_SESSIONS = 12 * 3600, 1_000

_SAFE = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True, slots=True)
class _Session:
    """The identity behind a cookie: the printed token, or a key, which may be revoked meanwhile."""

    until: float
    key: str | None  # the API key itself; None: the printed token


class Guard:
    """See the module's docstring."""

    def __init__(
        self, known: Callable[[], Mapping[str, ApiKey]], clock: Clock, token: str, *, local: bool
    ) -> None:
        """`known` reads all API keys, beside the loop; `local`: only this machine is heard."""
        self._keys, self._clock = Fresh(known, clock, FRESH_S), clock
        self._token, self.local = token, local
        self._sessions: OrderedDict[str, _Session] = OrderedDict()

    def check_site(self, request: Request) -> None:
        """Refuse what a page of another site asks for; raises Problem."""
        host = request.headers.get("host", "")
        if self.local and _name(host) not in LOOPBACK:
            said = "only this machine is heard here, under a name of its own (127.0.0.1, localhost)"
            raise Problem("forbidden", said, "host")
        if request.method in _SAFE:
            return
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            raise Problem("forbidden", "changes are made from the dashboard's own pages", "origin")
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise Problem("forbidden", "changes are made from the dashboard's own pages", "origin")

    async def may_write(self, request: Request) -> bool:
        """Whether this request may change something."""
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return await self._is_good(bearer.strip())
        session = self._session(request)
        if session is None:
            return False
        return session.key is None or await self._is_good(session.key)

    async def may_read(self, request: Request) -> bool:
        """Whether this request may look."""
        return self.local or await self.may_write(request)

    async def check(self, request: Request) -> None:
        """Raise Problem unless this request may be made."""
        self.check_site(request)
        looks = request.method in _SAFE
        if await (self.may_read(request) if looks else self.may_write(request)):
            return
        what = "to look from another machine" if looks else "to change something"
        said = f"{what}, sign in with the token that was printed at the start, or an API key of "
        raise Problem("unauthorized", said + "the scope admin")

    async def needs(self) -> str:
        """Return the credential for signing in: `key` where there are API keys, else `token`."""
        return "key" if await self._keys.get() else "token"

    async def sign_in(self, token: str) -> str:
        """Return the cookie of a new session; raises Problem for a token that is none."""
        if not await self._is_good(token):
            said = "this is neither the token that was printed at the start nor a good API key of "
            raise Problem("unauthorized", said + "the scope admin")
        own = hmac.compare_digest(token.encode(), self._token.encode())
        cookie = secrets.token_urlsafe(32)
        until = self._clock.monotonic() + SESSION_S
        self._sessions[cookie] = _Session(until, None if own else token)
        while len(self._sessions) > MOST_SESSIONS:
            self._sessions.popitem(last=False)
        return cookie

    def sign_out(self, request: Request) -> None:
        """End the session of a request."""
        self._sessions.pop(request.cookies.get(cookie_name(request), ""), None)

    def _session(self, request: Request) -> _Session | None:
        cookie = request.cookies.get(cookie_name(request), "")
        session = self._sessions.get(cookie)
        if session is not None and self._clock.monotonic() >= session.until:
            del self._sessions[cookie]
            return None
        return session

    async def _is_good(self, token: str) -> bool:
        if hmac.compare_digest(token.encode("utf-8", "replace"), self._token.encode()):
            return True
        id_ = id_of(token)
        key = (await self._keys.get()).get(id_) if id_ else None
        return key is not None and key.is_good(token, self._clock.now()) and key.may(ADMIN)


def cookie_name(request: Request) -> str:
    """Return the name of our cookie: ports of one machine share their cookies."""
    return f"parallax_session_{request.url.port or 80}"


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
