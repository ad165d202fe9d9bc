"""The latency objectives by which the scheduler's metrics judge completed jobs."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from parallax.core.model import check_number


@dataclass(frozen=True, slots=True)
class Objectives:
    """Seconds to the first token, per token after it, and to the end, all from acceptance."""

    ttft_s: float = 2.0
    tpot_s: float = 0.1
    e2e_s: float = 60.0

    def __post_init__(self) -> None:
        for name, seconds in asdict(self).items():
            check_number(f"--slo-{name.removesuffix('_s')}", seconds, 0.0001, 86_400.0)

    def bounds(self) -> dict[str, float]:
        """Return the bound that each objective is of the buckets of its histogram."""
        return {f"parallax_{name}_seconds": seconds for name, seconds in self.by_name().items()}

    def by_name(self) -> dict[str, float]:
        """Return the seconds by the objective's label."""
        return {name.removesuffix("_s"): seconds for name, seconds in asdict(self).items()}
