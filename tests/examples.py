"""How many random examples the tests draw: all, or a share where somebody is in a hurry."""

from __future__ import annotations

import os

#: The share of the examples, for whoever is in a hurry.
SHARE = float(os.environ.get("PARALLAX_EXAMPLE_SHARE", "1"))
_FEWEST = 5


def examples(full: int) -> int:
    """Return how many examples to draw where `full` are drawn when there is time."""
    return max(min(full, _FEWEST), round(full * SHARE))
