"""Features and their equivalents, translated by translators that never saw the image."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal, TypeVar

import torch
from torch import Tensor

from sing_monitor.head.feature_split import coordinates
from sing_monitor.head.geometry import HeadGeometry
from sing_monitor.row_blocks import deviations, row_blocks, working
from sing_monitor.scores.pairs import CENTERED, PLAIN, Pair
from sing_monitor.translate.kernel import Kernel, Kernels
from sing_monitor.translate.parts.probes import (
    Answers,
    ProbeRequest,
    joined,
    no_answers,
)
from sing_monitor.translate.parts.request import PartAnswers, PartRequest
from sing_monitor.translate.precision import solution_dtype
from sing_monitor.translate.ridge import (
    Statistics,
    halved_statistics_of,
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

T = TypeVar("T")

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
        apart: ``centered - removed`` of the images of either fold, ``A P_n mu``, (n,) each; none
            where it is not known.
    """

    original: Tensor
    removed: Tensor
    centered: Tensor
    seen: Tensor
    apart: tuple[Tensor, ...] = ()

    @property
    def equivalents(self) -> dict[Pair, Tensor]:
        """Both equivalents, by pair."""
        return {PLAIN: self.removed, CENTERED: self.centered}


@dataclass(frozen=True)
class CrossFit:
    """Two translators, each fitted on one half of the images and used on the other half.

    Args:
        translators: ``translators[k]`` scores the images of fold k and was fitted on the others;
            None where a fold does not hold two different features.
        folds: fold of every image, (N,) of 0 and 1.
        ridge: rho of both fits; NaN where there are none.
        means: mean embedding of the images that each translator was fitted on, (2, n).
        total: ``sum |z - mean z|^2``, each image about the mean of the fold it was not in; NaN
            where nothing was fitted.
        slopes: ``dT f / d log10 rho`` of the feature vectors that were asked for, of either fold;
            None where nothing was fitted.
        r2_null: R2 of a refit on the null-space part ``P_n f`` of the features alone, under the
            same penalty, held out; NaN where no head is known. Parts of a refit do not add up to
            :meth:`r2`.
        r2_seen: R2 of a refit on the row-space part alone; NaN where it was not asked for.
        seen: refits on coordinates ``V_p' (f - mu)``, each (n, r); None where they were not asked
            for, where a fold is empty, and without a null space, where they are the translators.
        null: refits on the null part, each (n, m); None as ``seen``.
        answers: of the probes, by question, (J,) in the order of the judged images.
        kernels: how much some images weigh in the fits; None where it was not asked for, or a fold
            is empty.
        curve: R2 along the ridge; None where it was not asked for.
        lost_by_half: by how much R2 falls if the translator of fold 0 is fitted on half of its
            images, under the same rho; NaN where it was not asked for.
        on_seen: what the translators make of coordinates in the row space of the head that was
            given, ``A V_p``, (n, r) each; None where that was not worked out.
    """

    translators: tuple[LinearTranslator, LinearTranslator] | None
    folds: Tensor
    ridge: float
    means: Tensor
    total: float = math.nan
    slopes: tuple[Tensor, Tensor] | None = None
    r2_null: float = math.nan
    r2_seen: float = math.nan
    seen: tuple[LinearTranslator, LinearTranslator] | None = None
    null: tuple[LinearTranslator, LinearTranslator] | None = None
    answers: Mapping[str, Answers] = field(default_factory=dict)
    kernels: Kernels | None = None
    curve: RidgeCurve | None = None
    lost_by_half: float = math.nan
    on_seen: tuple[Tensor, Tensor] | None = None

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
            geometry: of the head; of the one that the fit was given, if it was given any.
            center: mu, (m,).
            seen: :func:`coordinates` of the features, where they are known.

        Returns:
            Embeddings, (N, n); all NaN where nothing was fitted.
        """
        original = self.original(features, center)
        seen = coordinates(features, geometry, center) if seen is None else seen
        if geometry.null_dim == 0:
            return TranslatedPairs(original, original, original, seen)
        apart = tuple(
            (translator.weight @ geometry.null(center)).to(seen)
            for translator in self.translators or ()
        )
        centered = self._centered(seen, geometry, center)
        removed = torch.full_like(centered, math.nan)
        for less, (_, half) in zip(apart, self.halves(self.folds), strict=True):
            for rows in row_blocks(half):
                removed[rows] = centered.index_select(0, rows).sub_(less)
        return TranslatedPairs(original, removed, centered, seen, apart)

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

    def _centered(self, seen: Tensor, geometry: HeadGeometry, center: Tensor) -> Tensor:
        """``T (f - P_n (f - mu)) = (A V_p) V_p' (f - mu) + T mu``, (N, n).

        The translator is affine, so this needs no second pass over the features, and neither does
        ``T (f - P_n f)``, which is ``A P_n mu`` less.
        """
        centered = seen.new_full((len(seen), self.means.shape[1]), math.nan)
        basis = geometry.row_basis.to(seen)
        for fold, (translator, half) in enumerate(self.halves(self.folds)):
            on_seen = (
                self.on_seen[fold].to(seen) if self.on_seen else translator.weight.to(seen) @ basis
            )
            weight, base = on_seen.T, translator(center).to(seen)
            for rows in row_blocks(half):
                centered[rows] = torch.addmm(base, seen.index_select(0, rows), weight)
        return centered

    def halves(self, folds: Tensor) -> Iterator[tuple[LinearTranslator, Tensor]]:
        """Each translator with the rows that it translates; none where nothing was fitted.

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
    seen: Tensor | None = None,
    request: ProbeRequest | None = None,
    weighed: tuple[Tensor, Tensor] | None = None,
    ids: Tensor | None = None,
) -> CrossFit:
    """Fit two translators, each on one fold.

    Args:
        features: (N, m).
        embeddings: raw image embeddings, (N, n), or what else is to be predicted.
        folds: (N,) of 0 and 1.
        ridge: rho, or ``"auto"`` for the best of the grid by held-out R2.
        geometry: of a head, for ``r2_null``.
        sample: feature vectors of fold 0 and of fold 1, each (..., m), for ``slopes``.
        feature_dim: how many features rho is relative to the mean variance of; None: m.
        seen: :func:`coordinates` of the features in the row space of that head, (N, r), for refits
            on both parts.
        request: what probes are asked, which read the same parts; None: nothing.
        weighed: :func:`weighed_images`, for ``kernels``; None: none.
        ids: of the images, (N,) int64, to work out R2 along the ridge and with half of the images,
            which a hash of them draws; a :class:`KeptRidge` that costs too much is then chosen
            anew.
    """
    products = solution_dtype(ridge, features)
    halves = [(folds == fold).nonzero().flatten() for fold in (0, 1)]
    even = statistics_of(features, embeddings, halves[0], products, feature_dim)
    odd, half = halved_statistics_of(
        features,
        embeddings,
        halves[1],
        torch.arange(len(folds)) if ids is None else ids,
        products,
        feature_dim,
    )
    means = torch.stack([odd.mean_z, even.mean_z])
    # A single image, or several that are alike, tell nothing of how features translate.
    if even.tells_nothing or odd.tells_nothing:
        return CrossFit(None, folds, math.nan, means, answers=no_answers(request))
    rho = _best_ridge((even, odd)) if ridge == "auto" else ridge
    with_ridge = partial(
        cross_fit,
        features,
        embeddings,
        folds,
        geometry=geometry,
        sample=sample,
        feature_dim=feature_dim,
        seen=seen,
        request=request,
        weighed=weighed,
        ids=ids,
    )
    if solution_dtype(rho, features) != products:
        # Whoever is given the ridge that was chosen gets the same numbers, to the last digit.
        return with_ridge(ridge=rho)
    vectors = (features[:0], features[:0]) if sample is None else sample
    asked = PartRequest.of((even, odd), features, halves, geometry, seen, request, weighed)
    curves = ids is not None, ids is not None and len(folds) <= _BOTH_FOLDS
    first, second = (
        _Half.of((even, odd), held_out, rho, geometry, some, asked, has_curve)
        for held_out, (some, has_curve) in enumerate(zip(vectors, curves, strict=True))
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
        _explained(first.parts.error_seen + second.parts.error_seen, total),
        _both(first.parts.seen, second.parts.seen),
        _both(first.parts.null, second.parts.null),
        joined(request, folds, first.parts.answers, second.parts.answers),
        _kernels(weighed, first, second),
        on_seen=_both(first.parts.whole_on_seen, second.parts.whole_on_seen),
    )
    if ids is None:
        return fit
    known = [each for each, has in zip((first, second), curves, strict=True) if has]
    varying = sum(each.total for each in known)
    found = RidgeCurve(
        fit.ridge,
        -torch.stack([each.errors for each in known]).sum(dim=0) / (varying or math.nan),
        r2_error(
            *sampled_errors(translators, means, halves, features, embeddings, ids), len(folds)
        ),
        torch.stack([each.steps for each in known]).mean(dim=0),
    )
    if isinstance(ridge, KeptRidge) and found.is_too_costly:
        return with_ridge(ridge="auto")
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
    parts: PartAnswers
    kernel: Kernel | None
    errors: Tensor
    steps: Tensor

    @classmethod
    def of(
        cls,
        folds: Sequence[Statistics],
        held_out: int,
        rho: float,
        geometry: HeadGeometry | None,
        sample: Tensor,
        request: PartRequest,
        has_curve: bool,
    ) -> _Half:
        """Fit one fold, and judge it on the other, whose number is given."""
        fit, other = folds[1 - held_out], folds[held_out]
        solution = fit.solve(rho)
        parts, error_null = request.answered(fit, solution, held_out), math.nan
        if geometry is not None and geometry.null_dim > 0:
            null = solution.on_null_part(geometry) if parts.null is None else parts.null
            error_null = other.squared_error(null)
        total = other.squared_deviation(solution.mean_z)
        kernel = request.kernel(solution, held_out)
        errors, steps = along(fit, solution, other) if has_curve else (RHOS[:0], RHOS[:0])
        slopes = solution.slope(sample)
        return cls(solution.translator, slopes, total, error_null, parts, kernel, errors, steps)


def _kernels(rows: tuple[Tensor, Tensor] | None, first: _Half, second: _Half) -> Kernels | None:
    if rows is None or first.kernel is None or second.kernel is None:
        return None
    seen = first.parts.kernel_seen, second.parts.kernel_seen
    both = None if seen[0] is None or seen[1] is None else (seen[0], seen[1])
    return Kernels(rows, (first.kernel, second.kernel), both)


def _both(first: T | None, second: T | None) -> tuple[T, T] | None:
    return None if first is None or second is None else (first, second)


def _explained(error: float, total: float) -> float:
    """R2 of a held-out squared error."""
    return 1 - error / total if total > 0 else math.nan


def _best_ridge(folds: tuple[Statistics, Statistics]) -> float:
    rho, r2 = choose_ridge(folds)
    reasons = {
        RIDGE_GRID[0]: "the features may leave no noise in the embeddings, or be of unequal scale",
        RIDGE_GRID[-1]: "the probe may be too small, or the features may say little",
    }
    # Where nothing varies there is nothing to choose by.
    if rho in reasons and not math.isnan(r2):
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
