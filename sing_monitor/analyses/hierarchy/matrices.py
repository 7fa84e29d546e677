"""Symmetric matrices over pairs of classes: checked, scaled, read off above the diagonal."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Matrix: TypeAlias = Tensor | ArrayLike

# Differences between the two halves of a matrix that may be rounding, in parts of its largest.
_ROUNDING = 1e-5


def as_matrix(name: str, given: Matrix) -> Floats:
    """A square matrix as float64; NaN stands for what is not known.

    Args:
        name: of the matrix, for messages.
        given: (C, C).

    Raises:
        ValueError: if it is not square and of numbers, or holds infinite values.
    """
    values = given.detach().cpu().double().numpy() if isinstance(given, Tensor) else given
    try:
        matrix = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must be a (C, C) matrix of numbers, got {type(given).__name__}: {error}."
        ) from error
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ValueError(
            f"{name} must have a row and a column for each class, (C, C); got {matrix.shape}."
        )
    if np.isinf(matrix).any():
        raise ValueError(f"{name} holds infinite values; NaN stands for what is not known.")
    return matrix


def as_symmetric(name: str, given: Matrix) -> Floats:
    """A matrix that says the same of (a, b) and (b, a), as float64.

    Raises:
        ValueError: as :func:`as_matrix`, and if the two halves differ by more than rounding.
    """
    matrix = as_matrix(name, given)
    known = matrix[~np.isnan(matrix)]
    most = _ROUNDING * float(np.abs(known).max(initial=0.0))
    if not np.allclose(matrix, matrix.T, rtol=0, atol=most, equal_nan=True):
        raise ValueError(
            f"{name} must be symmetric: it says something else of (a, b) than of (b, a). "
            "Symmetrize it, for example as (M + M.T) / 2."
        )
    return matrix


def above_diagonal(matrix: Floats) -> Floats:
    """The values of all pairs a < b, row by row, (C (C - 1) / 2,)."""
    return matrix[np.triu_indices(len(matrix), 1)]


def min_max(matrix: Floats) -> Floats:
    """Scaled to 0 to 1 over the whole matrix, diagonal included; the diagonal is 1 afterwards.

    What is not known stays NaN; a matrix of one value is all 0.
    """
    known = matrix[~np.isnan(matrix)]
    low, high = (known.min(), known.max()) if known.size else (0.0, 0.0)
    scaled = (matrix - low) / (high - low) if high > low else np.where(np.isnan(matrix), np.nan, 0)
    np.fill_diagonal(scaled, 1.0)
    return scaled
