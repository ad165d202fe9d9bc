"""Made-up loads: tenants, sessions, sizes and arrival times, the same for the same seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import log, sqrt
from random import Random

from parallax.core.arrivals import gamma, poisson
from parallax.core.errors import InvalidInput
from parallax.core.model import MAX_TOKENS, Job, check_int, check_model, check_name, check_number
from parallax.sim.timed import Timed


@dataclass(frozen=True, slots=True)
class Lengths:
    """Lognormal lengths in tokens, cut to 1..`most`."""

    mean: float
    cv: float = 1.0  # standard deviation over mean
    most: int = 8_192

    def __post_init__(self) -> None:
        check_number("mean length", self.mean, 1.0, MAX_TOKENS)
        check_number("cv of lengths", self.cv, 0.0, 20.0)
        check_int("longest length", self.most, 1, MAX_TOKENS)

    def draw(self, random: Random) -> int:
        """Return one length."""
        spread = log(1 + self.cv * self.cv)
        length = random.lognormvariate(log(self.mean) - spread / 2, sqrt(spread))
        return min(self.most, max(1, round(length)))


@dataclass(frozen=True, slots=True)
class Workload:
    """An open-loop load: `rate` jobs per second in all; `shares` say who sends how much of it."""

    rate: float
    shares: Mapping[str, float] = field(default_factory=lambda: {"default": 1.0})
    prompt: Lengths = Lengths(256)
    output: Lengths = Lengths(64, most=1_024)
    cv: float = 1.0  # of the gaps between arrivals; above 1 they come in bursts
    sessions: int = 0  # per tenant; 0 = every job stands alone
    deadline_s: float | None = None
    prefix: str = "load"
    seed: int = 0
    model: str = ""  # '' = any

    def __post_init__(self) -> None:
        check_number("rate", self.rate, 1e-3, 1e6)
        check_number("cv of gaps", self.cv, 0.0, 20.0)
        check_int("sessions", self.sessions, 0, 1_000_000)
        check_int("seed", self.seed, 0, 2**63)
        if self.model:
            check_model("model", self.model)

    def jobs(self, count: int | None = None, duration_s: float | None = None) -> Iterator[Timed]:
        """Yield (seconds from the start, job) in time order; stops at `count` or `duration_s`."""
        random = Random(self.seed)
        gaps = poisson(self.rate, random) if self.cv == 1.0 else gamma(self.rate, self.cv, random)
        names, heft = list(self.shares), list(self.shares.values())
        at = 0.0
        for n, gap in enumerate(gaps):
            at += gap
            if (count is not None and n >= count) or (duration_s is not None and at > duration_s):
                return
            yield at, self._job(n, random.choices(names, heft)[0], random)

    def _job(self, n: int, tenant: str, random: Random) -> Job:
        session = f"{tenant}-s{random.randrange(self.sessions)}" if self.sessions else ""
        return Job(
            f"{self.prefix}-{n}",
            tenant,
            self.prompt.draw(random),
            self.output.most,
            session[:64],
            self.output.draw(random),
            self.deadline_s,
            model=self.model,
        )


def parsed_shares(text: str) -> dict[str, float]:
    """Read "alpha:4,beta:1" (a number may be left out: 1). Raises InvalidInput."""
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, colon, number = part.strip().partition(":")
        check_name("tenant", name)
        try:
            share = float(number) if colon else 1.0
        except ValueError:
            raise InvalidInput(f"share of {name}", number, "a number greater than 0") from None
        check_number(f"share of {name}", share, 1e-6, 1e6)
        if name in shares:
            raise InvalidInput("tenant", name, "each tenant may be named once")
        shares[name] = share
    return shares
