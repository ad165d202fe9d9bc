"""API keys: their stored form, and the answers to each caller.

A key is `plx-<id>-<secret>`, with 256 random bits that are shown once, when it is made. Stored are
its id and a SHA-256 of all of it: a reader of the store cannot use what it finds there, and
since the secret is random a slow hash would add nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec

from parallax.broker.link.connection import Link
from parallax.broker.link.scripts import Argument
from parallax.broker.store.codec import VERSION, Message, Name, encode
from parallax.broker.store.keys import Keys
from parallax.broker.store.rates import Rates
from parallax.core.errors import InvalidInput
from parallax.core.model import check_int, check_name, check_number

#: What a key may do: ask engines; name the tenant it speaks for; read the gateway's metrics.
ASK, SPEAK, ADMIN = "ask", "speak", "admin"
SCOPES = (ASK, SPEAK, ADMIN)

#: Longest life of a key (seconds), and most models that it may name.
MAX_LIFE_S, MOST_MODELS = 10 * 366 * 86_400.0, 100

#: Most requests or tokens a minute that are worth a limit.
MOST_RATE = 1_000_000_000

_TOKEN = re.compile(r"plx-([0-9a-f]{12})-[A-Za-z0-9_-]{43}", re.ASCII)
_Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Rate = Annotated[int, msgspec.Meta(ge=0, le=MOST_RATE)]
_Time = Annotated[float, msgspec.Meta(ge=0, le=1e11)]


class ApiKey(Message, frozen=True):
    """A key as it is stored. Times are seconds since the epoch; no `models`: all of them."""

    v: Annotated[int, msgspec.Meta(ge=VERSION, le=VERSION)]
    digest: _Digest
    tenant: Name
    created: _Time
    scopes: tuple[str, ...] = (ASK,)
    models: tuple[str, ...] = ()
    expires: _Time | None = None
    requests_per_minute: _Rate = 0  # 0: as many as it likes
    tokens_per_minute: _Rate = 0

    @property
    def rates(self) -> Rates:
        """Its rates: the requests and tokens that it may ask for in a minute."""
        return Rates(self.requests_per_minute, self.tokens_per_minute)

    def is_good(self, token: str, now: float) -> bool:
        """Whether this is the key, and it has not expired. Takes as long whatever is wrong."""
        same = hmac.compare_digest(self.digest, digest_of(token))
        return same and not self.has_expired(now)

    def has_expired(self, now: float) -> bool:
        """Whether its time is over."""
        return self.expires is not None and now >= self.expires

    def may(self, scope: str) -> bool:
        """Whether it has a scope; who may administer may do the rest."""
        return scope in self.scopes or ADMIN in self.scopes


_decoder = msgspec.json.Decoder(ApiKey)


def digest_of(token: str) -> str:
    """Return the stored form of a key."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def id_of(token: str) -> str | None:
    """Return the id in a key; None if the text is no key."""
    found = _TOKEN.fullmatch(token)
    return found[1] if found else None


def new_key(
    tenant: str, now: float, *, scopes: Sequence[str] = (ASK,), models: Sequence[str] = (),
    life_s: float | None = None, token: str | None = None, rates: Rates | None = None,
) -> tuple[str, ApiKey]:  # fmt: skip
    """Return a new key, which nobody can read again, and its stored form.

    A `token` that somebody else has drawn is taken as it is. Raises InvalidInput.
    """
    check_name("tenant", tenant)
    for scope in scopes:
        if scope not in SCOPES:
            raise InvalidInput("scope", scope, f"known: {', '.join(SCOPES)}")
    if not scopes:
        raise InvalidInput("scopes", list(scopes), f"one or more of {', '.join(SCOPES)}")
    if len(models) > MOST_MODELS or not all(0 < len(model) <= 256 for model in models):
        raise InvalidInput("models", list(models), f"at most {MOST_MODELS} names")
    if life_s is not None:
        check_number("life", life_s, 1.0, MAX_LIFE_S)
    rates = rates or Rates()
    check_int("requests-per-minute", rates.requests, 0, MOST_RATE)
    check_int("tokens-per-minute", rates.tokens, 0, MOST_RATE)
    token = token or f"plx-{secrets.token_hex(6)}-{secrets.token_urlsafe(32)}"
    expires = None if life_s is None else now + life_s
    key = ApiKey(VERSION, digest_of(token), tenant, now, tuple(scopes), tuple(models), expires,
                 rates.requests, rates.tokens)  # fmt: skip
    return token, key


class Keyring:
    """The keys of a cell, by their ids."""

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link, self._key = link, keys.keyring

    def put(self, keys: Mapping[str, ApiKey]) -> None:
        """Store keys, in one step."""
        flat: list[Argument] = [part for id_, key in keys.items() for part in (id_, encode(key))]
        if flat:
            self._link.call("HSET", self._key, *flat)

    def revoke(self, id_: str) -> bool:
        """Forget a key; return whether there was one."""
        return bool(self._link.call("HDEL", self._key, id_))

    def known(self) -> dict[str, ApiKey]:
        """Return all keys, without entries that cannot be decoded."""
        flat = iter(self._link.call("HGETALL", self._key))
        found: dict[str, ApiKey] = {}
        for name, data in zip(flat, flat, strict=True):
            key = _decoded(data)
            if key is not None:
                found[name.decode("ascii", "replace")] = key
        return dict(sorted(found.items()))

    def any(self) -> bool:
        """Whether a key was ever left here, be it one that nobody can understand."""
        return bool(self._link.call("EXISTS", self._key))


def _decoded(data: bytes) -> ApiKey | None:
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
