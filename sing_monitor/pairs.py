"""Features and their equivalents, translated by translators that never saw the image."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sing_monitor.blocks import deviations, energy, row_blocks, working
from sing_monitor.geometry import HeadGeometry, coordinates
from sing_monitor.ridge import RIDGE_GRID, RidgeSolution, RidgeStatistics, choose_ridge
from sing_monitor.translator import LinearTranslator

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TranslatedPairs:
    """``T f`` and its two equivalents, each (N, n).

    Args:
        original: ``T f``.
        removed: ``T (f - P_n f)``, the paper's pair (eq. 9).
        centered: ``T (f - P_n (f - mu))``.
        seen: what the head sees of f - mu: its coordinates ``V_p' (f - mu)``, (N, r).
    """

    original: Tensor
    removed: Tensor
    centered: Tensor
    seen: Tensor


@dataclass(frozen=True)
class CrossFit:
    """Two translators, each fitted on one half of the images and used on the other half.

    Args:
        translators: ``translators[k]`` scores the images of fold k and was fitted on the others;
            None where a fold is empty.
        statistics: sums of the two folds; added up they fit the translator that is kept.
        folds: fold of every image, (N,) of 0 and 1.
        ridge: rho of both fits; NaN where a fold is empty.
        solutions: of the ridge regressions that gave the translators; None where none did.
    """

    translators: tuple[LinearTranslator, LinearTranslator] | None
    statistics: tuple[RidgeStatistics, RidgeStatistics]
    folds: Tensor
    ridge: float
    solutions: tuple[RidgeSolution, RidgeSolution] | None = None

    @property
    def translator(self) -> LinearTranslator:
        """The translator that is kept: fitted on all images."""
        return (self.statistics[0] + self.statistics[1]).solve(self.ridge).translator

    def translate(
        self,
        features: Tensor,
        geometry: HeadGeometry,
        center: Tensor,
        seen: Tensor | None = None,
    ) -> TranslatedPairs:
        """Translate features and their equivalents under a head.

        Double precision features are translated in double precision, others in single.

        Args:
            features: (N, m).
            geometry: of the head.
            center: mu, (m,).
            seen: :func:`coordinates` of the features, where they are known.

        Returns:
            Embeddings, (N, n); all NaN where a fold is empty.
        """
        original = self.original(features, center)
        seen = coordinates(features, geometry, center) if seen is None else seen
        if geometry.null_dim == 0:
            return TranslatedPairs(original, original, original, seen)
        centered = self.equivalents(seen, geometry, center, self.folds)
        removed, null_center = centered.clone(), geometry.null(center)
        for translator, rows in self._halves(self.folds):
            removed[rows] -= (translator.weight @ null_center).to(removed)
        return TranslatedPairs(original, removed, centered, seen)

    def original(self, features: Tensor, center: Tensor) -> Tensor:
        """``T f``, (N, n), of features (N, m), worked out as ``A (f - mu) + T mu``."""
        shape = len(features), len(self.statistics[0].sum_z)
        translated = working(features).new_full(shape, math.nan)
        for translator, half in self._halves(self.folds):
            weight, base = translator.weight.T.to(translated), translator(center).to(translated)
            for rows in row_blocks(half):
                translated[rows] = torch.addmm(base, deviations(features[rows], center), weight)
        return translated

    def equivalents(
        self, seen: Tensor, geometry: HeadGeometry, center: Tensor, folds: Tensor
    ) -> Tensor:
        """``T (f - P_n (f - mu)) = (A V_p) V_p' (f - mu) + T mu``, (B, n), of some images.

        The translator is affine, so this needs no second pass over the features.

        Args:
            seen: :func:`coordinates` of their features, (B, r).
            geometry: of a head.
            center: mu, (m,).
            folds: of these images, (B,).
        """
        translated = seen.new_full((len(seen), len(self.statistics[0].sum_z)), math.nan)
        basis = geometry.row_basis.to(seen)
        for translator, half in self._halves(folds):
            weight, base = (translator.weight.to(seen) @ basis).T, translator(center).to(seen)
            for rows in row_blocks(half):
                translated[rows] = torch.addmm(base, seen[rows], weight)
        return translated

    def _halves(self, folds: Tensor) -> Iterator[tuple[LinearTranslator, Tensor]]:
        """Each translator with the rows that it translates."""
        for fold, translator in enumerate(self.translators or ()):
            yield translator, (folds == fold).nonzero().flatten()

    def r2(self, original: Tensor, embeddings: Tensor) -> float:
        """Share of the embeddings' variance that the translators explain, held out; at most 1.

        Args:
            original: :meth:`original` of the features, (N, n).
            embeddings: (N, n).
        """
        if self.translators is None:
            return math.nan
        rows = row_blocks(torch.arange(len(original)))
        error = sum(energy(embeddings[block].to(original) - original[block]) for block in rows)
        return self._explained(error)

    def r2_null(self, geometry: HeadGeometry) -> float:
        """R2 of a refit on the null-space part ``P_n f`` alone, held out; at most 1.

        What the features say about the embedding in directions that the head cannot see, under
        the same penalty. Parts of a refit do not add up to :meth:`r2`.
        """
        if self.solutions is None:
            return math.nan
        if geometry.null_dim == 0:
            return 0.0
        fitted = (solution.on_null_part(geometry) for solution in self.solutions)
        errors = (
            held_out.squared_error(each)
            for held_out, each in zip(self.statistics, fitted, strict=True)
        )
        return self._explained(sum(errors))

    def _explained(self, error: float) -> float:
        """R2 of a held-out squared error."""
        fits = reversed(self.statistics)
        total = sum(
            held_out.squared_deviation(fit.sum_z / fit.n)
            for held_out, fit in zip(self.statistics, fits, strict=True)
        )
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
    solutions = odd.solve(rho), even.solve(rho)
    translators = solutions[0].translator, solutions[1].translator
    return CrossFit(translators, (even, odd), folds, rho, solutions)


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
    cosines = torch.cosine_similarity(translated, embeddings.to(translated), dim=1)
    return float(cosines.double().mean())
