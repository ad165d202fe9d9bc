"""Engines by name."""

from __future__ import annotations

from dataclasses import replace

from parallax.consumers.engines.clock import ClockEngine
from parallax.consumers.engines.cpu import CpuEngine
from parallax.consumers.engines.interface import Engine
from parallax.consumers.engines.noop import NoopEngine
from parallax.core.clock import Clock
from parallax.core.errors import InvalidInput
from parallax.core.model import check_int, check_number
from parallax.core.settings import PolicyChoice
from parallax.engine.profiles import profile_named
from parallax.policies.registry import BATCHING

CONTINUOUS = PolicyChoice("continuous")  # what the engine does by itself
KINDS = ("cpu", "clock", "noop")
NOOP_SLOTS = 2_000


def build_engine(
    kind: str,
    *,
    profile: str,
    slots: int | None,
    speed: float,
    clock: Clock,
    batching: PolicyChoice = CONTINUOUS,
) -> Engine:
    """Return a new engine.

    Raises InvalidInput for an unknown kind, profile or number, UnknownPolicy for a batching policy
    or parameter that does not exist.
    """
    check_number("--speed", speed, 0.001, 10_000.0)
    if slots is not None:
        check_int("--slots", slots, 1, 100_000)
    chosen = profile_named(profile)
    if slots is not None:
        chosen = replace(chosen, max_seqs=slots)
    policy = None
    if batching.name != CONTINUOUS.name:
        policy = BATCHING.build(batching.name, batching.parameters)
    if kind == "cpu":
        return CpuEngine(chosen, speed, clock, batching=policy)
    if kind == "clock":
        return ClockEngine(chosen, speed, clock, batching=policy)
    if kind == "noop":
        return NoopEngine(slots or NOOP_SLOTS)
    raise InvalidInput("--engine", kind, f"known: {', '.join(KINDS)}")
