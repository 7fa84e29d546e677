"""Features and their equivalents, translated by translators that never saw the image."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sing_monitor.geometry import HeadGeometry
from sing_monitor.translator import RIDGE_GRID, LinearTranslator, RidgeStatistics, choose_ridge

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TranslatedPairs:
    """``T f`` and its two equivalents, each (N, n).

    Args:
        original: ``T f``.
        removed: ``T (f - P_n f)``, the paper's pair (eq. 9).
        centered: ``T (f - P_n (f - mu))``.
    """

    original: Tensor
    removed: Tensor
    centered: Tensor


@dataclass(frozen=True)
class CrossFit:
    """Two translators, each fitted on one half of the images and used on the other half.

    Args:
        translators: ``translators[k]`` scores the images of fold k and was fitted on the others;
            None where a fold is empty.
        statistics: sums of the two folds; added up they fit the translator that is kept.
        folds: fold of every image, (N,) of 0 and 1.
        ridge: rho of both fits; NaN where a fold is empty.
    """

    translators: tuple[LinearTranslator, LinearTranslator] | None
    statistics: tuple[RidgeStatistics, RidgeStatistics]
    folds: Tensor
    ridge: float

    @property
    def translator(self) -> LinearTranslator:
        """The translator that is kept: fitted on all images."""
        return (self.statistics[0] + self.statistics[1]).solve(self.ridge)

    def translate(
        self, features: Tensor, geometry: HeadGeometry, center: Tensor
    ) -> TranslatedPairs:
        """Translate features and their equivalents under a head.

        The translator is affine, so the equivalents need no second pass over the features:
        ``T (P_p f) = (A V_p)(V_p' f) + c``, and the centered equivalent differs from it by the
        constant ``A P_n mu``.

        Args:
            features: (N, m), float64.
            geometry: of the head, or of a random one of the same rank.
            center: mu, (m,).

        Returns:
            Embeddings, (N, n); all NaN where a fold is empty.
        """
        shape = len(features), len(self.statistics[0].sum_z)
        original = features.new_full(shape, math.nan)
        removed, centered = original.clone(), original.clone()
        basis, null_center = geometry.row_basis.to(features), geometry.null(center)
        for fold, translator in enumerate(self.translators or ()):
            rows = self.folds == fold
            original[rows] = translator(features[rows])
            if geometry.null_dim == 0:
                removed[rows] = centered[rows] = original[rows]
                continue
            seen = features[rows] @ basis
            removed[rows] = seen @ (translator.weight @ basis).T + translator.bias
            centered[rows] = removed[rows] + translator.weight @ null_center
        return TranslatedPairs(original, removed, centered)

    def r2(self) -> float:
        """Share of the embeddings' variance that the translators explain, held out; at most 1."""
        return self._r2(self.statistics, self.translators)

    def r2_null(self, geometry: HeadGeometry) -> float:
        """R2 of a refit on the null-space part ``P_n f`` alone, held out; at most 1.

        What the features say about the embedding in directions that the head cannot see. Parts of
        a refit do not add up to :meth:`r2`.
        """
        if self.translators is None:
            return math.nan
        if geometry.null_dim == 0:
            return 0.0
        null = tuple(statistics.project_null(geometry) for statistics in self.statistics)
        return self._r2(null, (null[1].solve(self.ridge), null[0].solve(self.ridge)))

    @staticmethod
    def _r2(
        statistics: tuple[RidgeStatistics, ...],
        translators: tuple[LinearTranslator, ...] | None,
    ) -> float:
        if translators is None:
            return math.nan
        error = total = 0.0
        for held_out, translator, fit in zip(
            statistics, translators, reversed(statistics), strict=True
        ):
            error += held_out.squared_error(translator)
            total += held_out.squared_deviation(fit.sum_z / fit.n)
        return 1 - error / total if total > 0 else math.nan


def cross_fit(
    features: Tensor, embeddings: Tensor, folds: Tensor, ridge: float | Literal["auto"]
) -> CrossFit:
    """Fit two translators, each on one fold.

    Args:
        features: (N, m).
        embeddings: raw image embeddings, (N, n).
        folds: (N,) of 0 and 1.
        ridge: rho, or ``"auto"`` for the best of the grid by held-out R2.
    """
    zeros = RidgeStatistics.zeros(features.shape[1], embeddings.shape[1])
    even, odd = (zeros.update(features[folds == k], embeddings[folds == k]) for k in (0, 1))
    if even.n == 0 or odd.n == 0:
        return CrossFit(None, (even, odd), folds, math.nan)
    rho = _best_ridge((even, odd)) if ridge == "auto" else ridge
    return CrossFit((odd.solve(rho), even.solve(rho)), (even, odd), folds, rho)


def _best_ridge(folds: tuple[RidgeStatistics, RidgeStatistics]) -> float:
    rho, r2 = choose_ridge(folds)
    reasons = {
        RIDGE_GRID[0]: "the features may leave no noise in the embeddings, or be of unequal scale",
        RIDGE_GRID[-1]: "the probe may be too small, or the features may say little",
    }
    if rho in reasons:
        logger.warning(
            "the best ridge, %g, is at the edge of the grid (held-out R2 %.3f on %d images): %s. "
            "Set ridge= to choose another.",
            rho,
            r2,
            folds[0].n + folds[1].n,
            reasons[rho],
        )
    return rho


def mean_cosine(translated: Tensor, embeddings: Tensor) -> float:
    """Mean cosine of translated features with the true embeddings, -1 to 1; both (N, n)."""
    return float(torch.cosine_similarity(translated, embeddings.to(translated), dim=1).mean())
