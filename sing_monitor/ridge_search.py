"""Which ridge translates images best that the translator has not seen."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sing_monitor.ridge import RidgeStatistics

RIDGE_GRID: tuple[float, ...] = tuple(10 ** (k / 2) for k in range(-12, 3))


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
        total += held_out.squared_deviation(fit.mean_z)
    r2 = 1 - errors / total if total > 0 else torch.full_like(rhos, math.nan)
    best = max(range(len(rhos)), key=lambda i: (round(float(r2[i].nan_to_num()), 9), i))
    return float(rhos[best]), float(r2[best])


def _held_out_errors(fit: RidgeStatistics, held_out: RidgeStatistics, rhos: Tensor) -> Tensor:
    """Squared error of ``fit.solve(rho)`` on the held-out samples for every rho, (R,).

    One eigendecomposition ``Cov_xx = U L U'`` serves the whole grid: in that basis
    ``A = B diag(d) U'`` with ``d = 1 / (l + rho tr/m)``, and the error is quadratic in d.
    """
    away_x, away_z = held_out.mean_x - fit.mean_x, held_out.mean_z - fit.mean_z
    held_xx = held_out.xx.addr(away_x, away_x, alpha=held_out.n)
    held_xz = held_out.xz.addr(away_x, away_z, alpha=held_out.n)
    held_zz = torch.tensor(held_out.squared_deviation(fit.mean_z), dtype=torch.float64)
    if fit.is_constant:
        return held_zz.expand(len(rhos))
    eigenvalues, basis = torch.linalg.eigh(fit.xx)
    loadings = basis.T @ fit.xz
    linear = ((basis.T @ held_xz) * loadings).sum(dim=1)
    quadratic = (loadings @ loadings.T) * (basis.T @ held_xx @ basis)
    shift = rhos * fit.xx.trace() / len(fit.xx)
    scale = 1 / (eigenvalues.clamp(min=0) + shift[:, None])
    return held_zz - 2 * scale @ linear + ((scale @ quadratic) * scale).sum(dim=1)
