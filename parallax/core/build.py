"""Which build this is: the hot modules as sources, or compiled (see docs/decisions/0021)."""

from __future__ import annotations

from parallax.core import ewma


def compiled() -> bool:
    """Whether the hot modules run as machine code in this process."""
    return not ewma.__file__.endswith(".py")
