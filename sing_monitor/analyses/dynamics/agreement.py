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
        one: group of each of N things, (N,), not negative.
        other: the same in another grouping, (N,).

    Returns:
        1 for the same grouping, 0 by chance, rarely below; NaN where both are a single group, or
        both put each thing apart, for then every grouping is the same.

    Example::

        >>> import numpy as np
        >>> adjusted_rand_index(np.array([0, 0, 1, 1]), np.array([5, 5, 2, 2]))
        1.0
    """
    table = np.zeros((one.max(initial=0) + 1, other.max(initial=0) + 1))
    np.add.at(table, (one, other), 1)
    together, first, second = (
        float((counts * (counts - 1)).sum()) / 2
        for counts in (table, table.sum(axis=1), table.sum(axis=0))
    )
    pairs = len(one) * (len(one) - 1) / 2
    expected = first * second / pairs if pairs else math.nan
    most = (first + second) / 2
    return (together - expected) / (most - expected) if most > expected else math.nan
