"""Who meets in a contest: the default beside rivals, beside itself, or in other orders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from parallax.core.settings import Policies, PolicyChoice
from parallax.policies.registry import ROUTING
from parallax.sim.binding import routed

DEFAULT, BASELINE = "parallax", "round_robin"
RIVALS = (
    "sglang_cache_aware", "smg_least_load", "llmd_default", "dynamo_kv", "ray_pow2",
    "aibrix_prefix",
)  # fmt: skip
#: Constants of the cost of `kv_locality`: none has a unit, or all the same (usual prompts). Its
#: `blocks` and `load` say what engines are like whose memory is not known, or has two tiers.
CONSTANTS = ("omega", "jobs", "memory", "interference", "stickiness", "least")
ORDERS = ("sjf", "least_slack", "edf", "fcfs")


def rivals() -> dict[str, Policies]:
    """Return the default and the published rules of others, with nothing before them."""
    return {
        DEFAULT: Policies(),
        BASELINE: routed(BASELINE),
        **{name: routed(name) for name in RIVALS},
    }


def constants() -> dict[str, Policies]:
    """Return the default, and the same with each constant halved, doubled, and left out."""
    built = ROUTING.build("kv_locality", {})
    found = {DEFAULT: Policies()}
    for name in CONSTANTS:
        value = getattr(built, name)
        for word, factor in (("none", 0.0), ("half", 0.5), ("double", 2.0)):
            choice = PolicyChoice("kv_locality", {name: factor * value})
            found[f"{name} {word}"] = replace(Policies(), routing=choice)
    return found


def orders() -> dict[str, Policies]:
    """Return the default, and every order that drops what is too late, and that does not."""
    found = {DEFAULT: Policies()}
    for name in ORDERS:
        for word, drop in (("drops", True), ("keeps", False)):
            choice = PolicyChoice(name, {"drop_hopeless": drop})
            found[f"{name} {word}"] = replace(Policies(), ordering=choice)
    shedding = PolicyChoice("thresholds+codel")
    found["sjf codel"] = replace(Policies(), admission=shedding)
    return found


ENTRANTS: Mapping[str, dict[str, Policies]] = {
    "rivals": rivals(), "constants": constants(), "orders": orders(),
}  # fmt: skip
