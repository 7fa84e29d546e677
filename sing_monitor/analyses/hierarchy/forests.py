"""Class forests: the strongest resemblances that connect the classes, in one tree or in clusters.

Filus, Romaszewski, Zarski, "Semantic Depth Matters" (arXiv 2504.09956): cluster the classes, then
take the maximum spanning tree of each cluster.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from sing_monitor.analyses.hierarchy.matrices import (
    Floats,
    Integers,
    Matrix,
    as_symmetric,
    min_max,
)

Clustering = Literal["none", "affinity"]

# Of a label where there are no clusters.
UNKNOWN = -1
# Digits of a scaled similarity that are no rounding of single precision's products.
_DIGITS = 9
# A scaled similarity that is rounding and no resemblance.
_NOTHING = 1e-12
# Iterations of affinity propagation: scikit-learn's own default, and for many classes, of which
# each takes 20 ms. Templates of a trained head take 20 to 50, random ones up to 100.
_ITERATIONS, _FEWER_ITERATIONS = 200, 100
# The paper's damping, and one for what swings between two answers with it.
_DAMPING, _MORE_DAMPING = 0.5, 0.9
# Classes up to which affinity propagation takes little time, even where it is tried twice.
MOST_QUICKLY = 500


@dataclass(frozen=True, eq=False)
class Forest:
    """Classes joined by the strongest resemblances inside each cluster.

    Args:
        edges: pairs (a, b) of classes, a < b, sorted, (E, 2) int64.
        labels: cluster of each class, (C,) int64, 0 to K-1; -1 throughout where affinity
            propagation did not converge: then there are no edges, and nothing is to be read.
    """

    edges: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        # Forests found elsewhere may come as arrays or lists.
        for name in ("edges", "labels"):
            given = getattr(self, name)
            object.__setattr__(self, name, torch.as_tensor(given).detach().cpu())

    @property
    def converged(self) -> bool:
        """Whether there are clusters, and with them edges."""
        return not bool((self.labels == UNKNOWN).any())

    @property
    def clusters(self) -> int:
        """Number of clusters K; 0 where they did not converge."""
        return len(self.labels.unique()) if self.converged else 0


def class_forest(
    similarity: Matrix, clustering: Clustering = "none", seed: int = 42, *, scale: bool = True
) -> Forest:
    """Maximum spanning tree of the classes, or of each of their clusters.

    The matrix is scaled by min-max over all its values and its diagonal set to 1. Pairs of weight
    0, such as the least similar one, and pairs that are not known are no edges, so that a tree may
    fall into several. Of edges equally strong that of the first classes is taken.

    Args:
        similarity: of each pair, (C, C), symmetric; NaN where it is not known.
        clustering: ``"none"``: one cluster of all classes. ``"affinity"``: affinity propagation
            with the median as preference and damping 0.5, the paper's default; where that does
            not converge, up to 500 classes are tried again with damping 0.9, and more are not.
        seed: of the tiny noise by which affinity propagation breaks ties.
        scale: whether to scale. Confusions, shares from 0 to 1, are taken as they are.

    Returns:
        The forest; see :class:`Forest` for clusters that do not converge.

    Raises:
        ValueError: if the matrix is not square and symmetric or holds infinite values, for weights
            below 0 where it is not scaled, and for another clustering.

    Example::

        >>> forest = class_forest([[1.0, 0.9, 0.1], [0.9, 1.0, 0.3], [0.1, 0.3, 1.0]])
        >>> forest.edges.tolist(), forest.labels.tolist()
        ([[0, 1], [1, 2]], [0, 0, 0])
    """
    if clustering not in get_args(Clustering):
        raise ValueError(
            f"clustering must be one of {', '.join(map(repr, get_args(Clustering)))}; "
            f"got {clustering!r}."
        )
    weights = as_symmetric("similarity", similarity)
    if scale:
        weights = min_max(weights)
    np.fill_diagonal(weights, 1.0)
    weights = np.nan_to_num(weights, nan=0.0)
    if weights.min() < 0:
        raise ValueError(
            f"similarity holds {weights.min():g}, but weights that are not scaled are 0 or more; "
            "scale them with scale=True."
        )
    weights[weights < _NOTHING] = 0.0
    if clustering == "none":
        labels = np.zeros(len(weights), dtype=np.int64)
    else:
        labels = _affinity(weights, seed)
    is_inside = (labels[:, None] == labels) & (labels != UNKNOWN)
    edges = strongest_tree(np.where(is_inside, weights, 0.0))
    return Forest(torch.from_numpy(edges), torch.from_numpy(labels))


def strongest_tree(weights: Floats, among_equals: Floats | None = None) -> Integers:
    """Edges of the maximum spanning tree; of several trees where not all pairs have weight.

    Args:
        weights: of each pair, (C, C); what is not above 0 is no edge.
        among_equals: which of two equal edges to take, the larger one, (C, C).

    Returns:
        (E, 2) int64, sorted, the smaller number first.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import minimum_spanning_tree

    first, second = np.nonzero(np.triu(weights, 1) > 0)
    strengths = weights[first, second]
    if among_equals is None:
        order = np.argsort(-strengths, kind="stable")
    else:
        order = np.lexsort((-among_equals[first, second], -strengths))
    # By rank no two edges are equal, and there is one tree alone: that of Kruskal's algorithm.
    ranks = np.empty(len(order))
    ranks[order] = np.arange(1, len(order) + 1)
    graph = coo_array((ranks, (first, second)), shape=weights.shape).tocsr()
    tree = minimum_spanning_tree(graph, overwrite=True).tocoo()
    edges = np.sort(np.stack([tree.row, tree.col], axis=1).astype(np.int64), axis=1)
    return edges[np.lexsort((edges[:, 1], edges[:, 0]))]


def _affinity(weights: Floats, seed: int) -> Integers:
    """Clusters by affinity propagation (Frey, Dueck 2007)."""
    from sklearn.cluster import AffinityPropagation
    from sklearn.exceptions import ConvergenceWarning

    if not np.triu(weights, 1).any():
        # Nothing resembles anything: scikit-learn would put all into one cluster.
        return np.arange(len(weights))
    # It may go one way or the other by a rounding, and breaks ties by place: so neither the last
    # digits nor the order of the classes decides.
    rounded = weights.round(_DIGITS)
    order = np.argsort(-np.square(np.sort(rounded, axis=1)).sum(axis=1), kind="stable")
    ordered = rounded[np.ix_(order, order)]
    is_quick = len(weights) <= MOST_QUICKLY
    most = _ITERATIONS if is_quick else _FEWER_ITERATIONS
    for damping in (_DAMPING, _MORE_DAMPING) if is_quick else (_DAMPING,):
        model = AffinityPropagation(
            affinity="precomputed", damping=damping, max_iter=most, random_state=seed
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            # Said of matrices of one value, which have one cluster.
            warnings.filterwarnings("ignore", "All samples have mutually equal similarities")
            model.fit(ordered)
        # scikit-learn has labels also where it gave up.
        if model.n_iter_ < most:
            return _numbered(model.labels_[np.argsort(order)])
    return np.full(len(weights), UNKNOWN)


def _numbered(labels: Integers) -> Integers:
    """The same clusters, numbered by their first classes."""
    _, firsts, clusters = np.unique(labels, return_index=True, return_inverse=True)
    numbers: Integers = np.argsort(np.argsort(firsts))[clusters].astype(np.int64)
    return numbers
