"""Tree of correlated trajectories, which can be cut into any number of modes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sing_monitor.row_blocks import add_gram, mirrored

Floats = NDArray[np.float64]
Numbers = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ModeTree:
    """Trajectories of N weights, and the tree in which a sample of them is clustered.

    Args:
        directions: trajectories about their mean, of unit length; 0 for a constant one, (N, T).
            Correlations have their precision.
        energies: squared length of the trajectories about their mean, (N,).
        sample: rows of the clustered ones, (K,), K > 1.
        correlations: ``|corr|`` within the sample, 0 for constant ones, symmetric, (K, K).
        merges: scipy's linkage matrix, (K - 1, 4).
    """

    directions: Numbers
    energies: Floats
    sample: Ints
    correlations: Numbers
    merges: Floats

    @classmethod
    def grow(cls, trajectories: Numbers, sample: Ints) -> ModeTree:
        """Cluster a sample: rows of ``|corr|``, Euclidean distances, complete linkage.

        Args:
            trajectories: (N, T), finite. In single precision it takes half the time.
            sample: rows, (K,), K > 1.
        """
        from scipy.cluster.hierarchy import linkage
        from scipy.spatial.distance import squareform

        directions = trajectories - trajectories.mean(axis=1, keepdims=True, dtype=np.float64)
        # Rounding of the mean would make a constant trajectory move.
        directions[(trajectories == trajectories[:, :1]).all(axis=1)] = 0
        energies = np.einsum("nt,nt->n", directions, directions)
        directions /= np.sqrt(np.where(energies > 0, energies, 1))[:, None]
        directions = directions.astype(trajectories.dtype)
        among = torch.from_numpy(directions[sample])
        correlations = among.new_zeros(len(sample), len(sample))
        add_gram(correlations, among.T)
        # Symmetric, and 1 on the diagonal, to the last digit: of two weights alone in a cluster
        # neither is nearer, and rounding is not to choose their reference.
        mirrored(correlations.abs_()).diagonal().copy_(torch.from_numpy(energies[sample] > 0))
        products = torch.zeros_like(correlations)
        add_gram(products, correlations)  # symmetric: C'C is CC'
        squares = products.diagonal()
        # Squares of distances: complete linkage takes the largest one, so the tree is the same.
        # Of the matrix, which has its upper triangle alone, the other is not read.
        distances = torch.add(squares[:, None] + squares, products, alpha=-2).fill_diagonal_(0)
        condensed = squareform(distances.numpy(), checks=False).clip(min=0)
        merges = linkage(condensed, "complete")
        return cls(directions, energies, sample, correlations.numpy(), merges)

    def references(self, max_modes: int) -> Ints:
        """Rows of the reference trajectories of at most so many modes, the largest mode first.

        A reference is the member with the largest mean ``|corr|`` to its cluster, of equally near
        ones the first. A cluster of constant trajectories has none.

        Returns:
            (M,), M <= max_modes.
        """
        from scipy.cluster.hierarchy import fcluster

        labels = fcluster(self.merges, max_modes, "maxclust")
        is_member = labels[:, None] == np.unique(labels)
        sizes = is_member.sum(axis=0)
        nearness = _product(self.correlations, is_member.T.astype(self.correlations.dtype)) / sizes
        nearness[~is_member] = -1
        first, best = is_member.argmax(axis=0), nearness.argmax(axis=0)
        order = np.lexsort((first, -sizes))
        moving = nearness.max(axis=0)[order] > 0
        return self.sample[best[order[moving]]]

    def joined(self, references: Ints) -> tuple[Ints, Numbers]:
        """The mode that each weight joins, that of the largest ``|corr|`` to its reference.

        Args:
            references: rows, (M,), M > 0.

        Returns:
            The modes, (N,), and the signed correlations to their references, (N,).
        """
        correlations = _product(self.directions, self.directions[references])
        modes = np.abs(correlations).argmax(axis=1)
        return modes, np.take_along_axis(correlations, modes[:, None], axis=1)[:, 0]

    def explained(self, max_modes: int, rows: Bools | None = None) -> float:
        """Share of the variance over time that affine images of the references explain.

        Args:
            max_modes: the most modes.
            rows: of the weights that count, (N,) bool; None: all.

        Returns:
            0 to 1; NaN where nothing moves.
        """
        references = self.references(max_modes)
        if len(references) == 0:
            return math.nan
        correlations = np.abs(_product(self.directions, self.directions[references]))
        return explained(correlations.max(axis=1), self.energies, rows)


def explained(correlations: Numbers, energies: Floats, rows: Any = None) -> float:
    """``sum r^2 |w - mean_t w|^2 / sum |w - mean_t w|^2``, which is ``1 - residual / variance``.

    Args:
        correlations: r of each weight to its reference, whichever the sign, (N,).
        energies: ``|w - mean_t w|^2``, (N,).
        rows: of the weights that count; None: all.

    Returns:
        0 to 1; NaN where nothing moves.
    """
    rows = slice(None) if rows is None else rows
    total = float(energies[rows].sum())
    if total == 0:
        return math.nan
    # Rounding lifts a correlation above 1.
    return min(float((np.square(correlations[rows]) * energies[rows]).sum()) / total, 1.0)


def _product(left: Numbers, right: Numbers) -> Numbers:
    """``left @ right.T`` by torch: the threads of numpy's BLAS and torch's wait for each other."""
    return (torch.from_numpy(left) @ torch.from_numpy(right).T).numpy()
