"""Bodies of jobs, from nothing to a megabyte, made again from the job's id when needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from math import exp, log
from random import Random

from parallax.broker.link.connection import Link
from parallax.broker.store.holding import decode_holding
from parallax.broker.store.keys import Keys

#: A chat of one message, which is as long as it must be.
_HEAD, _TAIL = b'{"messages":[{"role":"user","content":"', b'"}]}'
_LEAST, _SHORT = len(_HEAD) + len(_TAIL) + 10, 600


@dataclass(slots=True)
class Bodies:
    """Which jobs have a body, how long it is, and whether it is where it belongs.

    Only lengths are kept: the bytes follow from the job's id.
    """

    lengths: dict[str, int] = field(default_factory=dict)
    looked: int = 0  # bodies of open jobs that were looked at

    def make(self, job_id: str, random: Random, most: int, chats: float = 0.0) -> bool:
        """Draw whether a job has a body, and of which length; return whether it has.

        `chats` is the share of jobs that have a short one, `most` the length of the longest others.
        """
        length = 0.0
        if random.random() < chats:
            length = random.uniform(_LEAST, _SHORT)
        elif most and random.random() < 0.3:
            length = max(float(_LEAST), exp(random.uniform(0.0, log(most))))
        if length:
            self.lengths[job_id] = round(length)
        return length > 0

    def of(self, job_id: str) -> bytes:
        """Return the body of a job, a request that an engine can answer; b"" if it has none."""
        length = self.lengths.get(job_id, 0)
        if not length:
            return b""
        seed = blake2b(job_id.encode(), digest_size=32).hexdigest().encode() + b" "
        words = seed * (length // len(seed) + 1)
        return _HEAD + words[: length - len(_HEAD) - len(_TAIL)] + _TAIL

    def look(self, link: Link, keys: Keys, names: Sequence[str]) -> list[str]:
        """Return the faults in the bodies of accepted jobs that have not ended.

        A record is read before and after its body: what ended in between proves nothing.
        """
        names = [name for name in names if self.lengths.get(name)]
        if not names:
            return []
        at = [("HGET", keys.job(name), "at") for name in names]
        answers = link.calls([*at, *(("GET", keys.body(name)) for name in names), *at])
        count, wrong = len(names), []
        for n, name in enumerate(names):
            before, body, after = answers[n], answers[count + n], answers[2 * count + n]
            if _open(before) and _open(after):
                self.looked += 1
                if body != self.of(name):
                    wrong.append(f"{name} is open and {_amiss(body, self.lengths[name])}")
        return wrong


def _open(at: bytes | None) -> bool:
    holding = decode_holding(at)
    return bool(at) and not (holding is not None and holding.is_over)


def _amiss(body: bytes | None, length: int) -> str:
    if body is None:
        return "its body is gone"
    return f"its body of {length} bytes is another one of {len(body)}"
