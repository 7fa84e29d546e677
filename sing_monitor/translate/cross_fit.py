"""Features and their equivalents, translated by translators that never saw the image."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from sing_monitor.head.feature_split import coordinates
from sing_monitor.head.geometry import HeadGeometry
from sing_monitor.row_blocks import deviations, row_blocks, working
from sing_monitor.scores.pairs import CENTERED, PLAIN, Pair
from sing_monitor.translate.ridge import (
    Statistics,
    halved_statistics_of,
    solution_dtype,
    statistics_of,
)
from sing_monitor.translate.ridge_curve import (
    RHOS,
    KeptRidge,
    RidgeCurve,
    along,
    lost_by_half,
    r2_error,
    sampled_errors,
)
from sing_monitor.translate.ridge_search import RIDGE_GRID, choose_ridge
from sing_monitor.translate.translator import LinearTranslator

logger = logging.getLogger(__name__)

# Of more images than that, R2 along the ridge is certain enough from one translator.
_BOTH_FOLDS = 4000


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

    @property
    def equivalents(self) -> dict[Pair, Tensor]:
        """Both equivalents, by pair."""
        return {PLAIN: self.removed, CENTERED: self.centered}


@dataclass(frozen=True)
class CrossFit:
    """Two translators, each fitted on one half of the images and used on the other half.

    Args:
        translators: ``translators[k]`` scores the images of fold k and was fitted on the others;
            None where a fold is empty.
        folds: fold of every image, (N,) of 0 and 1.
        ridge: rho of both fits; NaN where a fold is empty.
        means: mean embedding of the images that each translator was fitted on, (2, n).
        total: ``sum |z - mean z|^2``, each image about the mean of the fold it was not in; NaN
            where a fold is empty.
        slopes: ``dT f / d log10 rho`` of the feature vectors that were asked for, of either fold;
            None where nothing was fitted.
        r2_null: R2 of a refit on the null-space part ``P_n f`` of the features alone, under the
            same penalty, held out; NaN where no head is known. Parts of a refit do not add up to
            :meth:`r2`.
        curve: R2 along the ridge; None where it was not asked for.
        lost_by_half: by how much R2 falls if the translator of fold 0 is fitted on half of its
            images, under the same rho; NaN where it was not asked for.
    """

    translators: tuple[LinearTranslator, LinearTranslator] | None
    folds: Tensor
    ridge: float
    means: Tensor
    total: float = math.nan
    slopes: tuple[Tensor, Tensor] | None = None
    r2_null: float = math.nan
    curve: RidgeCurve | None = None
    lost_by_half: float = math.nan

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
        removed, centered = self._equivalents(seen, geometry, center)
        return TranslatedPairs(original, removed, centered, seen)

    def original(self, features: Tensor, center: Tensor) -> Tensor:
        """``T f``, (N, n), of features (N, m), worked out as ``A (f - mu) + T mu``."""
        shape = len(features), self.means.shape[1]
        translated = working(features[:0]).new_full(shape, math.nan)
        for translator, half in self.halves(self.folds):
            weight, base = translator.weight.T.to(translated), translator(center).to(translated)
            for rows in row_blocks(half):
                away = deviations(features, center, rows)
                translated[rows] = torch.addmm(base, away, weight)
        return translated

    def _equivalents(
        self, seen: Tensor, geometry: HeadGeometry, center: Tensor
    ) -> tuple[Tensor, Tensor]:
        """``T (f - P_n f)`` and ``T (f - P_n (f - mu))``, each (N, n).

        The translator is affine, so these need no second pass over the features: the second is
        ``(A V_p) V_p' (f - mu) + T mu``, and the first is ``A P_n mu`` away from it.
        """
        shape = len(seen), self.means.shape[1]
        removed, centered = seen.new_full(shape, math.nan), seen.new_full(shape, math.nan)
        basis, null_center = geometry.row_basis.to(seen), geometry.null(center)
        for translator, half in self.halves(self.folds):
            weight, base = (translator.weight.to(seen) @ basis).T, translator(center).to(seen)
            between = (translator.weight @ null_center).to(seen)
            for rows in row_blocks(half):
                translated = torch.addmm(base, seen.index_select(0, rows), weight)
                centered[rows], removed[rows] = translated, translated - between
        return removed, centered

    def halves(self, folds: Tensor) -> Iterator[tuple[LinearTranslator, Tensor]]:
        """Each translator with the rows that it translates; none where a fold is empty.

        Args:
            folds: of some images, (B,).
        """
        for fold, translator in enumerate(self.translators or ()):
            yield translator, (folds == fold).nonzero().flatten()

    def r2(self, squared_error: float) -> float:
        """Share of the embeddings' variance that the translators explain, held out; at most 1.

        Args:
            squared_error: ``sum |z - T f|^2`` over the images.
        """
        return _explained(squared_error, self.total)


def cross_fit(
    features: Tensor,
    embeddings: Tensor,
    folds: Tensor,
    ridge: float | Literal["auto"],
    geometry: HeadGeometry | None = None,
    sample: tuple[Tensor, Tensor] | None = None,
    *,
    feature_dim: int | None = None,
    ids: Tensor | None = None,
) -> CrossFit:
    """Fit two translators, each on one fold.

    Args:
        features: (N, m).
        embeddings: raw image embeddings, (N, n).
        folds: (N,) of 0 and 1.
        ridge: rho, or ``"auto"`` for the best of the grid by held-out R2.
        geometry: of a head, for ``r2_null``.
        sample: feature vectors of fold 0 and of fold 1, each (..., m), for ``slopes``.
        feature_dim: how many features rho is relative to the mean variance of; None: m.
        ids: of the images, (N,) int64, to work out R2 along the ridge and with half of the images,
            which a hash of them draws; a :class:`KeptRidge` that costs too much is then chosen
            anew.
    """
    products = solution_dtype(ridge, features)
    rows = [(folds == fold).nonzero().flatten() for fold in (0, 1)]
    even = statistics_of(features, embeddings, rows[0], products, feature_dim)
    odd, half = halved_statistics_of(
        features,
        embeddings,
        rows[1],
        torch.arange(len(folds)) if ids is None else ids,
        products,
        feature_dim,
    )
    means = torch.stack([odd.mean_z, even.mean_z])
    if even.n == 0 or odd.n == 0:
        return CrossFit(None, folds, math.nan, means)
    rho = _best_ridge((even, odd)) if ridge == "auto" else ridge
    vectors = (features[:0], features[:0]) if sample is None else sample
    curves = ids is not None, ids is not None and len(folds) <= _BOTH_FOLDS
    first, second = (
        _Half.of(*fold, rho, geometry, some, has_curve)
        for fold, some, has_curve in zip(((odd, even), (even, odd)), vectors, curves, strict=True)
    )
    total = first.total + second.total
    r2_null = _explained(first.error_null + second.error_null, total)
    if geometry is not None and geometry.null_dim == 0:
        r2_null = 0.0
    translators = first.translator, second.translator
    fit = CrossFit(
        translators,
        folds,
        float(rho),
        means,
        total,
        (first.slopes, second.slopes),
        r2_null,
    )
    if ids is None:
        return fit
    known = [each for each, has in zip((first, second), curves, strict=True) if has]
    varying = sum(each.total for each in known)
    found = RidgeCurve(
        fit.ridge,
        -torch.stack([each.errors for each in known]).sum(dim=0) / (varying or math.nan),
        r2_error(*sampled_errors(translators, means, rows, features, embeddings), len(folds)),
        torch.stack([each.steps for each in known]).mean(dim=0),
    )
    if isinstance(ridge, KeptRidge) and found.is_too_costly:
        return cross_fit(
            features,
            embeddings,
            folds,
            "auto",
            geometry,
            sample,
            feature_dim=feature_dim,
            ids=ids,
        )
    return replace(
        fit, curve=found, lost_by_half=lost_by_half(half, first.translator, even, fit.ridge)
    )


@dataclass(frozen=True)
class _Half:
    """What one fold's ridge regression says; its factor, an m x m matrix, is gone."""

    translator: LinearTranslator
    slopes: Tensor
    total: float
    error_null: float
    errors: Tensor
    steps: Tensor

    @classmethod
    def of(
        cls,
        fit: Statistics,
        held_out: Statistics,
        rho: float,
        geometry: HeadGeometry | None,
        sample: Tensor,
        has_curve: bool,
    ) -> _Half:
        solution = fit.solve(rho)
        error_null = math.nan
        if geometry is not None and geometry.null_dim > 0:
            error_null = held_out.squared_error(solution.on_null_part(geometry))
        total = held_out.squared_deviation(solution.mean_z)
        errors, steps = along(fit, solution, held_out) if has_curve else (RHOS[:0], RHOS[:0])
        return cls(solution.translator, solution.slope(sample), total, error_null, errors, steps)


def _explained(error: float, total: float) -> float:
    """R2 of a held-out squared error."""
    return 1 - error / total if total > 0 else math.nan


def _best_ridge(folds: tuple[Statistics, Statistics]) -> float:
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
