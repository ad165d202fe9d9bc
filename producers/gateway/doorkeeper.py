"""Authorises requests: by API keys, or only those of this machine.

Where there is no key in the store a gateway is open, but only if it listens on a loopback address:
then it hears only requests that name this machine as their host, so that no web page that a user of
it visits can ask for him. Storing the first key closes it, within `FRESH_S`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from parallax.broker.store.keyring import ASK, SPEAK, ApiKey, id_of
from parallax.core.clock import Clock
from parallax.producers.gateway.fresh import Fresh
from parallax.producers.gateway.meaning import TENANT_HEADERS, Speaker
from parallax.producers.gateway.problems import Code, Problem

#: How long a key may be good after it was revoked (seconds).
FRESH_S = 2.0

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class Openness:
    """Whether a gateway may be asked without a key, and from other machines then."""

    without_keys: bool
    from_anywhere: bool = False


#: What an address is open to; keys are wanted wherever others can reach it.
LOCAL, GUARDED, INSECURE = Openness(True), Openness(False), Openness(True, from_anywhere=True)


class Doorkeeper:
    """Looks at every request before anything is done for it."""

    def __init__(
        self, known: Callable[[], Mapping[str, ApiKey] | None], clock: Clock, openness: Openness
    ) -> None:
        """`known` reads all keys, beside the loop; None: there never was one."""
        self._clock, self._openness = clock, openness
        self._keys = Fresh(known, clock, FRESH_S)

    async def admit(self, headers: Mapping[str, str], scope: str = ASK) -> Speaker:
        """Return for whom a request speaks; raises Problem if it may not be made."""
        keys = await self._keys.get()
        if keys is None and self._openness.without_keys:
            self._check_host(headers.get("host", ""))
            return Speaker()
        id_, key = self._key(headers, keys or {})
        if not key.may(scope):
            raise Problem(403, Code.NOT_ALLOWED, f"this key may not do that: {scope} is needed")
        return Speaker(self._tenant(headers, key), id_, frozenset(key.models), key.rates)

    def _check_host(self, host: str) -> None:
        if self._openness.from_anywhere:
            return
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            name = ""
        if name not in LOOPBACK:
            said = "without API keys only this machine is heard, under a name of its own"
            raise Problem(403, Code.NOT_ALLOWED, said, param="host")

    def _key(self, headers: Mapping[str, str], keys: Mapping[str, ApiKey]) -> tuple[str, ApiKey]:
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        token = bearer.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        id_ = id_of(token)
        key = keys.get(id_) if id_ else None
        if id_ is None or key is None or not key.is_good(token, self._clock.now()):
            said = "send a good API key: `Authorization: Bearer KEY`"
            raise Problem(401, Code.INVALID_KEY, said)
        return id_, key

    @staticmethod
    def _tenant(headers: Mapping[str, str], key: ApiKey) -> str | None:
        """Return the key's tenant; None if a header names one, and the key may speak for it."""
        named = next((headers[name] for name in TENANT_HEADERS if headers.get(name)), None)
        if named is None or named == key.tenant:
            return key.tenant
        if not key.may(SPEAK):
            said = f"this key speaks for {key.tenant} only"
            raise Problem(403, Code.NOT_ALLOWED, said, param="tenant")
        return None
