"""Row space of a weight: an orthonormal basis, the singular values and the rank tolerance."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.linalg import solve_triangular

from sing_monitor.row_blocks import gram

# Smallest over largest singular value from which the eigenvalues of W W' are precise enough.
_WELL_CONDITIONED = 1e-2


def decompose(matrix: Tensor, rtol: float, atol: float) -> tuple[Tensor, Tensor, Tensor | None]:
    """Decompose a weight into a basis of its row space and its singular values.

    For a well-conditioned weight the eigenvalues of the Gram matrix give the singular values in a
    quarter of the time. The Gram matrix squares the condition, so every other weight goes through
    a singular value decomposition. At full rank any orthonormal basis is as good as the singular
    vectors.

    Args:
        matrix: W, (C, m), float64.
        rtol: tolerance of the rank, relative to the largest singular value.
        atol: absolute tolerance of the rank; the larger of the two counts.

    Returns:
        Basis V_p, (m, rank), all singular values, (min(C, m),), largest first, and ``(W V_p)'``
        where it is upper triangular, (C, C); else None.
    """
    is_wide = matrix.shape[0] <= matrix.shape[1]
    gram_matrix = gram(matrix.T if is_wide else matrix)
    singular_values = torch.linalg.eigvalsh(gram_matrix).flip(0).clamp(min=0).sqrt()
    largest = float(singular_values[0])
    threshold = max(atol, rtol * largest)
    if not singular_values[-1] > max(threshold, _WELL_CONDITIONED * largest):
        _, singular_values, right = torch.linalg.svd(matrix, full_matrices=False)
        return right[singular_values > threshold].T, singular_values, None
    if not is_wide:
        return torch.eye(len(gram_matrix), dtype=matrix.dtype), singular_values, None
    # With W W' = R' R the columns of W' R^-1 are orthonormal.
    factor = torch.linalg.cholesky(gram_matrix, upper=True)
    basis = solve_triangular(factor, matrix.T, upper=True, left=False)
    return basis, singular_values, factor


def rounding_noise(matrix: Tensor, eps: float) -> float:
    """Spectral norm of the rounding errors in a stored matrix.

    ``eps * (sqrt(C) + sqrt(m)) * |W|_F / sqrt(C m)``: as large as that of random errors that have
    the size of the entries' root mean square times eps.

    Args:
        matrix: W, (C, m).
        eps: of the dtype in which it is stored.
    """
    rows, columns = matrix.shape
    root_mean_square = float(torch.linalg.matrix_norm(matrix)) / math.sqrt(rows * columns)
    return eps * (math.sqrt(rows) + math.sqrt(columns)) * root_mean_square
