"""All scenes: importing this module fills the tables."""

from __future__ import annotations

from tests.contract.scenes import (  # noqa: F401 - each adds its scenes to the tables
    attempts,
    dispatch,
    documents,
    intake,
    junk,
    larger,
    larger_rescues,
    leases,
    payloads,
    rates,
    repair,
    rescue,
)  # fmt: skip
from tests.contract.scenes.larger import LARGER
from tests.contract.scenes.table import REPEATS, SCENES, SECOND_ONLY, Scene

#: By name: all of them.
EVERY: dict[str, Scene] = {f"{name} {word}": stage for (name, word), stage in SCENES.items()}
EVERY |= LARGER

__all__ = ["EVERY", "LARGER", "REPEATS", "SCENES", "SECOND_ONLY", "Scene"]
