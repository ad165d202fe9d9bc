"""Building the scheduler from settings: the same policies for the live system and the simulator."""

from __future__ import annotations

from random import Random

from parallax.core.settings import Policies
from parallax.policies.registry import ADMISSION, FAIRNESS, GATE, ORDERING, PREDICTOR, ROUTING
from parallax.scheduling.scheduler import Composition, Scheduler


def build_scheduler(policies: Policies, seed: int) -> Scheduler:
    """Return a new scheduler. Each policy gets a random stream of its own, derived from `seed`.

    Raises UnknownPolicy for an unknown name or parameter, InvalidInput for a bad value.
    """

    def stream(kind: str) -> Random:
        return Random(f"{seed}/{kind}")

    def chosen(kind: str) -> tuple[str, dict[str, object], Random]:
        choice = getattr(policies, kind)
        return choice.name, dict(choice.parameters), stream(kind)

    return Scheduler(
        Composition(
            ADMISSION.build(*chosen("admission")),
            FAIRNESS.build(*chosen("fairness")),
            ORDERING.build(*chosen("ordering")),
            GATE.build(*chosen("gate")),
            ROUTING.build(*chosen("routing")),
            PREDICTOR.build(*chosen("predictor")),
        )
    )
