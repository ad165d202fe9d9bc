"""The shape of a drill: how wide, how large, how slow, how heavy; drawn from the seed like faults.

A fault is what happens; a shape is the world in which it happens. What is kept among three tenants
and five workers beside the server may break among twenty thousand, or across an ocean.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log
from random import Random
from typing import Any

from parallax.core.errors import InvalidInput
from parallax.core.model import MAX_PREFIX, check_number

#: Most workers that are processes of their own; the others share one.
PROCESSES = 6
#: Seconds that a worker of a drill takes for a job, round trips apart, about.
_JOB_S = 0.06


@dataclass(frozen=True, slots=True)
class Shape:
    """The dimensions of a drill. Every field can be pinned by hand (`--shape workers=50`)."""

    tenants: int = 3  # beside those that are kept waiting
    workers: int = 5  # one of them computes prompts only, one stands behind a proxy of its own
    rtt_ms: int = 0  # round trip between the server and schedulers and workers
    body_bytes: int = 0  # largest body of a job; 0: jobs have none
    prefix: int = 0  # most blocks in the prefix of a job
    near: float = 0.15  # share of jobs whose deadline may well pass
    far: float = 0.15  # share of jobs whose deadline is hours or days away
    cancels: float = 0.02  # share of jobs that are cancelled, at any stage
    weights: int = 0  # changes of tenants' weights per minute
    contended: int = 0  # 1: two tenants always have jobs that wait, and one of them cheats
    chats: float = 0.3  # share of jobs with a request that engines answer; half of them stream
    disk: int = 0  # 1: the disk is small and gets full, where this can be arranged

    def __post_init__(self) -> None:
        for name, (low, high) in BOUNDS.items():
            check_number(f"--shape {name}", getattr(self, name), low, high)

    @property
    def rtt_s(self) -> float:
        """The round trip in seconds."""
        return self.rtt_ms / 1000

    @property
    def crowd(self) -> int:
        """How many workers share a process, beside those that have one of their own."""
        return max(0, self.workers - PROCESSES)

    @property
    def slots(self) -> int:
        """How many jobs a worker runs at once: more where it hears of them late."""
        return 8 + int(200 * self.rtt_s)

    @property
    def heartbeat_s(self) -> float:
        """How long heartbeats last: a far or crowded worker needs longer to renew one."""
        return 1.5 + 8 * self.rtt_s + self.crowd / 100

    @property
    def lease_s(self) -> float:
        """How long the leader's lease lasts."""
        return 1.0 + 4 * self.rtt_s

    @property
    def grace_s(self) -> float:
        """When the janitor looks for an open job: longer than any healthy recovery takes."""
        return 2.5 + 3 * (self.heartbeat_s - 1.5) + 20 * self.rtt_s

    @property
    def drain_s(self) -> float:
        """Seconds after which nothing may be open any more, once nothing is broken any more."""
        burst = (self.tenants + (2_000 if self.contended else 0)) / 50
        return 60.0 + 100 * self.rtt_s + burst

    @property
    def floor_s(self) -> float:
        """A tenant with jobs hears of the end of one at least so often, faults included.

        Some 25 jobs a second end even while something breaks five times a second, so all tenants
        have their turn in that time; one of little weight waits for those of much.
        """
        uneven = (20.0 if self.contended else 0.0) + (30.0 if self.weights else 0.0)
        return 20.0 + 60 * self.rtt_s + self.tenants / 25 + uneven

    def rate(self, wanted: float) -> float:
        """Return the jobs per second that this fleet can bear, at most those that are wanted."""
        bearable = 0.5 * self.workers * self.slots / (_JOB_S + 4 * self.rtt_s)
        heavy = 2e7 / max(1.0, 0.3 * _mean(self.body_bytes) + 0.3 * 60 * _mean(self.prefix))
        return min(wanted, bearable, max(20.0, heavy))

    def told(self) -> str:
        """Return the shape in a line, without the default dimensions."""
        usual = Shape()
        pairs = dataclasses.asdict(self).items()
        unusual = [f"{n}={_short(v)}" for n, v in pairs if v != getattr(usual, n)]
        return " ".join(unusual) or "small"


BOUNDS: Mapping[str, tuple[float, float]] = {
    "tenants": (1, 20_000), "workers": (3, 200), "rtt_ms": (0, 300),
    "body_bytes": (0, 1_000_000), "prefix": (0, MAX_PREFIX), "near": (0.0, 1.0), "far": (0.0, 0.5),
    "cancels": (0.0, 0.5), "weights": (0, 600), "contended": (0, 1), "disk": (0, 1),
    "chats": (0.0, 1.0),
}  # fmt: skip

#: Shapes by name: each pins some fields and leaves the others to the seed, `small` pins all.
NAMED: Mapping[str, Mapping[str, float]] = {
    "small": dataclasses.asdict(Shape()),
    "wide": {"tenants": 20_000},
    "crowded": {"workers": 200},
    "slow": {"rtt_ms": 200},
    "heavy": {"body_bytes": 1_000_000, "prefix": MAX_PREFIX},
    "contended": {"contended": 1},
    "full": {"disk": 1},
    "fickle": {"cancels": 0.3, "near": 0.4, "weights": 120},
}


def drawn(seed: int, pinned: Mapping[str, float] | None = None) -> Shape:
    """Return the shape of this seed; a pinned dimension is not drawn, and changes no other.

    Each dimension is usual in about half of the seeds: what fails shall have few reasons.
    """
    random = Random(f"{seed}/shape")

    def rarely(low: float, high: float, usual: float, share: float = 0.5) -> float:
        value = exp(random.uniform(log(low), log(high)))
        return value if random.random() < share else usual

    values: dict[str, float] = {
        "tenants": round(rarely(3, 20_000, 3)),
        "workers": round(rarely(3, 200, 5)),
        "rtt_ms": round(rarely(1, 300, 0)),
        "body_bytes": round(rarely(1, 1_000_000, 0)),
        "prefix": round(rarely(1, MAX_PREFIX, 0)),
        "near": round(rarely(0.05, 0.6, 0.15), 3),
        "far": round(rarely(0.05, 0.5, 0.15), 3),
        "cancels": round(rarely(0.01, 0.4, 0.02), 3),
        "weights": round(rarely(1, 600, 0)),
        "contended": int(random.random() < 0.3),
        "disk": int(random.random() < 0.2),
        "chats": round(rarely(0.05, 0.95, 0.3), 3),
    }
    return _shape(values | dict(pinned or {}))


def pinned(words: Sequence[str]) -> dict[str, float]:
    """Read `--shape`: a name, or FIELD=VALUE, later ones over earlier. Raises InvalidInput."""
    found: dict[str, float] = {}
    for word in words:
        field, equals, text = word.partition("=")
        if not equals and word in NAMED:
            found |= NAMED[word]
        elif equals and field in BOUNDS:
            found[field] = _number(word, field, text)
        else:
            known = f"{', '.join(NAMED)}, or one of {', '.join(BOUNDS)} with its value: workers=50"
            raise InvalidInput("--shape", word, f"known: {known}")
    return found


def _number(word: str, field: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise InvalidInput("--shape", word, f"{field}=NUMBER") from None
    low, high = BOUNDS[field]
    check_number(f"--shape {field}", value, low, high)
    return value


def _shape(values: Mapping[str, float]) -> Shape:
    whole = {name for name, kind in Shape.__annotations__.items() if kind == "int"}
    typed: dict[str, Any] = {n: int(v) if n in whole else v for n, v in values.items()}
    return Shape(**typed)


def _mean(most: float) -> float:
    """Return the mean of lengths whose logarithms are spread evenly from 1 to `most`."""
    return most / log(most) if most > 2 else most


def _short(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")
