"""Precision in which a ridge regression is solved, and the ridges for which it is enough."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from sing_monitor.errors import Option, SetupError
from sing_monitor.row_blocks import all_rows, deviations, energy, mean, working

# Below, probes of features in single precision read noise (at 1e-8, with as many images as
# features, they lose a quarter of their accuracy). Above, a translator gives every image nearly
# the mean embedding: R2 is at most 0.04, and nearest texts are chance.
LEAST_RIDGE, MOST_RIDGE = 1e-6, 1e3

# Largest eigenvalue of X'X over lambda up to which single precision is enough: there it changes
# mean scores by about 0.001 degrees at most, and at 1e6 by up to a tenth.
_CONDITION = 1e4
# Number of images from which that eigenvalue is estimated.
_SAMPLE = 512


def check_ridge(ridge: Any) -> None:
    """Refuse anything but ``"auto"`` and a rho that gives right numbers, 1e-6 to 1e3.

    Raises:
        SetupError: for any other value.
    """
    is_number = isinstance(ridge, int | float) and not isinstance(ridge, bool)
    if ridge == "auto" or (is_number and LEAST_RIDGE <= ridge <= MOST_RIDGE):
        return
    raise SetupError(
        Option("ridge", repr(ridge)),
        f": expected 'auto' or a number from {LEAST_RIDGE:g} to {MOST_RIDGE:g}. It is relative to "
        "the mean variance of the features; 'auto' chooses the best one, which is mostly between "
        "1e-4 and 1.",
    )


def solution_dtype(ridge: float | Literal["auto"], features: Tensor) -> torch.dtype:
    """Choose the dtype in which features are multiplied and translators are solved.

    The smaller the ridge is beside the features' largest variance, the more their last digits
    count. For ``"auto"``, whose ridge is still unknown, it is double precision; and so it is for
    folds of fewer images than features in the primal form, where rounding leaves variance in
    directions that have none (0.02 degrees in single translations).

    Args:
        ridge: rho, or ``"auto"``.
        features: (N, m), in single or double precision.
    """
    samples, feature_dim = features.shape
    if ridge == "auto" or working(features[:0]).dtype == torch.float64:
        return torch.float64
    if feature_dim <= samples < 2 * feature_dim:
        return torch.float64
    some = features[:: -(-len(features) // _SAMPLE) or 1]
    away = deviations(some, mean(some, all_rows(some)))
    # Few images overestimate the largest variance, which is the safe side.
    is_benign = _largest_square(away) * away.shape[1] <= _CONDITION * ridge * energy(away)
    return away.dtype if is_benign else torch.float64


def _largest_square(x: Tensor) -> float:
    """Estimate the squared largest singular value of (N, m) to 10 or 20 %, by power iteration."""
    direction = x.abs().sum(dim=0)
    for _ in range(8):
        direction = x.T @ (x @ (direction / torch.linalg.vector_norm(direction)))
    return float(torch.linalg.vector_norm(direction))
