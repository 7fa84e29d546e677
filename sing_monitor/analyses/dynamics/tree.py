"""Tree of correlated trajectories, which can be cut into any number of modes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sing_monitor.row_blocks import add_gram, mirrored

Floats = NDArray[np.float64]
Numbers = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ModeTree:
    """Trajectories of N weights, and the tree in which a sample of them is clustered.

    Args:
        directions: trajectories about their mean, of unit length; 0 for a constant one, (T, N).
            Correlations have their precision.
        energies: squared length of the trajectories about their mean, (N,).
        sample: rows of the clustered ones, (K,), K > 1.
        correlations: ``|corr|`` within the sample, 0 for constant ones, symmetric, (K, K).
        merges: scipy's linkage matrix, (K - 1, 4).
    """

    directions: Tensor
    energies: Floats
    sample: Ints
    correlations: Tensor
    merges: Floats

    @classmethod
    def grow(cls, trajectories: Numbers, sample: Ints) -> ModeTree:
        """Cluster a sample: rows of ``|corr|``, Euclidean distances, complete linkage.

        Args:
            trajectories: (T, N), finite: a row holds all weights at one validation, so that sums
                over a few validations run over long rows. In single precision it takes half the
                time.
            sample: of the weights, (K,), K > 1.
        """
        from scipy.cluster.hierarchy import linkage
        from scipy.spatial.distance import squareform

        directions, energies = directions_of(trajectories)
        among = directions[:, torch.from_numpy(sample)]
        correlations = among.new_zeros(len(sample), len(sample))
        add_gram(correlations, among)
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
        return cls(directions, energies, sample, correlations, merges)

    def references(self, max_modes: int) -> Ints:
        """Rows of the reference trajectories of at most so many modes, the largest mode first.

        A reference is the member with the largest mean ``|corr|`` to its cluster, of equally near
        ones the first. A cluster of constant trajectories has none.

        Returns:
            (M,), M <= max_modes.
        """
        from scipy.cluster.hierarchy import fcluster

        labels = fcluster(self.merges, max_modes, "maxclust")
        is_member = np.unique(labels)[:, None] == labels
        sizes = is_member.sum(axis=1)
        members = torch.from_numpy(is_member).to(self.correlations)
        nearness = (members @ self.correlations).numpy() / sizes[:, None]
        nearness[~is_member] = -1
        first, best = is_member.argmax(axis=1), nearness.argmax(axis=1)
        order = np.lexsort((first, -sizes))
        moving = nearness.max(axis=1)[order] > 0
        return self.sample[best[order[moving]]]

    def joined(self, references: Ints) -> tuple[Ints, Numbers]:
        """The mode that each weight joins, that of the largest ``|corr|`` to its reference.

        Args:
            references: rows, (M,), M > 0.

        Returns:
            The modes, (N,), and the signed correlations to their references, (N,).
        """
        return joined(self.directions, references)

    def nearness(self, references: Ints) -> Numbers:
        """The largest ``|corr|`` of each weight to a reference, (N,)."""
        return _with(self.directions, references).abs_().amax(dim=0).numpy()

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
        return explained(self.nearness(references), self.energies, rows)


def directions_of(trajectories: Numbers) -> tuple[Tensor, Floats]:
    """Directions (T, N) and energies (N,) of trajectories (T, N), as in :class:`ModeTree`."""
    away = trajectories.astype(np.float64, order="C")
    # About the first value first: a constant trajectory is then 0 to the last digit.
    away -= away[0].copy()
    away -= away.mean(axis=0)
    energies = np.einsum("tn,tn->n", away, away)
    lengths = np.sqrt(np.where(energies > 0, energies, 1))
    directions = torch.from_numpy(np.empty(away.shape, trajectories.dtype))
    np.divide(away, lengths, out=directions.numpy(), casting="same_kind")
    return directions, energies


def joined(directions: Tensor, references: Ints) -> tuple[Ints, Numbers]:
    """:meth:`ModeTree.joined` of weights with these directions, (T, N)."""
    correlations = _with(directions, references)
    # Of equal ones the first.
    modes = correlations.abs().max(dim=0).indices
    return modes.numpy(), correlations.gather(0, modes[None])[0].numpy()


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


def _with(directions: Tensor, references: Ints) -> Tensor:
    """Correlations of all weights with some of them, (M, N)."""
    return directions[:, torch.from_numpy(references)].T @ directions
