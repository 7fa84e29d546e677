"""Similarity Graph Compliance: how far errors follow the resemblance of the class templates."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sing_monitor.analyses.hierarchy.depth import as_edges
from sing_monitor.analyses.hierarchy.forests import Forest
from sing_monitor.analyses.hierarchy.matrices import Integers


@dataclass(frozen=True)
class Compliance:
    """Shares of the edges of two forests, each from 0 to 1; NaN where there are no such edges.

    Extended shares are never below the direct ones, but a forest of one cluster makes them 1
    whatever the errors are: read them beside what they are by chance.

    Args:
        direct_explained: share of the error edges that are edges of the weights.
        direct_causing: share of the weights' edges that are error edges.
        extended_explained: share of the error edges inside one cluster of the weights.
        extended_causing: share of the weights' edges inside one cluster of the errors.
        direct_chance: ``direct_explained`` on average when the classes are permuted at random.
        extended_chance: ``extended_explained`` likewise.
    """

    direct_explained: float
    direct_causing: float
    extended_explained: float
    extended_causing: float
    direct_chance: float
    extended_chance: float


def compliance(weights: Forest, errors: Forest) -> Compliance:
    """How far the forest of the errors complies with that of the weights.

    Filus et al., arXiv 2504.09956. By chance an error edge is any of the ``C (C - 1) / 2`` pairs,
    so that no permutation need be drawn.

    Args:
        weights: forest of the class templates' similarity.
        errors: forest of the confusions, of the same classes, clustered in the same way.

    Returns:
        All NaN where one of the forests did not converge.

    Raises:
        ValueError: if the forests are of different numbers of classes, or edges are no pairs of
            them.

    Example::

        >>> from sing_monitor.analyses.hierarchy.forests import class_forest
        >>> weights = class_forest([[1.0, 0.9, 0.1], [0.9, 1.0, 0.3], [0.1, 0.3, 1.0]])
        >>> errors = class_forest([[1.0, 0.2, 0.1], [0.2, 1.0, 0.0], [0.1, 0.0, 1.0]], scale=False)
        >>> compliance(weights, errors).direct_explained
        0.5
    """
    if len(weights.labels) != len(errors.labels):
        raise ValueError(
            f"the forest of the weights has {len(weights.labels)} classes, that of the errors "
            f"{len(errors.labels)}; give two forests of the same classes."
        )
    if not (weights.converged and errors.converged):
        return Compliance(*[math.nan] * 6)
    groups, wrong_groups = weights.labels.numpy(), errors.labels.numpy()
    causes, wrong = (as_edges(each.edges, len(groups)) for each in (weights, errors))
    both = len(_as_set(causes) & _as_set(wrong))
    pairs = len(groups) * (len(groups) - 1) // 2
    sizes = np.bincount(groups)
    inside = int((sizes * (sizes - 1) // 2).sum())
    return Compliance(
        direct_explained=_share(both, len(wrong)),
        direct_causing=_share(both, len(causes)),
        extended_explained=_share(_within(wrong, groups), len(wrong)),
        extended_causing=_share(_within(causes, wrong_groups), len(causes)),
        direct_chance=_share(len(causes), pairs) if len(wrong) else math.nan,
        extended_chance=_share(inside, pairs) if len(wrong) else math.nan,
    )


def _as_set(edges: Integers) -> set[tuple[int, int]]:
    """Edges without a direction."""
    return {(min(edge), max(edge)) for edge in edges.tolist()}


def _within(edges: Integers, groups: Integers) -> int:
    """How many edges lie inside one group."""
    return int((groups[edges[:, 0]] == groups[edges[:, 1]]).sum())


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
