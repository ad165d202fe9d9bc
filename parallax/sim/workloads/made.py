"""Made-up loads from a TOML file: which arrivals, whose, how long, and what they share.

    kind = "groups"            # groups, sessions or singles
    stages = [{ rate = 15.0, seconds = 50.0 }, ...]
    cv = 1.0                   # of the gaps between arrivals: 1 = Poisson, more = bursts
    swing = 0.0                # 0..1: the rate rises and falls by that share ...
    period_s = 86400.0         # ... over so long (a day)

Lengths are tokens; `{ mean = 300, cv = 1.0 }` draws from a lognormal distribution.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from math import exp, log, pi, sin, sqrt
from pathlib import Path
from random import Random
from typing import Any

from parallax.core.arrivals import gamma
from parallax.core.errors import InvalidInput
from parallax.core.model import Job, check_int, check_number
from parallax.core.prefix import conversation
from parallax.core.settings import from_mapping
from parallax.sim.timed import Timed

KINDS = ("groups", "sessions", "singles")
BLOCK = 16
_SPECS = "parallax.sim.workloads.specs"


@dataclass(frozen=True, slots=True)
class Stage:
    """So many arrivals per second for so long."""

    rate: float
    seconds: float

    def __post_init__(self) -> None:
        check_number("stage.rate", self.rate, 1e-6, 1e6)
        check_number("stage.seconds", self.seconds, 0.001, 1e8)


@dataclass(frozen=True, slots=True)
class Length:
    """A length in tokens: its mean, and its coefficient of variation (lognormal; 0 = constant)."""

    mean: float
    cv: float = 0.0

    def __post_init__(self) -> None:
        check_number("length.mean", self.mean, 1.0, 1e7)
        check_number("length.cv", self.cv, 0.0, 20.0)

    def draw(self, random: Random) -> int:
        """Return a length of at least 1."""
        if not self.cv:
            return round(self.mean)
        variance = log(1 + self.cv * self.cv)
        drawn = exp(random.gauss(log(self.mean) - variance / 2, sqrt(variance)))
        return max(1, min(round(drawn), 1_000_000))


@dataclass(frozen=True, slots=True)
class Made:
    """A made-up load; see the module's docstring."""

    kind: str
    stages: tuple[Stage, ...]
    prompt: Length = field(default_factory=lambda: Length(500.0, 1.0))
    output: Length = field(default_factory=lambda: Length(200.0, 1.0))
    system: Length = field(default_factory=lambda: Length(1.0))  # shared by a group or session
    groups: int = 1  # groups, or sessions that are open at once
    members: int = 1  # prompts of a group
    max_turns: int = 8  # of a session; then another one takes its place
    zipf: float = 0.0  # how unevenly groups or sessions are asked for; 0 = evenly
    max_tokens: int = 4_096
    tenants: tuple[float, ...] = (1.0,)  # the share of arrivals of each tenant
    deadline_s: float = 0.0  # 0 = none
    cv: float = 1.0
    swing: float = 0.0
    period_s: float = 86_400.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InvalidInput("kind", self.kind, f"known: {', '.join(KINDS)}")
        if not self.stages:
            raise InvalidInput("stages", self.stages, "at least one")
        for name, most in (("groups", 1_000_000), ("members", 100_000), ("max_turns", 10_000)):
            check_int(name, getattr(self, name), 1, most)
        check_int("max_tokens", self.max_tokens, 1, 10_000_000)
        check_number("zipf", self.zipf, 0.0, 10.0)
        check_number("cv", self.cv, 0.01, 100.0)
        check_number("swing", self.swing, 0.0, 0.99)
        check_number("period_s", self.period_s, 1.0, 1e8)
        check_number("deadline_s", self.deadline_s, 0.0, 1e6)
        for share in self.tenants:
            check_number("tenants", share, 0.0, 1e6)


def names() -> list[str]:
    """Return the loads that come with the package."""
    files = resources.files(_SPECS).iterdir()
    return sorted(f.name.removesuffix(".toml") for f in files if f.name.endswith(".toml"))


def load(name: str, seed: int) -> Iterator[Timed]:
    """Yield the jobs of a spec file, or of a load that comes with the package."""
    return jobs(parsed(name), seed)


def parsed(name: str) -> Made:
    """Read a spec; raises InvalidInput or InvalidSettings naming file and key."""
    try:
        if name in names():
            text = (resources.files(_SPECS) / f"{name}.toml").read_text("utf-8")
        else:
            text = Path(name).read_text("utf-8")
        document: dict[str, Any] = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidInput("workload", name, f"a readable TOML file ({error})") from None
    for key in ("prompt", "output", "system"):
        if key in document:
            document[key] = _part(Length, document[key], f"{name}: {key}")
    stages = document.get("stages", [])
    if not isinstance(stages, list):
        raise InvalidInput(f"{name}: stages", stages, "a list of tables")
    document["stages"] = tuple(_part(Stage, stage, f"{name}: stages") for stage in stages)
    document["tenants"] = tuple(document.get("tenants", (1.0,)))
    made: Made = _part(Made, document, name)
    return made


def _part(kind: type[Any], values: object, where: str) -> Any:
    if not isinstance(values, Mapping):
        raise InvalidInput(where, values, "a table")
    try:
        return from_mapping(kind, values, where)
    except TypeError as error:  # a key that must be given is missing
        raise InvalidInput(where, dict(values), str(error)) from None


def jobs(made: Made, seed: int) -> Iterator[Timed]:
    """Yield the jobs; the same for the same seed."""
    random = Random(f"{seed}/workload")
    shape = {"groups": _grouped, "sessions": _turns, "singles": _singles}[made.kind]
    bodies = shape(made, random)
    weights = [1.0 / (n + 1) ** made.zipf for n in range(made.groups)]
    total = 0.0
    cumulated = [total := total + weight for weight in weights]
    bodies.send(None)
    for n, at_s in enumerate(_times(made, random)):
        (choice,) = random.choices(range(made.groups), cum_weights=cumulated)
        yield at_s, bodies.send((n, choice))


def _times(made: Made, random: Random) -> Iterator[float]:
    """Yield arrival times, thinned from the highest rate of each stage (Lewis & Shedler 1979)."""
    begin = 0.0
    for stage in made.stages:
        at, end = begin, begin + stage.seconds
        for gap in gamma(stage.rate * (1 + made.swing), made.cv, random):
            at += gap
            if at >= end:
                break
            share = 1 + made.swing * sin(2 * pi * at / made.period_s)
            if random.random() * (1 + made.swing) < share:
                yield at
        begin = end


Bodies = Any  # a generator that is sent (number, group) and yields a job


def _tenant(made: Made, random: Random) -> str:
    (number,) = random.choices(range(len(made.tenants)), weights=made.tenants)
    return f"tenant-{number}"


def _job(made: Made, n: int, tenant: str, prompt: int, output: int, **more: Any) -> Job:
    limit = max(made.max_tokens, output)
    deadline = made.deadline_s or None
    return Job(
        f"made-{n}", tenant, prompt, limit, output_tokens=output, deadline_s=deadline, **more
    )


def _singles(made: Made, random: Random) -> Bodies:
    """Jobs that have nothing to do with each other."""
    n, _ = yield
    while True:
        tenant, prompt = _tenant(made, random), made.prompt.draw(random)
        n, _ = yield _job(made, n, tenant, prompt, made.output.draw(random))


def _grouped(made: Made, random: Random) -> Bodies:
    """Prompts that begin with what is common to their group; each member asks its own question."""
    system, question = made.system.draw(random), made.prompt.draw(random)
    n, group = yield
    while True:
        member = random.randrange(made.members)
        total = system + question
        common = conversation(f"{made.kind}/{group}", system // BLOCK)
        own = conversation(f"{made.kind}/{group}/{member}", total // BLOCK)
        prefix = (*common, *own[len(common) :])
        n, group = yield _job(
            made, n, _tenant(made, random), total, made.output.draw(random), prefix=prefix
        )


def _turns(made: Made, random: Random) -> Bodies:
    """Turns of conversations: each prompt is all that was said before, and something new."""
    said = [0] * made.groups
    turn = [0] * made.groups
    serial = [0] * made.groups
    owner = [_tenant(made, random) for _ in range(made.groups)]
    n, group = yield
    while True:
        if turn[group] == 0:
            said[group] = made.system.draw(random)
        prompt, output = said[group] + made.prompt.draw(random), made.output.draw(random)
        session = f"s{group}-{serial[group]}"
        said[group], turn[group] = prompt + output, turn[group] + 1
        if turn[group] >= made.max_turns:
            turn[group], serial[group] = 0, serial[group] + 1
        n, group = yield _job(made, n, owner[group], prompt, output, session=session)
