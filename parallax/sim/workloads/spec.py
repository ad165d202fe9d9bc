"""Made-up loads as TOML describes them: which arrivals, whose, how long, and what they share.

    kind = "groups"            # singles, groups, sessions or conversations
    stages = [{ rate = 15.0, seconds = 50.0 }, ...]
    cv = 1.0                   # of the gaps between arrivals: 1 = Poisson, more = bursts
    swing = 0.0                # 0..1: the rate rises and falls by that share ...
    period_s = 86400.0         # ... over so long (a day)
    tenants = [0.9, 0.1]       # who sends which share; a stage may have its own
    models = ["llama", "qwen"] # what jobs ask for, in turn; none: any

Lengths are tokens; `{ mean = 300, cv = 1.0 }` draws from a lognormal distribution. See `Made` for
the other keys, and `specs/` for examples.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from math import exp, log, sqrt
from pathlib import Path
from random import Random
from typing import Any

from parallax.core.errors import InvalidInput
from parallax.core.model import MAX_DEADLINE_S, MAX_TOKENS, check_int, check_model, check_number
from parallax.core.settings import from_mapping

KINDS = ("groups", "sessions", "singles", "conversations")
ORDERS = ("random", "cyclic")
_LENGTHS = ("prompt", "output", "system", "turns", "think_s")
_SPECS = "parallax.sim.workloads.specs"
_LONGEST = 1_000_000  # of one drawn length


@dataclass(frozen=True, slots=True)
class Stage:
    """So many arrivals per second for so long; `tenants` stands in for the load's own shares."""

    rate: float
    seconds: float
    tenants: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_number("rate", self.rate, 1e-6, 1e5)
        check_number("seconds", self.seconds, 0.001, 1e8)
        if self.tenants:
            _check_shares(self.tenants)


@dataclass(frozen=True, slots=True)
class Length:
    """A length: its mean, and its coefficient of variation (lognormal; 0 = constant)."""

    mean: float
    cv: float = 0.0

    def __post_init__(self) -> None:
        check_number("mean", self.mean, 0.0, _LONGEST)
        check_number("cv", self.cv, 0.0, 20.0)

    def draw(self, random: Random) -> int:
        """Return a whole length of at least 1."""
        return max(1, round(self.real(random)))

    def real(self, random: Random) -> float:
        """Return a length that need not be whole."""
        if not self.cv or not self.mean:
            return self.mean
        variance = log(1 + self.cv * self.cv)
        return min(exp(random.gauss(log(self.mean) - variance / 2, sqrt(variance))), _LONGEST)


@dataclass(frozen=True, slots=True)
class Made:
    """A made-up load.

    * singles: requests that have nothing to do with each other.
    * groups: every prompt is its group's `system` part and one of `members` questions; `order`
      says whether an arrival draws its prompt, or takes the next one of a fixed, shuffled row that
      begins anew with every stage (cyclic; so does the generator of inference-perf).
    * sessions: `groups` sessions are open at once; every arrival is the next turn of one of them.
    * conversations: arrivals *begin* conversations of `turns` turns that are `think_s` seconds
      apart; each starts with the `system` part of one of `groups` applications.
    """

    kind: str
    stages: tuple[Stage, ...]
    prompt: Length = field(default_factory=lambda: Length(500.0, 1.0))
    output: Length = field(default_factory=lambda: Length(200.0, 1.0))
    system: Length = field(default_factory=lambda: Length(1.0))  # shared by a group or session
    turns: Length = field(default_factory=lambda: Length(3.0, 0.7))  # of a conversation
    think_s: Length = field(default_factory=lambda: Length(60.0, 1.0))  # from turn to turn
    groups: int = 1  # groups, applications, or sessions that are open at once
    members: int = 1  # prompts of a group
    order: str = "random"  # or cyclic: in which prompts of groups come
    max_turns: int = 8  # of a session or conversation
    max_context: int = 1_000_000  # tokens; a session that would grow beyond starts afresh
    zipf: float = 0.0  # how unevenly groups or sessions are asked for; 0 = evenly
    max_tokens: int = 4_096  # what every job promises; longer answers are cut
    tenants: tuple[float, ...] = (1.0,)  # the share of arrivals of each tenant
    deadline_s: float = 0.0  # 0 = none
    cv: float = 1.0
    swing: float = 0.0
    period_s: float = 86_400.0
    models: tuple[str, ...] = ()  # what jobs ask for, in turn

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InvalidInput("kind", self.kind, f"known: {', '.join(KINDS)}")
        if self.order not in ORDERS:
            raise InvalidInput("order", self.order, f"known: {', '.join(ORDERS)}")
        if self.order == "cyclic" and (self.kind != "groups" or self.zipf):
            raise InvalidInput("order", self.order, "random, unless of groups, and without zipf")
        if not self.stages:
            raise InvalidInput("stages", self.stages, "at least one")
        for name, most in (("groups", 1_000_000), ("members", 100_000), ("max_turns", 10_000)):
            check_int(name, getattr(self, name), 1, most)
        check_int("max_tokens", self.max_tokens, 1, _LONGEST)
        check_int("max_context", self.max_context, 1, MAX_TOKENS // 2)
        check_number("zipf", self.zipf, 0.0, 10.0)
        check_number("cv", self.cv, 0.01, 100.0)
        check_number("swing", self.swing, 0.0, 0.99)
        check_number("period_s", self.period_s, 1.0, 1e8)
        if self.deadline_s != 0.0:
            check_number("deadline_s", self.deadline_s, 0.001, MAX_DEADLINE_S)
        _check_shares(self.tenants)
        for number, model in enumerate(self.models):
            check_model(f"models[{number}]", model)
        if self.kind == "sessions" and any(stage.tenants for stage in self.stages):
            raise InvalidInput("kind", self.kind, "another one, if a stage has its own tenants")


def _check_shares(shares: tuple[float, ...]) -> None:
    for share in shares:
        check_number("tenants", share, 0.0, 1e6)
    if not 1 <= len(shares) <= 10_000 or not sum(shares):
        raise InvalidInput("tenants", list(shares), "1 to 10000 shares, not all of them 0")


def names() -> list[str]:
    """Return the loads that come with the package."""
    files = resources.files(_SPECS).iterdir()
    return sorted(f.name.removesuffix(".toml") for f in files if f.name.endswith(".toml"))


def parsed(name: str) -> Made:
    """Read a spec file, or a load of the package; raises InvalidInput naming file and key."""
    try:
        if name in names():
            text = (resources.files(_SPECS) / f"{name}.toml").read_text("utf-8")
        else:
            text = Path(name).read_text("utf-8-sig")
        document: dict[str, Any] = tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInput("workload", name, f"a readable TOML file ({error})") from None
    for key in _LENGTHS:
        if key in document:
            document[key] = _part(Length, document[key], f"{name}: {key}.")
    stages = _list(document.get("stages", []), f"{name}: stages")
    document["stages"] = tuple(
        _part(Stage, _shared(stage, f"{name}: stages[{n}].tenants"), f"{name}: stages[{n}].")
        for n, stage in enumerate(stages)
    )
    if "models" in document:
        document["models"] = tuple(_list(document["models"], f"{name}: models"))
    made: Made = _part(Made, _shared(document, f"{name}: tenants"), f"{name}: ")
    return made


def _shared(table: object, where: str) -> object:
    """Return a table with its tenants' shares as a tuple."""
    if not isinstance(table, Mapping) or "tenants" not in table:
        return table
    return {**table, "tenants": tuple(_list(table["tenants"], where))}


def _list(value: object, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidInput(where, value, "a list")
    return value


def _part(kind: type[Any], values: object, where: str) -> Any:
    place = where.rstrip(".: ")
    if not isinstance(values, Mapping):
        raise InvalidInput(place, values, "a table")
    try:
        return from_mapping(kind, values, place)
    except TypeError as error:  # a key that must be given is missing
        raise InvalidInput(place, dict(values), str(error).partition("() ")[2]) from None
    except InvalidInput as error:
        if error.field == place:
            raise
        raise InvalidInput(f"{where}{error.field}", error.value, error.allowed) from None
