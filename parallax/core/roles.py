"""The phases of a job that a worker serves: both, or one of them."""

from __future__ import annotations

from parallax.core.errors import InvalidInput

BOTH, PREFILL, DECODE = "both", "prefill", "decode"


def checked_role(role: str) -> str:
    """Return the role; raises InvalidInput for an unknown one."""
    if role not in {BOTH, PREFILL, DECODE}:
        raise InvalidInput("--role", role, f"known: {BOTH}, {PREFILL}, {DECODE}")
    return role
