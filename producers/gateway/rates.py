"""How much a key may ask for a minute: spent before its job is submitted, settled at its end.

What is spent of tokens is the estimate, prompt and longest answer, as the API's own limits have it;
what an answer did not need is given back. Headers of every answer tell what is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from math import ceil

from parallax.broker.store.rates import Left, Rates, Spending
from parallax.core.reasons import Reason
from parallax.producers.client.ticks import Ticks
from parallax.producers.gateway.meaning import Meant, Speaker
from parallax.producers.gateway.problems import Problem

Spend = Callable[[Sequence[Spending]], Awaitable[Sequence[Left]]]


class Purse:
    """Spends for all requests of a gateway: those of one turn of the loop in one call."""

    def __init__(self, spend: Spend) -> None:
        self._ticks: Ticks[Spending, Left] = Ticks(spend)

    async def spend(self, speaker: Speaker, jobs: Sequence[Meant]) -> Mapping[str, str]:
        """Spend what these jobs may cost; return what headers tell. Raises Problem."""
        rates = speaker.rates
        if not rates:
            return {}
        tokens = estimate(jobs)
        if rates.tokens and tokens > rates.tokens:
            said = f"about {tokens} tokens are asked for; this key may have {rates.tokens} a minute"
            raise Problem(429, Reason.LARGER_THAN_BURST, said, retry=False)
        left = await self._ticks.ask(Spending(speaker.key_id, rates, 1, tokens))
        if not left.allowed:
            said = f"this key may ask {_said(rates)} a minute"
            raise Problem(429, Reason.RATE_LIMITED, said, retry_after_s=left.wait_s,
                          headers=told(left))  # fmt: skip
        return told(left)

    def give_back(self, speaker: Speaker, jobs: Sequence[Meant], used: int) -> None:
        """Give back the unused spending, beside the answer; if that fails it stays spent."""
        spare = estimate(jobs) - used
        if speaker.rates.tokens and spare > 0:
            told = self._ticks.ask(Spending(speaker.key_id, speaker.rates, 0, -spare))
            told.add_done_callback(_heard)


def _heard(told: asyncio.Future[Left]) -> None:
    """Retrieve the result, so that asyncio does not complain that nobody did."""
    if not told.cancelled():
        told.exception()


def estimate(jobs: Sequence[Meant]) -> int:
    """Return how many tokens jobs may cost."""
    return sum(one.job.prompt_tokens + one.job.max_tokens for one in jobs)


def told(left: Left) -> dict[str, str]:
    """Return the allowance left, in the headers that clients of the API know."""
    found: dict[str, str] = {}
    if left.rates.requests:
        found |= _headers("requests", left.rates.requests, left.requests, left.requests_reset_s)
    if left.rates.tokens:
        found |= _headers("tokens", left.rates.tokens, left.tokens, left.tokens_reset_s)
    return found


def _headers(what: str, limit: int, left: int, reset_s: float) -> dict[str, str]:
    return {
        f"x-ratelimit-limit-{what}": str(limit),
        f"x-ratelimit-remaining-{what}": str(left),
        f"x-ratelimit-reset-{what}": _duration(reset_s),
    }


def _duration(seconds: float) -> str:
    """Return a time as the API writes it: `6m0s`, `1.5s`, `20ms`."""
    if seconds < 1:
        return f"{ceil(seconds * 1000)}ms"
    minutes, rest = divmod(round(seconds, 1), 60)
    return (f"{int(minutes)}m" if minutes else "") + f"{rest:g}s"


def _said(rates: Rates) -> str:
    each = ((rates.requests, "requests"), (rates.tokens, "tokens"))
    return " and ".join(f"{most} {what}" for most, what in each if most)
