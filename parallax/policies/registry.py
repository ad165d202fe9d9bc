"""Policies by name: registering, finding, listing and building them.

A policy is a dataclass in a file of its own below `parallax/policies/<kind>/`. Registering it is
all that is needed: the command line, the scheduler, the conformance suite and the docs iterate over
the registry.

    @ROUTING.register("power_of_two")
    @dataclass(slots=True)
    class PowerOfTwo: ...

    ROUTING.build("power_of_two", {"choices": "3"}, Random(7))

Other distributions bring policies, too: each module that they name as an entry point of the group
`parallax.policies` is imported as if it stood here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Generic, TypeVar, get_type_hints

from parallax.core.errors import UnknownPolicy
from parallax.core.extensions import Extensions
from parallax.core.suggest import among
from parallax.policies.interfaces import (
    AdmissionPolicy,
    BatchingPolicy,
    DispatchGate,
    FairnessPolicy,
    HedgingPolicy,
    OrderingPolicy,
    OutputPredictor,
    RolloutPolicy,
    RoutingPolicy,
    ScalingPolicy,
    Seeded,
    StealingPolicy,
)

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class Registry(Generic[P]):
    """The policies of one kind, by name."""

    kind: str
    _classes: dict[str, type[P]] = field(default_factory=dict)

    def register(self, name: str) -> Callable[[type[P]], type[P]]:
        """Return a decorator that makes a policy known under `name`."""

        def add(policy: type[P]) -> type[P]:
            known = self._classes.setdefault(name, policy)
            if known is not policy and known.__qualname__ != policy.__qualname__:
                raise ValueError(f"two {self.kind} policies are called {name!r}")
            return policy

        return add

    def __iter__(self) -> Iterator[str]:
        EXTENSIONS.discover()
        return iter(sorted(self._classes))

    def __getitem__(self, name: str) -> type[P]:
        EXTENSIONS.discover()
        if name not in self._classes:
            allowed = "; ".join([among(name, list(self)), *EXTENSIONS.broken()])
            raise UnknownPolicy(f"{self.kind} policy", name, allowed)
        return self._classes[name]

    def source(self, name: str) -> str:
        """Return the distribution that a policy comes from."""
        return EXTENSIONS.source(self[name].__module__)

    def parameters(self, name: str) -> dict[str, tuple[type, Any]]:
        """Return the parameters of a policy: name -> (type, default)."""
        policy: Any = self[name]
        hints = get_type_hints(policy)
        return {
            parameter.name: (hints[parameter.name], parameter.default)
            for parameter in dataclasses.fields(policy)
            if parameter.init
        }

    def build(
        self,
        name: str,
        parameters: Mapping[str, object] | None = None,
        random: Random | None = None,
    ) -> P:
        """Return a new policy. Values may be text (from a command line); they are converted.

        Raises UnknownPolicy for an unknown name or parameter, InvalidInput for a bad value.
        """
        known = self.parameters(name)
        values = {}
        for key, value in (parameters or {}).items():
            if key not in known:
                where = f"parameter of {self.kind} policy {name}"
                raise UnknownPolicy(where, key, among(key, known))
            values[key] = _converted(f"{name}.{key}", value, known[key][0])
        policy = self[name](**values)
        if isinstance(policy, Seeded):
            policy.seed(random or Random(0))
        return policy


def _converted(where: str, value: object, kind: type) -> object:
    """Turn text from a command line into the type of the parameter; refuse another type."""
    if type(value) is kind or (kind is float and type(value) is int):
        return value
    if not isinstance(value, str):
        raise UnknownPolicy(where, value, f"must be of type {kind.__name__}")
    if kind is bool and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    try:
        return kind(value)
    except (TypeError, ValueError):
        raise UnknownPolicy(where, value, f"must be of type {kind.__name__}") from None


ADMISSION: Registry[AdmissionPolicy] = Registry("admission")
FAIRNESS: Registry[FairnessPolicy] = Registry("fairness")
ORDERING: Registry[OrderingPolicy] = Registry("ordering")
GATE: Registry[DispatchGate] = Registry("gate")
ROUTING: Registry[RoutingPolicy] = Registry("routing")
PREDICTOR: Registry[OutputPredictor] = Registry("predictor")
BATCHING: Registry[BatchingPolicy] = Registry("batching")
HEDGING: Registry[HedgingPolicy] = Registry("hedging")
STEALING: Registry[StealingPolicy] = Registry("stealing")
ROLLOUT: Registry[RolloutPolicy] = Registry("rollout")
SCALING: Registry[ScalingPolicy] = Registry("scaling")

REGISTRIES: tuple[Registry[Any], ...] = (
    ADMISSION,
    FAIRNESS,
    ORDERING,
    GATE,
    ROUTING,
    PREDICTOR,
    BATCHING,
    HEDGING,
    STEALING,
    ROLLOUT,
    SCALING,
)

EXTENSIONS = Extensions(
    "parallax.policies",
    "parallax.policies",
    lambda: [registry._classes for registry in REGISTRIES],
)
