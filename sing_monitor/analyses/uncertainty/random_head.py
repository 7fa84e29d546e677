"""How far the relative Image Score of a random head strays from 1."""

from __future__ import annotations

import math

from sing_monitor.analyses.uncertainty.random_baseline import baseline_spread
from sing_monitor.observation import Observation
from sing_monitor.row_blocks import deviations, evenly
from sing_monitor.scores.random_head import TranslatedHalf, random_head_spread
from sing_monitor.translate.reduced import feature_dim

# Of either half.
_MOST_IMAGES = 96


def relative_spread(observation: Observation) -> float:
    """How far the relative IS of random heads lies from 1, in the root of the mean square.

    IS of a random head strays from its mean over such heads, and so does the baseline it is
    divided by: the two are independent.

    Returns:
        At least 0; NaN without a null space, where nothing could be translated, and where the
        translators read fewer than three directions, for which the law does not hold.
    """
    return math.hypot(head_spread(observation), baseline_spread(observation))


def head_spread(observation: Observation) -> float:
    """Standard deviation of IS over random heads of the head's shape, over their mean.

    Of these features, translators and dimension of the null space; from the moments of random
    projections (:mod:`sing_monitor.scores.random_head`), on up to 192 images.

    Returns:
        As :func:`relative_spread`.
    """
    snapshot, center = observation.snapshot, observation.center
    halves = []
    for translator, rows in observation.fit.halves(snapshot.folds):
        away = deviations(snapshot.features, center, evenly(rows, _MOST_IMAGES))
        weight, base = translator.weight.to(away), translator(center).to(away)
        halves.append(TranslatedHalf(away, weight, base, len(rows)))
    if not halves:
        return math.nan
    dim = feature_dim(snapshot)
    return random_head_spread(halves, dim, dim - observation.geometry.rank)
