"""One policy for each decision, built from settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from parallax.core.cost import TokenCost
from parallax.core.model import Slo
from parallax.core.settings import Policies, PolicyChoice
from parallax.policies.admission.chain import Chain
from parallax.policies.interfaces import (
    AdmissionPolicy,
    DispatchGate,
    FairnessPolicy,
    HedgingPolicy,
    OrderingPolicy,
    OutputPredictor,
    RolloutPolicy,
    RoutingPolicy,
    StealingPolicy,
)
from parallax.policies.registry import (
    ADMISSION,
    FAIRNESS,
    GATE,
    HEDGING,
    ORDERING,
    PREDICTOR,
    ROLLOUT,
    ROUTING,
    STEALING,
)

NEVER = "never"


@dataclass(frozen=True, slots=True)
class Composition:
    """The policies of a scheduler. None: such a decision is never taken."""

    admission: AdmissionPolicy
    fairness: FairnessPolicy
    ordering: OrderingPolicy
    gate: DispatchGate
    routing: RoutingPolicy
    predictor: OutputPredictor
    cost: TokenCost = field(default_factory=TokenCost)
    hedging: HedgingPolicy | None = None
    stealing: StealingPolicy | None = None
    rollout: RolloutPolicy | None = None
    candidate: RoutingPolicy | None = None
    slo: Slo = field(default_factory=Slo)  # what a canary's jobs are judged by


def compose(policies: Policies, seed: int, slo: Slo | None = None) -> Composition:
    """Return new policies, each with a random stream of its own, derived from `seed`.

    Raises UnknownPolicy for an unknown name or parameter, InvalidInput for a bad value.
    """

    def given(kind: str, choice: PolicyChoice) -> tuple[str, dict[str, object], Random]:
        return choice.name, dict(choice.parameters), Random(f"{seed}/{kind}")

    hedging, stealing = policies.hedging, policies.stealing
    rollout, candidate = policies.rollout, policies.candidate
    return Composition(
        _admission(policies.admission, seed),
        FAIRNESS.build(*given("fairness", policies.fairness)),
        ORDERING.build(*given("ordering", policies.ordering)),
        GATE.build(*given("gate", policies.gate)),
        ROUTING.build(*given("routing", policies.routing)),
        PREDICTOR.build(*given("predictor", policies.predictor)),
        hedging=None if hedging.name == NEVER else HEDGING.build(*given("hedging", hedging)),
        stealing=None if stealing.name == NEVER else STEALING.build(*given("stealing", stealing)),
        rollout=ROLLOUT.build(*given("rollout", rollout)) if rollout else None,
        candidate=ROUTING.build(*given("candidate", candidate)) if candidate else None,
        slo=slo or Slo(),
    )


def _admission(choice: PolicyChoice, seed: int) -> AdmissionPolicy:
    """Build the admission policy; names joined by `+` are asked one after the other.

    A parameter goes to the policy of its name: `token_bucket.rate`.
    """
    names = choice.name.split("+")
    if len(names) == 1:
        return ADMISSION.build(choice.name, choice.parameters, Random(f"{seed}/admission"))
    parts = []
    for name in names:
        own = {
            key.removeprefix(f"{name}."): value
            for key, value in choice.parameters.items()
            if key.startswith(f"{name}.") or "." not in key
        }
        parts.append(ADMISSION.build(name, own, Random(f"{seed}/admission/{name}")))
    return Chain(tuple(parts))
