"""Spends the rates of API keys in Redis, so that all gateways share one budget a minute."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from parallax.broker.link.call import Call
from parallax.broker.link.scripts import Argument, script
from parallax.broker.store.answers import Lexicon
from parallax.broker.store.keys import Keys
from parallax.core.words import Spent

_SPENT = Lexicon(Spent)


@dataclass(frozen=True, slots=True)
class Rates:
    """Most requests and tokens a minute; 0 = as many as one likes."""

    requests: int = 0
    tokens: int = 0

    def __bool__(self) -> bool:
        return bool(self.requests or self.tokens)


#: As much as one likes.
NO_RATES = Rates()


@dataclass(frozen=True, slots=True)
class Spending:
    """So many requests and tokens of a key; fewer than none are given back."""

    key_id: str
    rates: Rates
    requests: int
    tokens: int
    nonce: str = field(default_factory=lambda: secrets.token_hex(8))


@dataclass(frozen=True, slots=True)
class Left:
    """Whether it was allowed, and the allowance left; times are in seconds."""

    allowed: bool
    rates: Rates
    requests: int
    requests_reset_s: float
    tokens: int
    tokens_reset_s: float
    wait_s: float  # until it would be allowed


def spend_call(keys: Keys, spendings: Sequence[Spending]) -> Call[list[Left]]:
    """Build the call that spends keys' rates in one step; each learns its allowance left."""
    args: list[Argument] = [len(spendings)]
    for one in spendings:
        args += (one.nonce, one.rates.requests, one.rates.tokens, one.requests, one.tokens)
    names = [keys.rate(one.key_id) for one in spendings]
    return Call(script("spend"), names, args, partial(_left, spendings))


def _left(spendings: Sequence[Spending], reply: Sequence[bytes]) -> list[Left]:
    found = []
    for one, (word, detail) in zip(spendings, _SPENT.answers(reply), strict=True):
        requests, requests_ms, tokens, tokens_ms, wait_ms = map(int, detail.split())
        found.append(
            Left(word is Spent.OK, one.rates, requests, requests_ms / 1000, tokens,
                 tokens_ms / 1000, wait_ms / 1000)
        )  # fmt: skip
    return found
