"""Least squares with coefficients that are not negative."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from parallax.core.errors import InvalidInput

#: Every set of columns is tried: so few that this takes no time.
MOST_COLUMNS = 10
#: A column is used only if that lowers the sum of squares by more than this share of it.
_WORTH = 1e-9

Floats = npt.NDArray[np.float64]


def non_negative(
    rows: Sequence[Sequence[float]], values: Sequence[float], weights: Sequence[float]
) -> tuple[float, ...]:
    """Return x >= 0 with the least sum of (weight * (row . x - value))^2.

    The best x is an ordinary solution for the columns in which it is not 0, so the best of all
    sets of columns whose ordinary solution is not negative is the answer (Lawson and Hanson's
    conditions). Of equally good ones the one with the fewest columns wins. O(2^columns * rows).
    """
    columns = len(rows[0]) if rows else 0
    if not 1 <= columns <= MOST_COLUMNS:
        raise InvalidInput("columns", columns, f"1 to {MOST_COLUMNS}")
    weight = np.asarray(weights, dtype=np.float64)
    matrix: Floats = np.asarray(rows, dtype=np.float64) * weight[:, None]
    target: Floats = np.asarray(values, dtype=np.float64) * weight
    scale = np.sqrt((matrix**2).sum(axis=0))
    used = [n for n in range(columns) if scale[n] > 0.0]
    scaled = matrix / np.where(scale > 0.0, scale, 1.0)
    best, found = float(target @ target), np.zeros(columns)
    for count in range(1, len(used) + 1):
        for chosen in combinations(used, count):
            part, squares = _solved(scaled[:, chosen], target)
            if squares < best * (1.0 - _WORTH) and (part >= 0.0).all():
                best, found = squares, np.zeros(columns)
                found[list(chosen)] = part / scale[list(chosen)]
    return tuple(float(one) for one in found)


def _solved(matrix: Floats, target: Floats) -> tuple[Floats, float]:
    """Return the ordinary solution, and its sum of squares."""
    part: Floats = np.linalg.lstsq(matrix, target, rcond=None)[0].astype(np.float64)
    off = matrix @ part - target
    return part, float(off @ off)
