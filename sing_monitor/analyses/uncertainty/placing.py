"""How much fitted images weigh, and their influences, put at the images that have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sing_monitor.observation import Observation
from sing_monitor.translate.cross_fit import CrossFit
from sing_monitor.translate.kernel import Kernels


def kernels_of(observation: Observation, fit: CrossFit) -> Kernels | None:
    """How much images weigh in a fit, with their groups; None where nothing was fitted."""
    snapshot = observation.snapshot
    if fit.kernels is None or snapshot.groups is None:
        return fit.kernels
    return fit.kernels.by_group(snapshot.features, snapshot.seen, snapshot.folds, snapshot.groups)


def placed(
    halves: Sequence[Mapping[str, Tensor]], kernels: Kernels, folds: Tensor
) -> dict[str, Tensor]:
    """Influences at the images that have them, 0 at those whose weight was not worked out.

    They are scaled, so that their squares sum to about those of all images, and centered: the means
    over images to which they are added stay as they are.

    Args:
        halves: influences of fitted images on sums over fold 0 and over fold 1, (I,), by name.
        kernels: which images those are.
        folds: fold of every image, (N,).

    Returns:
        (N,) float64 each.
    """
    found = {name: torch.zeros(len(folds), dtype=torch.float64) for name in halves[0]}
    for fold, (half, rows) in enumerate(zip(halves, kernels.rows, strict=True)):
        share = len(rows) / int((folds != fold).sum())
        for name, values in half.items():
            away = values.double() - values.double().mean()
            found[name][rows] = away * share**-0.5
    return found
