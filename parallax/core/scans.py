"""Prefix sums in parallel: two ways to do it in a logarithm of steps, and one that pays.

`numpy.cumsum` is what the policies use. These show what a machine with many processors would do,
step by step, and count the steps and the additions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scan:
    """Inclusive prefix sums, the parallel steps they took, and the additions in all."""

    sums: Numbers
    steps: int
    additions: int


def hillis_steele(values: Numbers) -> Scan:
    """Scan in ceil(log2 n) steps and n * steps - (2**steps - 1) additions.

    In step k every element adds the one 2**k places before it. Few steps, much work: for machines
    with as many processors as elements. Source: Hillis & Steele (CACM 1986).
    """
    sums, steps, additions, distance = values.astype(np.float64), 0, 0, 1
    while distance < len(sums):
        moved = sums.copy()
        moved[distance:] += sums[:-distance]
        sums, steps, additions = moved, steps + 1, additions + len(sums) - distance
        distance *= 2
    return Scan(sums, steps, additions)


def blelloch(values: Numbers) -> Scan:
    """Scan in 2 * log2 n steps and 2 * (n - 1) additions; n is filled up to a power of two.

    Up a tree of partial sums and down again: as much work as one processor would have, in a
    logarithm of steps. Source: Blelloch (IEEE ToC 1989).
    """
    count = len(values)
    size = 1 << max(0, count - 1).bit_length()
    tree = np.zeros(size)
    tree[:count] = values
    steps = additions = 0
    distance = 1
    while distance < size:  # up: every node the sum of its leaves
        tree[2 * distance - 1 :: 2 * distance] += tree[distance - 1 :: 2 * distance]
        steps, additions, distance = steps + 1, additions + size // (2 * distance), 2 * distance
    tree[-1] = 0.0
    while distance > 1:  # down: every node gets the sum before its leaves
        distance //= 2
        left = tree[distance - 1 :: 2 * distance].copy()
        tree[distance - 1 :: 2 * distance] = tree[2 * distance - 1 :: 2 * distance]
        tree[2 * distance - 1 :: 2 * distance] += left
        steps, additions = steps + 1, additions + size // (2 * distance)
    return Scan(tree[:count] + values, steps, additions)


def blocked(values: Numbers, blocks: int) -> Scan:
    """Scan each block by itself, then the sums of the blocks, then add what comes before each.

    With p processors for p blocks it takes 2n / p + p steps: what a machine of a few cores does.
    """
    parts = np.array_split(values.astype(np.float64), max(1, min(blocks, len(values) or 1)))
    scanned = [np.cumsum(part) for part in parts]
    totals = np.array([part[-1] if len(part) else 0.0 for part in scanned])
    before = np.concatenate(([0.0], np.cumsum(totals)[:-1]))
    shifted = [part + offset for part, offset in zip(scanned, before, strict=True)]
    longest = max(len(part) for part in parts)
    additions = 2 * len(values) + len(parts)
    return Scan(np.concatenate(shifted), 2 * longest + len(parts), additions)
