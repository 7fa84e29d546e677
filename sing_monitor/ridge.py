"""Ridge regression on mergeable sums: how translators are fitted (SING, eq. 4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.linalg import solve_triangular

from sing_monitor.blocks import NOISE, all_rows, energy, gram, row_blocks
from sing_monitor.geometry import HeadGeometry
from sing_monitor.translator import LinearTranslator

RIDGE_GRID: tuple[float, ...] = tuple(10 ** (k / 2) for k in range(-12, 3))


@dataclass(frozen=True)
class RidgeSolution:
    """A ridge regression, solved: with ``L L' = X'X + lambda I`` about the means.

    The factor L, the expensive part, serves the translator, its derivative and a refit.

    Args:
        factor: L, lower triangular, (m, m).
        loadings: ``L^-1 X'Z``, (m, n).
        shift: lambda; 0 for features that do not vary.
        mean_x: (m,).
        mean_z: (n,).
    """

    factor: Tensor
    loadings: Tensor
    shift: float
    mean_x: Tensor
    mean_z: Tensor

    @cached_property
    def translator(self) -> LinearTranslator:
        """``T f = A (f - mean x) + mean z``."""
        return self._through_means(_backward(self.factor, self.loadings).T, self.mean_z)

    @cached_property
    def slope(self) -> LinearTranslator:
        """``dT / d log10 rho``: what a larger ridge does to a translation, to first order.

        ``dA / d log10 rho = -ln(10) lambda A (X'X + lambda I)^-1``, since lambda is in proportion
        to rho.
        """
        inner = _backward(self.factor, _forward(self.factor, self.translator.weight.T))
        weight = -math.log(10) * self.shift * inner.T
        return self._through_means(weight, torch.zeros_like(self.mean_z))

    def on_null_part(self, geometry: HeadGeometry) -> LinearTranslator:
        """The translator with the same lambda fitted to ``P_n x`` alone.

        It is the same regression under the constraint ``A V_p = 0``, which Lagrange's multipliers
        meet without a projected X'X:
        ``A' = L^-T (B - Y (Y'Y)^-1 Y'B)`` with ``B = L^-1 X'Z`` and ``Y = L^-1 V_p``.
        """
        if geometry.rank == 0:
            return self.translator
        y = _forward(self.factor, geometry.row_basis.to(self.factor))
        multipliers = torch.linalg.solve(gram(y), y.T @ self.loadings)
        weight = _backward(self.factor, self.loadings - y @ multipliers).T
        return self._through_means(weight, self.mean_z)

    def _through_means(self, weight: Tensor, mean_z: Tensor) -> LinearTranslator:
        return LinearTranslator(weight.contiguous(), mean_z - weight @ self.mean_x)


@dataclass(frozen=True)
class RidgeStatistics:
    """The sums that a ridge regression with intercept needs, in float64.

    Their size depends on m and n, never on the number of samples; the statistics of two sets of
    samples add up to those of their union.

    Args:
        n: number of samples.
        sum_x: sum of features, (m,).
        sum_z: sum of embeddings, (n,).
        xx: X'X, (m, m).
        xz: X'Z, (m, n).
        zz: sum of ``|z|^2``.

    Example::

        >>> x, z = torch.randn(20, 3), torch.randn(20, 2)
        >>> joint = RidgeStatistics.zeros(3, 2).update(x, z)
        >>> halves = RidgeStatistics.zeros(3, 2).update(x[:9], z[:9]).update(x[9:], z[9:])
        >>> joint.n == halves.n and torch.allclose(joint.xz, halves.xz)
        True
    """

    n: int
    sum_x: Tensor
    sum_z: Tensor
    xx: Tensor
    xz: Tensor
    zz: float

    @classmethod
    def zeros(cls, feature_dim: int, embedding_dim: int) -> RidgeStatistics:
        """Statistics of no sample, for features of size m and embeddings of size n."""
        return cls(
            0,
            torch.zeros(feature_dim, dtype=torch.float64),
            torch.zeros(embedding_dim, dtype=torch.float64),
            torch.zeros(feature_dim, feature_dim, dtype=torch.float64),
            torch.zeros(feature_dim, embedding_dim, dtype=torch.float64),
            0.0,
        )

    def update(self, x: Tensor, z: Tensor, rows: Tensor | None = None) -> RidgeStatistics:
        """Statistics with these samples added.

        Args:
            x: features, (B, m).
            z: raw, un-normalised image embeddings, (B, n).
            rows: those that count; None: all.

        Raises:
            ValueError: if the two disagree on B, m or n.
        """
        expected = (*x.shape[:1], len(self.sum_x)), (*x.shape[:1], len(self.sum_z))
        if (tuple(x.shape), tuple(z.shape)) != expected:
            raise ValueError(
                f"expected features {expected[0]} and embeddings {expected[1]}, "
                f"got {tuple(x.shape)} and {tuple(z.shape)}."
            )
        # In double precision whatever comes: a small ridge makes much of a sum's last digits.
        sum_x, sum_z, zz = self.sum_x.clone(), self.sum_z.clone(), self.zz
        xz = self.xz.clone()
        rows = all_rows(x) if rows is None else rows
        for some in row_blocks(rows):
            block_x, block_z = x[some].to(xz), z[some].to(xz)
            sum_x += block_x.sum(dim=0)
            sum_z += block_z.sum(dim=0)
            xz.addmm_(block_x.T, block_z)
            zz += energy(block_z)
        xx = gram(x, rows).add_(self.xx)
        return RidgeStatistics(self.n + len(rows), sum_x, sum_z, xx, xz, zz)

    def _moved(self, x0: Tensor, z0: Tensor) -> RidgeStatistics:
        """Statistics of (x + x0, z + z0)."""
        sum_x, sum_z = self.sum_x + self.n * x0, self.sum_z + self.n * z0
        xx = self.xx.addr(sum_x, x0).addr_(x0, self.sum_x)
        xz = self.xz.addr(sum_x, z0).addr_(x0, self.sum_z)
        zz = self.zz + float((sum_z + self.sum_z) @ z0)
        return RidgeStatistics(self.n, sum_x, sum_z, xx, xz, zz)

    def __add__(self, other: RidgeStatistics) -> RidgeStatistics:
        return RidgeStatistics(
            self.n + other.n,
            self.sum_x + other.sum_x,
            self.sum_z + other.sum_z,
            self.xx + other.xx,
            self.xz + other.xz,
            self.zz + other.zz,
        )

    def solve(self, rho: float) -> RidgeSolution:
        """Ridge regression: ``A = Cov_zx (Cov_xx + rho tr(Cov_xx)/m I)^-1``, ``c = z - A x``.

        The ridge is relative to the mean variance of the features, so it means the same for
        every model. Features that do not vary give A = 0.

        Raises:
            ValueError: if there is no sample, or rho is not positive and finite.
        """
        if self.n == 0:
            raise ValueError("a translator cannot be fitted on no sample.")
        if not (rho > 0 and math.isfinite(rho)):
            raise ValueError(f"ridge must be positive and finite, got {rho}.")
        mean_x, mean_z = self.sum_x / self.n, self.sum_z / self.n
        xx, xz, _ = self._about(mean_x, mean_z)
        if self._is_constant(xx):
            identity = torch.eye(len(xx), dtype=xx.dtype)
            return RidgeSolution(identity, torch.zeros_like(xz), 0.0, mean_x, mean_z)
        shift = rho * float(xx.trace()) / len(xx)
        factor = _factorize(xx, shift)
        return RidgeSolution(factor, _forward(factor, xz), shift, mean_x, mean_z)

    def squared_error(self, translator: LinearTranslator) -> float:
        """Sum over the samples of ``|z - T(x)|^2``, from the sums alone."""
        mean_x = self.sum_x / self.n
        xx, xz, zz = self._about(mean_x, translator(mean_x))
        weight = translator.weight
        return float(zz - 2 * (weight.T * xz).sum() + ((weight @ xx) * weight).sum())

    def squared_deviation(self, center: Tensor) -> float:
        """Sum over the samples of ``|z - center|^2``; center is (n,)."""
        deviation = float(self.zz - 2 * self.sum_z @ center + self.n * center @ center)
        return deviation if deviation > NOISE * self.zz else 0.0

    def _about(self, x0: Tensor, z0: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Second moments, summed, of x - x0 and z - z0: (m, m), (m, n) and a scalar."""
        moved = self._moved(-x0, -z0)
        return moved.xx, moved.xz, torch.tensor(moved.zz, dtype=torch.float64)

    def _is_constant(self, scatter: Tensor) -> bool:
        # Equal features leave a trace of rounding noise, not an exact zero.
        return float(scatter.trace()) <= NOISE * float(self.xx.trace())


def fit_translator(features: Tensor, embeddings: Tensor, rho: float) -> LinearTranslator:
    """The translator of all images: what images outside the probe are translated by.

    Args:
        features: (N, m).
        embeddings: raw image embeddings, (N, n).
        rho: ridge.

    Raises:
        ValueError: as :meth:`RidgeStatistics.solve` does.
    """
    zeros = RidgeStatistics.zeros(features.shape[1], embeddings.shape[1])
    return zeros.update(features, embeddings).solve(rho).translator


def _factorize(xx: Tensor, shift: float) -> Tensor:
    """Lower triangular L with ``L L' = xx + shift I``, for a scatter singular but for rounding."""
    shifted = xx.clone()
    shifted.diagonal().add_(shift)
    factor, failed = torch.linalg.cholesky_ex(shifted)
    if not failed:
        return factor
    # Rounding left eigenvalues below -shift. No scatter has negative ones: they are zeros.
    eigenvalues, basis = torch.linalg.eigh(xx)
    root = (eigenvalues.clamp(min=0) + shift).sqrt()
    return torch.linalg.qr(root[:, None] * basis.T, mode="r").R.T


def _forward(factor: Tensor, x: Tensor) -> Tensor:
    """``L^-1 x``."""
    return solve_triangular(factor, x, upper=False)


def _backward(factor: Tensor, x: Tensor) -> Tensor:
    """``L^-T x``."""
    return solve_triangular(factor.T, x, upper=True)


def choose_ridge(
    folds: Sequence[RidgeStatistics], grid: Sequence[float] = RIDGE_GRID
) -> tuple[float, float]:
    """The rho of the grid with the best held-out R2; ties go to the larger.

    Each fold is predicted by the translator fitted on the other one. R2 is
    ``1 - sum SSE / sum SST`` over both folds, SST about the mean of the fold that fitted.

    Args:
        folds: statistics of the two folds, both with samples.
        grid: candidates.

    Returns:
        The chosen rho and its R2 (NaN where the embeddings do not vary).
    """
    rhos = torch.tensor(sorted(grid), dtype=torch.float64)
    errors = torch.zeros_like(rhos)
    total = 0.0
    for fit, held_out in ((folds[1], folds[0]), (folds[0], folds[1])):
        errors += _held_out_errors(fit, held_out, rhos)
        total += held_out.squared_deviation(fit.sum_z / fit.n)
    r2 = 1 - errors / total if total > 0 else torch.full_like(rhos, math.nan)
    best = max(range(len(rhos)), key=lambda i: (round(float(r2[i].nan_to_num()), 9), i))
    return float(rhos[best]), float(r2[best])


def _held_out_errors(fit: RidgeStatistics, held_out: RidgeStatistics, rhos: Tensor) -> Tensor:
    """Squared error of ``fit.solve(rho)`` on the held-out samples for every rho, (R,).

    One eigendecomposition ``Cov_xx = U L U'`` serves the whole grid: in that basis
    ``A = B diag(d) U'`` with ``d = 1 / (l + rho tr/m)``, and the error is quadratic in d.
    """
    mean_x, mean_z = fit.sum_x / fit.n, fit.sum_z / fit.n
    xx, xz, _ = fit._about(mean_x, mean_z)
    held_xx, held_xz, held_zz = held_out._about(mean_x, mean_z)
    if fit._is_constant(xx):
        return held_zz.expand(len(rhos))
    eigenvalues, basis = torch.linalg.eigh(xx)
    loadings = basis.T @ xz
    linear = ((basis.T @ held_xz) * loadings).sum(dim=1)
    quadratic = (loadings @ loadings.T) * (basis.T @ held_xx @ basis)
    shift = rhos * xx.trace() / len(xx)
    scale = 1 / (eigenvalues.clamp(min=0) + shift[:, None])
    return held_zz - 2 * scale @ linear + ((scale @ quadratic) * scale).sum(dim=1)
