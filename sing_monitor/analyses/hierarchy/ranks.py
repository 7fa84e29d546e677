"""Spearman's correlation over the pairs of classes of which both values are known."""

from __future__ import annotations

import math

import numpy as np

from sing_monitor.analyses.hierarchy.matrices import Floats


def spearman(first: Floats, second: Floats) -> float:
    """Correlation of ranks, equal values sharing theirs; -1 to 1.

    Args:
        first: a value for each pair, (P,); NaN: not known.
        second: another one, (P,).

    Returns:
        NaN where fewer than two pairs are known, or one side is the same for all of them.

    Example::

        >>> round(spearman(np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 90.0])), 9)
        1.0
    """
    from scipy.stats import rankdata

    known = ~(np.isnan(first) | np.isnan(second))
    ranks = [rankdata(values[known]) for values in (first, second)]
    deviations = [values - values.mean() if values.size else values for values in ranks]
    lengths = [float(np.linalg.norm(values)) for values in deviations]
    if not all(lengths):
        return math.nan
    return float(np.clip(deviations[0] @ deviations[1] / (lengths[0] * lengths[1]), -1, 1))
