"""Correlation modes: groups of weights whose trajectories are affine images of one of them.

Brokman, Betser, Turjeman, Berkov, Cohen, Gilboa: Enhancing Neural Training via a Correlated
Dynamics Model, ICLR 2024.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from sing_monitor.analyses.dynamics.tree import ModeTree, explained

FEWEST_COLUMNS = 3  # two points lie on a line with any other two


@dataclass(frozen=True, eq=False)
class CorrelationModes:
    """Modes of N weights: ``w_i(t) = a_i w_r(t) + b_i``, r the reference of the weight's mode.

    Args:
        reference_index: rows of the references, the mode with the largest share of the sample
            first, (M,) int64.
        mode: of each weight, 0 to M - 1, (N,) int64; -1 for a constant one, which belongs to none.
        a: least squares slopes, (N,) float64; 0 for a constant weight.
        b: least squares intercepts, (N,) float64; its value for a constant weight.
        explained: ``1 - sum |w - a w_r - b|^2 / sum |w - mean_t w|^2``, 0 to 1. Never read it
            without its surrogate: independent random walks reach 0.75.
    """

    reference_index: Tensor
    mode: Tensor
    a: Tensor
    b: Tensor
    explained: float

    @property
    def constant(self) -> int:
        """Number of weights that never move."""
        return int((self.mode < 0).sum())


def correlation_modes(
    trajectories: Tensor | ArrayLike, sample: Tensor | ArrayLike, max_modes: int = 10
) -> CorrelationModes:
    """Group weights by the correlation of their trajectories.

    The rows of the sample's matrix ``|corr|`` are clustered (Euclidean, complete linkage), the tree
    is cut into at most ``max_modes`` clusters, and every weight joins the one to whose reference it
    correlates most, whichever the sign.

    Args:
        trajectories: of N weights at T validations, (N, T) floating point, T > 2.
        sample: rows of the weights that are clustered, (K,) int64, K > 1.
        max_modes: the most modes.

    Raises:
        ValueError: for another shape or dtype, for values that are not finite, for rows that are
            not there or come twice, and where no weight of the sample moves.

    Example::

        >>> import torch
        >>> line, wave = torch.linspace(0, 1, 9), torch.linspace(0, 9, 9).sin()
        >>> found = correlation_modes(
        ...     torch.stack([line, wave, 2 * line + 1, -wave, torch.ones(9)]), torch.arange(4), 2
        ... )
        >>> found.mode.tolist(), found.a.round(decimals=6).tolist()[2:], found.constant
        ([0, 1, 0, 1, -1], [2.0, -1.0, 0.0], 1)
    """
    values = checked_trajectories(trajectories)
    rows = checked_sample(sample, len(values))
    check_count("max_modes", max_modes)
    tree = ModeTree.grow(values.T, rows)
    references = tree.references(max_modes)
    if len(references) == 0:
        raise ValueError(f"none of the {len(rows)} weights of the sample moves; sample others.")
    modes, correlations = tree.joined(references)
    moves = tree.energies > 0
    slopes = correlations * np.sqrt(tree.energies / tree.energies[references][modes])
    means = values.mean(axis=1)
    # The mean of equal numbers is rounded; the number itself is not.
    means[~moves] = values[~moves, 0]
    intercepts = means - slopes * means[references][modes]
    return CorrelationModes(
        torch.from_numpy(references),
        torch.from_numpy(np.where(moves, modes, -1)),
        torch.from_numpy(slopes),
        torch.from_numpy(intercepts),
        explained(correlations, tree.energies),
    )


def checked_trajectories(trajectories: Tensor | ArrayLike) -> NDArray[np.float64]:
    """Trajectories as an array, (N, T) float64.

    Raises:
        ValueError: for another shape or dtype, or values that are not finite.
    """
    if isinstance(trajectories, Tensor) and trajectories.is_floating_point():
        # NumPy takes no tensor with gradients or in bfloat16.
        trajectories = trajectories.detach().double().cpu()
    values = np.asarray(trajectories)
    if values.ndim != 2 or not np.issubdtype(values.dtype, np.floating):
        raise ValueError(
            f"trajectories must be (N, T) floating point; got {values.shape} {values.dtype}."
        )
    if values.shape[1] < FEWEST_COLUMNS:
        raise ValueError(
            f"trajectories need at least {FEWEST_COLUMNS} validations, for any two points "
            f"correlate; got {values.shape[1]}."
        )
    wrong = len(values) - int(np.isfinite(values).all(axis=1).sum())
    if wrong:
        raise ValueError(
            f"trajectories of {wrong} of {len(values)} weights hold NaN or infinite values; leave "
            "these weights out."
        )
    return values.astype(np.float64)


def checked_sample(sample: Tensor | ArrayLike, weights: int) -> NDArray[np.int64]:
    """The rows of a sample as an array.

    Raises:
        ValueError: for another shape or dtype, or for rows that are not there or come twice.
    """
    rows = np.asarray(sample)
    if rows.ndim != 1 or rows.dtype != np.int64 or len(rows) < 2:
        raise ValueError(
            "sample must be the rows of at least two weights, (K,) int64; got "
            f"{rows.shape} {rows.dtype}."
        )
    if rows.min() < 0 or rows.max() >= weights:
        raise ValueError(
            f"sample must hold rows from 0 to {weights - 1}, for there are {weights} weights; got "
            f"{rows.min()} to {rows.max()}."
        )
    distinct = len(np.unique(rows))
    if distinct < len(rows):
        raise ValueError(f"sample names {len(rows) - distinct} rows twice; name each row once.")
    return rows


def check_count(name: str, count: int) -> None:
    """Refuse anything but a positive integer.

    Raises:
        ValueError: for another value.
    """
    if isinstance(count, bool) or not isinstance(count, Integral) or count < 1:
        raise ValueError(f"{name} must be an integer of at least 1; got {count!r}.")
