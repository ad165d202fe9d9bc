"""Cost: the unit in which tenants are charged and workers are compared.

    cost = prompt_weight * uncached prompt tokens + output_weight * output tokens

Defaults 1 and 2, as in the VTC artifact (Sheng et al., OSDI'24) and AIBrix: an output token costs a
decode step, a prompt token shares one prefill pass.
"""

from __future__ import annotations

from dataclasses import dataclass

from parallax.core.model import check_number


@dataclass(frozen=True, slots=True)
class TokenCost:
    """Prices per token; the sum is a cost in cost units."""

    prompt_weight: float = 1.0
    output_weight: float = 2.0

    def __post_init__(self) -> None:
        check_number("prompt_weight", self.prompt_weight, 0.0, 1e6)
        check_number("output_weight", self.output_weight, 0.0, 1e6)

    def __call__(self, prompt_tokens: float, output_tokens: float) -> float:
        """Cost of that many uncached prompt tokens and output tokens."""
        return self.prompt_weight * prompt_tokens + self.output_weight * output_tokens
