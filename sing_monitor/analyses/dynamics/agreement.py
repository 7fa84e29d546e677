"""Adjusted Rand index of two groupings."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def adjusted_rand_index(one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """Share of pairs that two groupings treat alike, corrected for chance.

    ``(n - e) / ((p + q) / 2 - e)``: n pairs are together in both, p in the first, q in the second,
    and ``e = p q / all pairs`` would be by chance (Hubert and Arabie 1985).

    Args:
        one: group of each of N things, (N,), counted from 0.
        other: the same in another grouping, (N,).

    Returns:
        1 for the same grouping, 0 by chance, rarely below; NaN where both are a single group, or
        both put each thing apart, for then every grouping is the same.

    Example::

        >>> import numpy as np
        >>> adjusted_rand_index(np.array([0, 0, 1, 1]), np.array([5, 5, 2, 2]))
        1.0
    """
    width = int(other.max(initial=0)) + 1
    together = np.bincount(one * width + other)
    n, p, q = (_pairs(sizes) for sizes in (together, np.bincount(one), np.bincount(other)))
    every = len(one) * (len(one) - 1) // 2
    if p == q and p in (0, every):
        return math.nan
    by_chance = p * q / every
    return (n - by_chance) / ((p + q) / 2 - by_chance)


def _pairs(sizes: NDArray[np.int64]) -> int:
    """Number of pairs within groups of some sizes."""
    return int((sizes * (sizes - 1) // 2).sum())
