"""Two compositions to compare with: jobs bound to a worker as they come, or as late as can be."""

from __future__ import annotations

from dataclasses import replace

from parallax.core.settings import Policies, PolicyChoice

#: What a router without a queue of its own does: everything is sent on at once, in order of time.
EAGER = Policies(
    admission=PolicyChoice("unlimited"),
    fairness=PolicyChoice("fifo"),
    ordering=PolicyChoice("fcfs"),
    gate=PolicyChoice("jbsq", {"prefetch": 1_000_000}),
)
#: Jobs wait in the scheduler until a place is free.
LATE = replace(EAGER, gate=PolicyChoice("jbsq", {"prefetch": 0}))


def routed(routing: str, policies: Policies = EAGER, **parameters: object) -> Policies:
    """Return these policies with another routing policy."""
    return replace(policies, routing=PolicyChoice(routing, parameters))
