"""What the clients of a drill ask gateways for, drawn from its seed like faults and jobs.

Bodies have 10 bytes to a little more than a megabyte: the shortest cannot be understood, the
longest are refused. Every request has words of its own, so that no other answer can be taken for
the one to it: the engines of a drill say the words of a request again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import cycle, islice
from math import exp, log
from random import Random
from typing import Any

import msgspec

from parallax.broker.api import paths
from parallax.drills.http import Leave

#: The models that are asked: one of quick workers, one whose answers take half a minute, none.
QUICK, SLOW, UNKNOWN = "echo", "slow", "no-such-model"
#: Longest body that a gateway takes, and the shortest and longest that are drawn.
MOST_BODY, _SHORTEST, _LONGEST = 1_000_000, 10, 1_050_000
#: No request is as short as that: what is cannot be understood.
_TOO_SHORT = 60
#: Tokens of an answer that nobody waits for: far more than can come before its client leaves.
LONG_TOKENS = 10_000
TENANTS = ("web0", "web1", "web2")
_PAD = b',"metadata":{"pad":"'


class Manner(StrEnum):
    """How a client behaves."""

    ONCE = "once"  # it asks, and waits
    LEAVES = "leaves"  # it hangs up half way
    AGAIN = "again"  # under a key; it asks again if the connection is cut
    BACK = "back"  # under a key; it hangs up, and comes back for the answer
    TWICE = "twice"  # under a key; two gateways at once
    OTHER = "other"  # under a key; then it asks something else under the same one

    @property
    def keyed(self) -> bool:
        """Whether it sends an Idempotency-Key."""
        return self not in {Manner.ONCE, Manner.LEAVES}


@dataclass(frozen=True, slots=True)
class Wish:
    """One thing that a client wants, by however many requests it tries."""

    name: str
    manner: Manner
    path: str
    stream: bool
    model: str
    words: int  # of its prompt, each of them its own
    tokens: int  # of its answer
    size: int = 0  # of its body; the request itself if it is longer
    tenant: str = TENANTS[0]
    deadline_ms: float | None = None
    leave: Leave | None = None

    @property
    def prompt(self) -> list[str]:
        """Its words."""
        return [f"{self.name}.{n}" for n in range(self.words)]

    @property
    def said(self) -> list[str]:
        """The words of the answer."""
        return list(islice(cycle(self.prompt), self.tokens))

    @property
    def misshapen(self) -> bool:
        """Whether its body is too short to be a request, or too long to be read."""
        return 0 < self.size <= _TOO_SHORT or self.size > MOST_BODY

    def body(self, *, other: bool = False) -> bytes:
        """Return its body; `other`: one that asks for something else."""
        if 0 < self.size <= _TOO_SHORT:
            return b'{"a":%s}' % (b"1" * (self.size - 6))
        request = self._request(other=other)
        missing = self.size - len(request) - len(_PAD) - 2
        if missing <= 0:
            return request
        return request[:-1] + _PAD + b"x" * missing + b'"}}'

    def stored(self) -> bytes:
        """Return what a worker reads of it."""
        body = self.body()
        return paths.addressed(body, self.path) if self.path == paths.RESPONSES else body

    def headers(self, token: str) -> dict[str, str]:
        """Return the headers of its requests; the session is how its jobs are found again."""
        found = {
            "authorization": f"Bearer {token}", "x-parallax-tenant": self.tenant,
            "x-session-id": self.name,
        }  # fmt: skip
        if self.manner.keyed:
            found["idempotency-key"] = self.name
        if self.deadline_ms is not None:
            found["x-parallax-deadline-ms"] = f"{self.deadline_ms:g}"
        return found

    def _request(self, *, other: bool = False) -> bytes:
        text = " ".join(self.prompt) + (" other" if other else "")
        length = "max_output_tokens" if self.path == paths.RESPONSES else "max_tokens"
        contents: dict[str, dict[str, Any]] = {
            paths.CHAT: {"messages": [{"role": "user", "content": text}]},
            paths.COMPLETIONS: {"prompt": text},
            paths.RESPONSES: {"input": text},
        }
        asked: dict[str, Any] = {"model": self.model, length: self.tokens}
        asked |= contents[self.path]
        if self.stream:
            asked["stream"] = True
        return msgspec.json.encode(asked)


class Wishes:
    """Draws one after another."""

    def __init__(self, seed: int, random: Random) -> None:
        self._seed, self._random, self._made = seed, random, 0

    def next(self) -> Wish:
        """Return the next one."""
        self._made += 1
        random = self._random
        manner = self._manner()
        path = random.choices((paths.CHAT, paths.COMPLETIONS, paths.RESPONSES), (6, 2, 2))[0]
        stream = random.random() < (0.2 if manner.keyed else 0.5)
        size = self._size()
        leave = None
        model = random.choices((QUICK, "", UNKNOWN), (90, 6, 4))[0]
        tokens = random.choice((1, 8, 30, 60, 60, 1_200))
        if manner is Manner.LEAVES:
            leave, model, tokens = self._leave(stream=stream), SLOW, LONG_TOKENS
        elif manner is Manner.BACK:
            leave = Leave(random.uniform(0.0, 0.3), sends=1.0)
        return Wish(
            f"web-{self._seed}-{self._made}", manner, path, stream, model,
            random.choice((1, 12, 40, 120)), tokens, size, random.choice(TENANTS),
            self._deadline(), leave,
        )  # fmt: skip

    def _manner(self) -> Manner:
        return self._random.choices(list(Manner), (62, 14, 10, 5, 5, 4))[0]

    def _size(self) -> int:
        """Most are short; of the others all lengths are as likely, by their logarithm."""
        draw = self._random.random()
        if draw < 0.06:
            return self._random.randint(_SHORTEST, _TOO_SHORT)
        longest = _LONGEST if draw < 0.3 else 3_000
        return round(exp(self._random.uniform(log(_TOO_SHORT), log(longest))))

    def _leave(self, *, stream: bool) -> Leave:
        """After a while, half way through a stream, or in the middle of the request."""
        random = self._random
        way = random.random()
        after_s = random.uniform(0.02, 1.5)
        if way < 0.15:
            return Leave(after_s, sends=random.uniform(0.1, 0.95))
        return Leave(after_s, round(random.uniform(1, 4_000)) if stream and way < 0.6 else None)

    def _deadline(self) -> float | None:
        if self._random.random() < 0.9:
            return None
        return self._random.choice((50.0, 300.0, 2_000.0, 20_000.0, 3_600_000.0))
