"""The experiments by name."""

from __future__ import annotations

from importlib import import_module

from parallax.core.errors import InvalidInput
from parallax.sim.experiments.experiment import Experiment

MODULES = {
    "h1": "h01_two_choices",
    "h2": "h02_scan_placement",
    "h3": "h03_noisy_neighbour",
    "h4": "h04_shortest_first",
    "h5": "h05_hedging",
    "h6": "h06_kv_locality",
    "h7": "h07_goodput",
    "h8": "h08_stealing",
    "h9": "h09_batching",
    "h10": "h10_control_loops",
    "h11": "h11_interference",
}


def names() -> list[str]:
    """Return the names of all experiments, in their order."""
    return list(MODULES)


def experiment(name: str) -> Experiment:
    """Return an experiment; raises InvalidInput with the known names."""
    module = MODULES.get(name)
    if module is None:
        raise InvalidInput("experiment", name, f"known: {', '.join(MODULES)}")
    found: Experiment = import_module(f"parallax.sim.experiments.{module}").EXPERIMENT
    return found
