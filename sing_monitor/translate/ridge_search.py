"""Search for the ridge whose translator is best on held-out images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from sing_monitor.translate.dual_ridge import DualStatistics
from sing_monitor.translate.ridge import RidgeStatistics, Statistics

Number = TypeVar("Number", float, Tensor)

RIDGE_GRID: tuple[float, ...] = tuple(10 ** (k / 2) for k in range(-12, 3))
# Curvature of R2 below which a parabola through three of its values has no maximum worth the name.
_FLAT = 1e-7


@dataclass(frozen=True)
class Parabola:
    """Parabola through three values, ``below`` at -1, ``at`` at 0 and ``above`` at 1.

    Example::

        >>> curve = Parabola(0.0, 1.0, 0.5)
        >>> round(curve.vertex, 4), round(curve(curve.vertex), 4)
        (0.1667, 1.0208)
    """

    below: float
    at: float
    above: float

    def __call__(self, place: Number) -> Number:
        """Its value at a place."""
        slope = (self.above - self.below) / 2
        return self.at + place * (slope + place * self._bend / 2)

    @property
    def vertex(self) -> float:
        """Place of the maximum; 0 where the parabola is flat or has none."""
        return (self.below - self.above) / (2 * self._bend) if self._bend < -_FLAT else 0.0

    @property
    def _bend(self) -> float:
        return self.below - 2 * self.at + self.above


def choose_ridge(
    folds: Sequence[Statistics], grid: Sequence[float] = RIDGE_GRID
) -> tuple[float, float]:
    """Choose the rho with the best held-out R2; the larger one at a tie.

    The translator fitted on one fold predicts the other one. R2 is
    ``1 - sum SSE / sum SST`` over both folds, SST about the mean of the fold that was fitted. The
    optimum is that of a parabola in log rho through the best of the grid and its neighbors, so
    that it moves little where R2 moves little. At an edge of the grid, and where R2 is flat, it is
    the best of the grid.

    Args:
        folds: statistics of the two folds, both with samples and in the same form.
        grid: candidates, in equal steps of log rho.

    Raises:
        TypeError: if the folds have different forms.

    Returns:
        The chosen rho and its R2, by the parabola (NaN for constant embeddings).
    """
    rhos = torch.tensor(sorted(grid), dtype=torch.float64)
    errors = torch.zeros_like(rhos)
    total = 0.0
    for fit, held_out in ((folds[1], folds[0]), (folds[0], folds[1])):
        errors += _held_out_errors(fit, held_out, rhos)
        total += held_out.squared_deviation(fit.mean_z)
    r2 = 1 - errors / total if total > 0 else torch.full_like(rhos, math.nan)
    best = max(range(len(rhos)), key=lambda i: (round(float(r2[i].nan_to_num()), 9), i))
    if not 0 < best < len(rhos) - 1:
        return float(rhos[best]), float(r2[best])
    curve = Parabola(*r2[best - 1 : best + 2].tolist())
    step = float(rhos[best + 1] / rhos[best])
    return float(rhos[best]) * step**curve.vertex, curve(curve.vertex)


def _held_out_errors(fit: Statistics, held_out: Statistics, rhos: Tensor) -> Tensor:
    """Squared error of ``fit.solve(rho)`` on the held-out samples for every rho, (R,).

    One eigendecomposition, ``X'X = U L U'`` or that of ``X X'``, serves the whole grid: with
    ``d = 1 / (l + rho tr/m)`` the error is quadratic in d.
    """
    held_zz = torch.tensor(held_out.squared_deviation(fit.mean_z), dtype=torch.float64)
    if fit.is_constant:
        return held_zz.expand(len(rhos))
    if isinstance(fit, DualStatistics) and isinstance(held_out, DualStatistics):
        eigenvalues, linear, quadratic = _dual_terms(fit, held_out)
    elif isinstance(fit, RidgeStatistics) and isinstance(held_out, RidgeStatistics):
        eigenvalues, linear, quadratic = _primal_terms(fit, held_out)
    else:
        raise TypeError(
            "the two folds have statistics of different forms; make both by statistics_of."
        )
    shift = rhos * fit.varying / fit.feature_dim
    scale = 1 / (eigenvalues.clamp(min=0) + shift[:, None])
    return held_zz - 2 * scale @ linear + ((scale @ quadratic) * scale).sum(dim=1)


def _primal_terms(fit: RidgeStatistics, held_out: RidgeStatistics) -> tuple[Tensor, Tensor, Tensor]:
    """Eigenvalues L, linear and quadratic term for ``A = B diag(d) U'``."""
    away_x, away_z = held_out.mean_x - fit.mean_x, held_out.mean_z - fit.mean_z
    held_xx = held_out.xx.addr(away_x, away_x, alpha=held_out.n)
    held_xz = held_out.xz.addr(away_x, away_z, alpha=held_out.n)
    eigenvalues, basis = torch.linalg.eigh(fit.xx)
    loadings = basis.T @ fit.xz
    linear = ((basis.T @ held_xz) * loadings).sum(dim=1)
    return eigenvalues, linear, (loadings @ loadings.T) * (basis.T @ held_xx @ basis)


def _dual_terms(fit: DualStatistics, held_out: DualStatistics) -> tuple[Tensor, Tensor, Tensor]:
    """Eigenvalues, linear and quadratic term for predictions ``Y X' U diag(d) U' Z``."""
    eigenvalues, basis = torch.linalg.eigh(fit.between)
    loadings, moved = basis.T @ fit.embeddings, fit.across(held_out) @ basis
    about = held_out.embeddings + (held_out.mean_z - fit.mean_z).to(moved)
    linear = ((moved.T @ about) * loadings).sum(dim=1)
    return eigenvalues, linear, (loadings @ loadings.T) * (moved.T @ moved)
