"""How far the random baseline of the Image Score strays from its own mean.

Every image loses one of a few random subspaces, so the baseline's mean score is a sample. What it
varies by is told by what the same images would score under the other subspaces.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sing_monitor.observation import Observation
from sing_monitor.row_blocks import deviations, evenly
from sing_monitor.scores.angles import image_score
from sing_monitor.translate.random_subspaces import RANDOM_DRAWS, kept_and_added, random_draws
from sing_monitor.translate.reduced import feature_dim
from sing_monitor.translate.translator import LinearTranslator

# Of either half, and how many subspaces each loses in turn.
_MOST_IMAGES, _FEWER_DRAWS = 32, 64
# Draws at a time: few enough that their embeddings stay in a processor's cache.
_AT_A_TIME = 16


def baseline_spread(observation: Observation) -> float:
    """Standard deviation of the mean IS of the random pair over its draws, over its mean.

    With v the variance of an image's IS over the draws, c the covariance of two images that lose
    the same subspace, and n_k of N images losing the k-th of K subspaces, the mean varies by ::

        (v - c) / N + c sum_k (n_k / N)^2 - c rho^2 / K

    rho is the correlation of the mean IS under a subspace with the share s that it keeps: these
    shares are one from every K-th part of their law, so many images see them evenly. v, c and rho
    are estimated, from 64 images and 64 subspaces.

    Returns:
        At least 0; NaN where nothing could be translated, or nothing moves.
    """
    rank, random, found = observation.geometry.rank, observation.random, []
    _, shares = random_draws(feature_dim(observation.snapshot), rank, observation.seed)
    draws, shares = random.directions[:_FEWER_DRAWS], shares[:_FEWER_DRAWS]
    for translator, rows in observation.fit.halves(observation.snapshot.folds):
        some = evenly(rows, _MOST_IMAGES)
        away = deviations(observation.snapshot.features, observation.center, some)
        found.append(_scores(away, translator, observation.center, draws, shares))
    scores = torch.cat([shares.new_empty(0, len(shares)), *found])
    # A translation of length 0 has no direction, so its image no score.
    scores = scores[~scores.isnan().any(dim=1)]
    if len(scores) < 2 or not bool(scores.any()):
        return math.nan
    counts = random.draws.bincount(minlength=RANDOM_DRAWS)
    return math.sqrt(variance_of_mean(scores, shares, counts)) / float(scores.mean())


def variance_of_mean(scores: Tensor, shares: Tensor, counts: Tensor) -> float:
    """Variance of the mean score of images of which each has one of a few draws.

    Args:
        scores: of some images under some of the draws, (B, D) float64, at least two of each.
        shares: what each of these draws keeps, (D,).
        counts: how many images have each of all draws, (K,).

    Returns:
        At least 0.
    """
    images, means = len(scores), scores.mean(dim=0)
    single = float(scores.var(dim=1).mean())
    shared = max(0.0, (images * float(means.var()) - single) / (images - 1))
    # Where the draws do not differ in their shares, nothing hangs on these.
    told = torch.corrcoef(torch.stack([means, shares])).nan_to_num()[0, 1].square()
    total = int(counts.sum())
    together = float((counts / total).square().sum()) - float(told) / len(counts)
    return max(0.0, (single - shared) / total + shared * together)


def _scores(
    away: Tensor, translator: LinearTranslator, center: Tensor, draws: Tensor, shares: Tensor
) -> Tensor:
    """IS of deviations (B, m) under each of the draws (D, m), (B, D) float64."""
    weight, exact = translator.weight.to(away), away.double()
    keep, add = kept_and_added(
        shares,
        exact.square().sum(dim=1, keepdim=True),
        exact @ draws.T,
        draws.square().sum(dim=1),
    )
    base, moved = translator(center), (away @ weight.T).double()[:, None]
    steps = (draws.to(away) @ weight.T).double()
    # (B, D, n): images by draws.
    parts = (each[:, :, None].split(_AT_A_TIME, dim=1) for each in (keep, add))
    columns = [
        image_score(base + moved, base + kept * moved + added * some)
        for kept, added, some in zip(*parts, steps.split(_AT_A_TIME), strict=True)
    ]
    return torch.cat(columns, dim=1)
