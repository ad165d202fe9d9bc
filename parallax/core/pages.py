"""Long lists in pieces of a bounded size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def pages(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield `items` in order, at most `size` (> 0) at a time; nothing if there are none."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
