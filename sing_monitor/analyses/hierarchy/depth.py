"""Similarity Depth: how specific the ancestors are that classes joined by an edge share."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from sing_monitor.analyses.hierarchy.matrices import (
    Floats,
    Integers,
    Matrix,
    above_diagonal,
    as_symmetric,
)


def similarity_depth(edges: Tensor | Integers, depth: Matrix) -> float:
    """Mean depth of the lowest ancestor that the two classes of an edge share.

    ``SD = mean over edges (a, b) of depth(lowest common ancestor of a and b)``, in nodes, the root
    being 1 (Filus et al., arXiv 2504.09956). It compares on the same classes and reference alone.

    Args:
        edges: pairs of classes, (E, 2), as of :class:`~.forests.Forest`.
        depth: of the lowest common ancestor of each pair, (C, C), symmetric.

    Returns:
        From the root's depth to that of the deepest common ancestor; NaN without edges.

    Raises:
        ValueError: if edges are no pairs of classes, or depth is no symmetric matrix.

    Example::

        >>> similarity_depth(np.array([[0, 1], [1, 2]]), [[3, 2, 1], [2, 3, 1], [1, 1, 2]])
        1.5
    """
    depths = as_symmetric("depth", depth)
    pairs = as_edges(edges, len(depths))
    return float(depths[pairs[:, 0], pairs[:, 1]].mean()) if len(pairs) else math.nan


def as_edges(edges: Tensor | Integers, classes: int) -> Integers:
    """Edges as an array (E, 2) int64.

    Raises:
        ValueError: if they are no pairs of two of so many classes.
    """
    pairs = np.asarray(edges.detach().cpu() if isinstance(edges, Tensor) else edges)
    if not pairs.size:
        return np.empty((0, 2), dtype=np.int64)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
        raise ValueError(
            f"edges must be pairs of classes, (E, 2) whole numbers; got {pairs.shape} "
            f"{pairs.dtype}."
        )
    if pairs.min() < 0 or pairs.max() >= classes:
        raise ValueError(
            f"edges name the classes {pairs.min()} to {pairs.max()}, but there are {classes}: "
            f"0 to {classes - 1}. Take edges and matrix of the same classes."
        )
    return pairs.astype(np.int64)


def by_chance(values: Floats) -> float:
    """What a mean over edges is on average when the classes are permuted at random.

    Each edge then joins any two classes with equal chance, whatever forest it belongs to: the mean
    over all pairs.

    Args:
        values: of each pair, (C, C).
    """
    pairs = above_diagonal(values)
    return float(pairs.mean()) if len(pairs) else math.nan


def between(value: float, chance: float, best: float) -> float:
    """Where a value lies between chance (0) and the best (1); NaN where these are equal.

    Example::

        >>> between(6.0, 5.0, 9.0)
        0.25
    """
    return (value - chance) / (best - chance) if best != chance else math.nan
