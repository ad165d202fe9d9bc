"""Engines to imitate: a model on a kind of hardware, by name.

The GPU constants are a linear form of a roofline model that was checked against published step
times (within 10 % of the measured ones). The line is within 5 % of the roofline for up to 32
decodes and 13 % for prompts of 2,000 tokens and more; 128 decodes come out up to 18 % short,
prompts of 500 tokens up to 60 % long, where reading the weights and computing take as long.
`llama2-7b-a10g` has base and prefill from the synthetic overload run of VTC's artifact (1.71
requests and 43 ms a token), KV reads from the card's bandwidth (524,288 bytes at 65 % of 600 GB/s).
`laptop` is made up: small enough for a few jobs a second on one core.
"""

from __future__ import annotations

from dataclasses import dataclass

from parallax.core.errors import InvalidInput
from parallax.core.model import check_flag, check_int, check_number
from parallax.engine.cost_model import StepCost


@dataclass(frozen=True, slots=True)
class Profile:
    """The capabilities and costs of a batching engine. Lengths are tokens."""

    name: str
    cost: StepCost
    kv_capacity: int  # tokens of KV cache
    max_seqs: int = 128  # requests that run at once
    token_budget: int = 2_048  # tokens computed in one step
    block_size: int = 16  # tokens per KV block
    dram_tokens: int = 0  # tokens of KV cache in a second tier
    transfer_ms: float = 0.003  # per token of KV cache handed to another worker
    transfer_setup_ms: float = 1.0  # per hand-over
    request_ms: float = 0.0  # from a request's arrival until it can join a step
    prefix_caching: bool = True  # whether a prompt's beginning is found if it was computed before

    def __post_init__(self) -> None:
        check_int("kv_capacity", self.kv_capacity, self.block_size, 10**9)
        check_int("max_seqs", self.max_seqs, 1, 100_000)
        check_int("token_budget", self.token_budget, 1, 10**7)
        check_int("block_size", self.block_size, 1, 65_536)
        check_int("dram_tokens", self.dram_tokens, 0, 10**10)
        check_number("transfer_ms", self.transfer_ms, 0.0, 1e3)
        check_number("transfer_setup_ms", self.transfer_setup_ms, 0.0, 1e6)
        check_number("request_ms", self.request_ms, 0.0, 1e6)
        check_flag("prefix_caching", self.prefix_caching)


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("llama3-8b-a100", StepCost(11.3, 0.0722, 0.004, 0.099, 3.7e-6), 421_008),
        Profile("llama3-8b-h100", StepCost(7.2, 0.0228, 0.004, 0.060, 1.2e-6), 421_008),
        Profile("llama3-70b-a100-tp4", StepCost(27.1, 0.177, 0.004, 0.062, 4.7e-6), 487_232),
        Profile("llama3-70b-h100-tp4", StepCost(17.5, 0.0558, 0.004, 0.038, 1.5e-6), 487_232),
        Profile("qwen3-32b-h100-tp2", StepCost(15.6, 0.0538, 0.004, 0.0602, 2.36e-6), 307_328),
        Profile("llama2-7b-a10g", StepCost(30.0, 0.15, 0.004, 1.344, 9.3e-6), 10_000),
        Profile("laptop", StepCost(0.3, 0.004, 0.02, 0.0, 0.0), 65_536, max_seqs=8),
    )
}


def profile_named(name: str) -> Profile:
    """Return a profile; raises InvalidInput with the known names."""
    try:
        return PROFILES[name]
    except KeyError:
        raise InvalidInput("profile", name, f"known: {', '.join(PROFILES)}") from None
