"""Moments and triangular solvers for the primal and the dual form of the ridge regression."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.linalg import solve_triangular

from sing_monitor.row_blocks import NOISE, energy, gram

_BLOCK = 128
# Columns from which blocks are quicker than substitution of single rows.
_COLUMNS = 64


class Moments(ABC):
    """Moments of samples about their means, in the primal or the dual form.

    Attributes:
        n: number of samples.
        mean_x: of the features, (m,).
        mean_z: of the embeddings, (n,).
        zz: ``sum |z - mean z|^2``.
        feature_dim: number of features over which the variance is averaged: m, unless the samples
            are given by coordinates of their features.
    """

    n: int
    mean_x: Tensor
    mean_z: Tensor
    zz: float
    feature_dim: int

    @property
    @abstractmethod
    def varying(self) -> float:
        """``sum |x - mean x|^2``."""

    def shift(self, rho: float) -> float:
        """Lambda for a ridge rho: ``rho sum |x - mean x|^2 / m``."""
        return rho * self.varying / self.feature_dim

    @property
    def is_constant(self) -> bool:
        """Whether the features are constant."""
        # Equal features leave a trace of rounding noise, not an exact zero.
        return self.varying <= NOISE * self.n * energy(self.mean_x)

    @property
    def tells_nothing(self) -> bool:
        """Whether all features, or all embeddings, are alike: there is nothing to translate."""
        return self.is_constant or self.squared_deviation(self.mean_z) == 0

    def squared_deviation(self, center: Tensor) -> float:
        """Sum over the samples of ``|z - center|^2``; center is (n,)."""
        deviation = self.zz + self.n * energy(self.mean_z - center)
        return deviation if deviation > NOISE * self.n * energy(self.mean_z) else 0.0

    def check_ridge(self, rho: float) -> None:
        """Raise an error for no samples, or a ridge that is not positive and finite.

        Raises:
            ValueError: in either case.
        """
        if self.n == 0:
            raise ValueError("a translator cannot be fitted on no sample.")
        if not (rho > 0 and math.isfinite(rho)):
            raise ValueError(f"ridge must be positive and finite, got {rho}.")


def check_samples(x: Tensor, z: Tensor) -> None:
    """Raise an error for features and embeddings that are not of the same images.

    Raises:
        ValueError: if the two disagree on N.
    """
    if x.ndim != 2 or z.ndim != 2 or len(x) != len(z):
        raise ValueError(
            "expected features (N, m) and embeddings (N, n) of the same N images, got "
            f"{tuple(x.shape)} and {tuple(z.shape)}."
        )


@dataclass(frozen=True)
class Factor:
    """Lower triangular L, which linear systems are solved with.

    Args:
        matrix: L, (k, k).
        corners: inverses of its blocks on the diagonal.
    """

    matrix: Tensor
    corners: tuple[Tensor, ...]

    @classmethod
    def of(cls, matrix: Tensor) -> Factor:
        """Invert the blocks of L."""
        starts = range(0, len(matrix), _BLOCK)
        blocks = (slice(start, start + _BLOCK) for start in starts)
        return cls(matrix, tuple(_inverse(matrix[rows, rows]) for rows in blocks))

    @property
    def dtype(self) -> torch.dtype:
        """Precision of L, and of what is solved with it."""
        return self.matrix.dtype

    def to(self, precision: torch.dtype) -> Factor:
        """The same in another precision."""
        if precision == self.dtype:
            return self
        return Factor(self.matrix.to(precision), tuple(x.to(precision) for x in self.corners))


def factorize(scatter: Tensor, shift: float) -> Factor:
    """Factorize ``scatter + shift I = L L'`` with L lower triangular, also if it is singular.

    Args:
        scatter: symmetric, (k, k), without negative eigenvalues but for rounding.
        shift: lambda, at least 0.
    """
    if (factor := _cholesky(scatter, shift)) is not None:
        return factor
    # Rounding left eigenvalues below -shift. A scatter has no negative ones, so they are rounding.
    eigenvalues, basis = torch.linalg.eigh(scatter)
    root = (eigenvalues.clamp(min=NOISE * float(eigenvalues[-1])) + shift).sqrt()
    return Factor.of(torch.linalg.qr(root[:, None] * basis.T, mode="r").R.T)


def _cholesky(scatter: Tensor, shift: float) -> Factor | None:
    """Factor of ``scatter + shift I``, by columns of blocks; None where it is not positive.

    In LAPACK's order, block by block: products that :func:`forward` has, too, in place of
    substitutions, which take half the time.
    """
    matrix, corners = torch.zeros_like(scatter), []
    for start in range(0, len(scatter), _BLOCK):
        end = start + _BLOCK
        done = matrix[start:end, :start]
        column = torch.addmm(scatter[start:, start:end], matrix[start:, :start], done.T, alpha=-1)
        square, below = column[:_BLOCK], column[_BLOCK:]
        square.diagonal().add_(shift)
        corner, failed = torch.linalg.cholesky_ex(square)
        if failed:
            return None
        corners.append(_inverse(corner))
        matrix[start:end, start:end] = corner
        torch.mm(below, corners[-1].T, out=matrix[end:, start:end])
    return Factor(matrix, tuple(corners))


def forward(factor: Factor, x: Tensor) -> Tensor:
    """Solve ``L^-1 x``, for L (k, k) and x (k, q).

    By substitution of blocks, whose inverses are multiplied: that is a third faster than
    substitution of single rows, and about as exact (Higham 1995, "Stability of parallel triangular
    system solvers").
    """
    matrix = factor.matrix
    if x.shape[1] < _COLUMNS:
        return solve_triangular(matrix, x, upper=False)
    found = torch.empty_like(x, memory_format=torch.contiguous_format)
    for number, corner in enumerate(factor.corners):
        start = number * _BLOCK
        rows = slice(start, start + _BLOCK)
        left = torch.addmm(x[rows], matrix[rows, :start], found[:start], alpha=-1)
        torch.mm(corner, left, out=found[rows])
    return found


def backward(factor: Factor, x: Tensor) -> Tensor:
    """Solve ``L^-T x``, as :func:`forward`."""
    matrix = factor.matrix
    if x.shape[1] < _COLUMNS:
        return solve_triangular(matrix.T, x, upper=True)
    found = torch.empty_like(x, memory_format=torch.contiguous_format)
    for number, corner in reversed(list(enumerate(factor.corners))):
        start = number * _BLOCK
        rows, after = slice(start, start + _BLOCK), slice(start + _BLOCK, None)
        left = torch.addmm(x[rows], matrix[after, rows].T, found[after], alpha=-1)
        torch.mm(corner.T, left, out=found[rows])
    return found


def _inverse(factor: Tensor) -> Tensor:
    return solve_triangular(factor, torch.eye(len(factor)).to(factor), upper=False)


def solved(factor: Factor, x: Tensor) -> Tensor:
    """Solve ``(L L')^-1 x``."""
    return backward(factor, forward(factor, x))


@dataclass(frozen=True)
class NullInverse:
    """Inverse of ``P_n (X'X + lambda I) P_n`` on the null space, 0 on the row space.

    It is the inverse of ``X'X + lambda I = L L'`` under the constraint ``A V_p = 0``, which
    Lagrange's multipliers meet without a projected X'X:
    ``L^-T (I - Y (Y'Y)^-1 Y') L^-1`` with ``Y = L^-1 V_p``.

    Args:
        factor: L, (m, m).
        basis: Y, (m, r).
        inner: factor of Y'Y, (r, r).
    """

    factor: Factor
    basis: Tensor
    inner: Factor

    @classmethod
    def of(cls, factor: Factor, row_basis: Tensor, precision: torch.dtype) -> NullInverse:
        """Build it from L and V_p, (m, r), to multiply in a given precision."""
        narrow = factor.to(precision)
        basis = forward(narrow, row_basis.to(precision))
        return cls(narrow, basis, factorize(gram(basis).to(factor.dtype), 0.0))

    def after_forward(self, x: Tensor, seen: Tensor | None = None) -> Tensor:
        """The inverse times x, (m, k), from ``L^-1 x``.

        Args:
            x: ``L^-1 x``, (m, k).
            seen: ``V_p' (X'X + lambda I)^-1 x``, (r, k), where it is known: it is ``Y' L^-1 x``.
        """
        x = x.to(self.factor.dtype)
        seen = self.basis.T @ x if seen is None else seen
        multipliers = solved(self.inner, seen.to(self.inner.dtype)).to(x)
        return backward(self.factor, torch.addmm(x, self.basis, multipliers, alpha=-1))
