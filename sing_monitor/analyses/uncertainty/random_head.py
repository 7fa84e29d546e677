"""How far the relative Image Score of a random head strays from 1."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sing_monitor.observation import Observation
from sing_monitor.row_blocks import deviations
from sing_monitor.scores.random_head import TranslatedHalf, random_head_spread
from sing_monitor.translate.reduced import feature_dim

# Of either half.
_MOST_IMAGES = 96


def relative_spread(observation: Observation) -> float:
    """Standard deviation of IS over random heads of the head's shape, over their mean.

    Of these features, translators and dimension of the null space; from the moments of random
    projections (:mod:`sing_monitor.scores.random_head`), on up to 192 images.

    Returns:
        At least 0; NaN without a null space, where nothing could be translated, and where the
        translators read fewer than three directions, for which the law does not hold.
    """
    snapshot, center = observation.snapshot, observation.center
    halves = []
    for translator, rows in observation.fit.halves(snapshot.folds):
        away = deviations(snapshot.features, center, _spread(rows))
        weight, base = translator.weight.to(away), translator(center).to(away)
        halves.append(TranslatedHalf(away, weight, base, len(rows)))
    if not halves:
        return math.nan
    dim = feature_dim(snapshot)
    return random_head_spread(halves, dim, dim - observation.geometry.rank)


def _spread(rows: Tensor) -> Tensor:
    """Some of the rows, evenly."""
    wanted = min(len(rows), _MOST_IMAGES)
    return rows[torch.arange(wanted) * len(rows) // max(wanted, 1)]
