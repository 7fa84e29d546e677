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
    from sklearn.metrics import adjusted_rand_score

    groups = {len(np.unique(each)) for each in (one, other)}
    # scikit-learn takes these for perfect agreement.
    if groups in ({1}, {len(one)}):
        return math.nan
    return float(adjusted_rand_score(one, other))
