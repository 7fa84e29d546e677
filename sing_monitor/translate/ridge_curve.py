"""Held-out R2 along the ridge, and with half of the images: how much hangs on either."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sing_monitor.row_blocks import deviations, row_blocks
from sing_monitor.space.fingerprints import mix64
from sing_monitor.translate.dual_ridge import DualSolution, DualStatistics
from sing_monitor.translate.ridge import RidgeSolution, RidgeStatistics, Statistics
from sing_monitor.translate.ridge_search import RIDGE_GRID
from sing_monitor.translate.translator import LinearTranslator

# Fifty rhos a decade, over the grid.
RHOS = torch.logspace(
    math.log10(RIDGE_GRID[0]), math.log10(RIDGE_GRID[-1]), 351, dtype=torch.float64
)
# Random combinations of the embedding's dimensions that stand for all of them: few for the shape of
# a curve, more for one value.
_FEW, _MANY = 16, 64
_SEED = 0
_STEPS = 10
# Groups of images of each fold from which the standard error of R2 is estimated, to about 6 %, and
# how few will do where they are large.
_SAMPLE, _FEWEST = 128, 16
_MOST_IMAGES = 4096

Solution = RidgeSolution | DualSolution


class KeptRidge(float):
    """A rho that ``"auto"`` chose at an earlier epoch; chosen anew where it costs too much."""


def ridge_to_keep(scalars: Mapping[str, float]) -> float:
    """The ridge of an epoch that the next one starts from: the translators', else the probes'."""
    return scalars.get("translator/ridge", scalars.get("probe/ridge", math.nan))


@dataclass(frozen=True)
class RidgeCurve:
    """Held-out R2 along log rho.

    Args:
        rho: the ridge that is used.
        gains: R2 at each of ``RHOS``, less that at rho.
        error: standard error of R2 over images, the translators held as they are.
        steps: how far to go along the derivative ``dT / d log10 rho`` at rho, in decades, to come
            nearest to the translations at each of ``RHOS``.
    """

    rho: float
    gains: Tensor
    error: float
    steps: Tensor

    @property
    def is_too_costly(self) -> bool:
        """Whether the best R2 exceeds that at rho by more than its standard error."""
        return float(self.gains.max()) > self.error

    @property
    def ends(self) -> tuple[float, float]:
        """Smallest and largest rho whose R2 is within one standard error of the best.

        The one-standard-error rule (Breiman, Friedman, Olshen, Stone 1984, section 3.4.3). NaN
        where R2 is.
        """
        low, high = self._at_ends(RHOS)
        return low, high

    @property
    def steps_to_ends(self) -> tuple[float, float]:
        """``steps`` to both ends."""
        low, high = self._at_ends(self.steps)
        return low, high

    def _at_ends(self, values: Tensor) -> tuple[float, float]:
        inside = values[self.gains >= self.gains.max() - self.error]
        return (float(inside[0]), float(inside[-1])) if len(inside) else (math.nan, math.nan)


def along(fit: Statistics, solution: Solution, held_out: Statistics) -> tuple[Tensor, Tensor]:
    """Held-out squared errors at each of ``RHOS``, less that of a solution, and steps to them.

    With ``K = (X'X + lambda_0 I)^-1`` of the solution, any other lambda asks for
    ``K (I + (lambda - lambda_0) K)^-1 X'Z``, a smooth function of K, for which a few steps of
    Lanczos suffice (Moret and Novati 2004): no further factorization. Exact close to lambda_0 and
    where R2 is flat; four decades away by a few percent of the difference. The error is a sum over
    the embedding's dimensions; of more than 16 it is estimated, without bias, from 16 random
    combinations, the same at every epoch.

    Args:
        fit: statistics of the images that the solution was fitted on.
        solution: at lambda_0.
        held_out: statistics of the other images, in the same form.

    Returns:
        Errors, and the steps along the derivative at lambda_0, in decades, that come nearest to
        the held-out predictions; each (R,) float64.
    """
    if solution.shift == 0:
        return torch.zeros_like(RHOS), torch.zeros_like(RHOS)
    mix = _mix(len(fit.mean_z), _FEW)
    targets = fit.xz if isinstance(fit, RidgeStatistics) else fit.embeddings
    start = targets @ mix.to(targets)
    basis, inner = _lanczos(solution, start)
    squares, products = _held_out_terms(fit, held_out, basis, mix)
    # Rounding may leave an eigenvalue of K beyond 1 / lambda_0.
    nodes, vectors = torch.linalg.eigh(inner)
    nodes = nodes.clamp(min=0, max=1 / solution.shift)
    scaled = vectors[:, 0] * torch.linalg.vector_norm(start.double(), dim=0)[:, None]
    shifts = torch.cat([RHOS * fit.varying / fit.feature_dim, RHOS.new_tensor([solution.shift])])
    values = nodes / (1 + (shifts[:, None, None] - solution.shift) * nodes)
    weights = torch.einsum("qpk,rqk->qrp", vectors, values * scaled)
    errors = ((weights @ squares) * weights).sum(dim=2) - 2 * (weights @ products)[..., 0]
    total = errors.sum(dim=0)
    away, at = weights[:, :-1] - weights[:, -1:], weights[:, -1:]
    slope = -math.log(10) * solution.shift * at @ inner
    image = (slope @ squares).transpose(1, 2)
    steps = (away @ image).sum(dim=0) / (slope @ image).sum(dim=0)
    return total[:-1] - total[-1], steps[:, 0].nan_to_num()


def lost_by_half(
    half: Statistics, translator: LinearTranslator, held_out: Statistics, rho: float
) -> float:
    """Share of the held-out variance that is no longer explained with half of the images.

    Of more than 64 dimensions of the embedding it is estimated, without bias, from 64 random
    combinations.

    Args:
        half: statistics of half of the images that a translator was fitted on.
        translator: fitted on all of them.
        held_out: statistics of the other images.
        rho: the ridge of both.

    Returns:
        NaN for fewer than two images in the half, or embeddings that do not vary.
    """
    total = held_out.squared_deviation(half.mean_z)
    if half.n < 2 or total == 0:
        return math.nan
    mix = _mix(len(half.mean_z), _MANY)
    whole = LinearTranslator(mix.T @ translator.weight, mix.T @ translator.bias)
    fewer, others = half.mixed(mix).solve(rho).translator, held_out.mixed(mix)
    return (others.squared_error(fewer) - others.squared_error(whole)) / total


def r2_error(error: Tensor, deviation: Tensor, ids: Tensor, images: int) -> float:
    """Standard error of ``R2 = 1 - sum e / sum t`` over images; NaN for fewer than two groups.

    A ratio of sums: to first order an image moves it by ``(e - (1 - R2) t) / (N mean t)``, up or
    down (delta method). Images of one group may all move it the same way, so they count together
    (Liang and Zeger 1986).

    Args:
        error: e of some images, of whole groups, (S,).
        deviation: t of the same images, (S,).
        ids: what they belong to, (S,); all different: each image is on its own.
        images: N, of which these are some.
    """
    names, group = ids.unique(return_inverse=True)
    if len(names) < 2:
        return math.nan
    moved = (error - error.mean() / deviation.mean() * deviation) / deviation.mean()
    together = moved.new_zeros(len(names)).index_add(0, group, moved)
    variance = together.square().sum() / len(error) * len(names) / (len(names) - 1)
    return math.sqrt(float(variance) / images)


def sampled_errors(
    translators: Sequence[LinearTranslator],
    means: Tensor,
    rows: Sequence[Tensor],
    features: Tensor,
    embeddings: Tensor,
    ids: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """``|z - T f|^2`` and ``|z - mean z|^2`` of some held-out images, each (S,) float64, and ids.

    Args:
        translators: T of the images of either fold.
        means: mean embedding of the images that each was fitted on, (2, n).
        rows: numbers of the images of either fold.
        features: of all images, (N, m).
        embeddings: of all images, (N, n).
        ids: what they belong to, (N,) int64; of it all images are taken, or none.
    """
    parts, sampled = [], [_sample(held_out, ids) for held_out in rows]
    for translator, mean_z, some in zip(translators, means, sampled, strict=True):
        true = embeddings[some].double()
        away = torch.stack([true - translator(features[some].double()), true - mean_z])
        parts.append(away.square().sum(dim=2))
    error, deviation = torch.cat(parts, dim=1)
    return error, deviation, ids[torch.cat(sampled)]


def _sample(rows: Tensor, ids: Tensor) -> Tensor:
    """Some of the rows: in the order of a hash of their ids, whole groups."""
    hashed, order = mix64(ids[rows]).sort(stable=True)
    _, sizes = hashed.unique_consecutive(return_counts=True)
    ends = sizes.cumsum(dim=0)[:_SAMPLE]
    wanted = max(_FEWEST, int((ends <= _MOST_IMAGES).sum()))
    return rows[order[: int(sizes[:wanted].sum())]]


def _lanczos(solution: Solution, start: Tensor) -> tuple[Tensor, Tensor]:
    """Orthonormal bases (q, p, k) of Krylov spaces of K, and K in them, (q, p, p) float64.

    Args:
        solution: with K.
        start: a first vector of each space, (k, q).
    """
    size, spaces = start.shape
    tiny = torch.finfo(start.dtype).tiny
    basis = start.new_zeros(spaces, _STEPS, size)
    basis[:, 0] = (start / torch.linalg.vector_norm(start, dim=0).clamp(min=tiny)).T
    inner = start.new_zeros(spaces, _STEPS, _STEPS, dtype=torch.float64)
    for step in range(_STEPS):
        known, image = basis[:, : step + 1], solution.inverse(basis[:, step].T).T
        length = torch.linalg.vector_norm(image, dim=1, keepdim=True)
        # Twice, since once leaves rounding in what is already there.
        for _ in range(2):
            along = known @ image[..., None]
            image = image - (known * along).sum(dim=1)
            inner[:, step, : step + 1] += along[..., 0].double()
        if step + 1 < _STEPS:
            left = torch.linalg.vector_norm(image, dim=1, keepdim=True)
            # A space that is exhausted goes on with zeros.
            is_new = left > 100 * torch.finfo(start.dtype).eps * length
            basis[:, step + 1] = torch.where(is_new, image / left.clamp(min=tiny), 0)
    # K is symmetric: what its products have along earlier vectors is half of it.
    lower = inner.tril()
    return basis, lower + lower.tril(-1).transpose(1, 2)


def _held_out_terms(
    fit: Statistics, held_out: Statistics, basis: Tensor, mix: Tensor
) -> tuple[Tensor, Tensor]:
    """Squares (q, p, p) and products with the embeddings (q, p, 1) of held-out predictions.

    Args:
        fit: statistics of the images that the translators are fitted on.
        held_out: of the other images.
        basis: of weights, or of the coefficients of images, (q, p, k).
        mix: of the embeddings, (n, q).
    """
    away_z = (held_out.mean_z - fit.mean_z) @ mix
    if isinstance(fit, RidgeStatistics) and isinstance(held_out, RidgeStatistics):
        away_x = (held_out.mean_x - fit.mean_x).to(basis)
        across = held_out.xz @ mix.to(basis)
        across = across.addr(away_x, away_z.to(basis), alpha=held_out.n)
        images = basis @ held_out.xx
        images += held_out.n * (basis @ away_x)[..., None] * away_x
        squares, products = basis @ images.transpose(1, 2), basis @ across.T[..., None]
        return squares.double(), products.double()
    if not (isinstance(fit, DualStatistics) and isinstance(held_out, DualStatistics)):
        raise TypeError("the two folds have statistics of different forms.")
    few, steps, _ = basis.shape
    weights = fit.combined(basis.flatten(end_dim=1).T).T
    squares = weights.new_zeros(few, steps, steps)
    products = weights.new_zeros(few, steps, 1)
    about = held_out.embeddings.double() @ mix + away_z
    for places in row_blocks(torch.arange(held_out.n)):
        x = deviations(held_out.features, fit.mean_x, held_out.rows[places])
        predicted = (x @ weights.to(x)).double().unflatten(1, (few, steps)).transpose(0, 1)
        squares += predicted.transpose(1, 2) @ predicted
        products += predicted.transpose(1, 2) @ about[places].T[..., None]
    return squares, products


def _mix(dims: int, most: int) -> Tensor:
    """Random signs M, (n, q), with ``E M M' = I``; the identity for no more than q dimensions."""
    if dims <= most:
        return torch.eye(dims, dtype=torch.float64)
    generator = torch.Generator().manual_seed(_SEED)
    signs = torch.randint(0, 2, (dims, most), generator=generator, dtype=torch.float64)
    return (2 * signs - 1) / math.sqrt(most)
