"""Ridge regression that fits translators, in its primal form (SING, eq. 4)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from sing_monitor.head.geometry import HeadGeometry
from sing_monitor.row_blocks import (
    NOISE,
    add_gram,
    all_rows,
    deviations,
    energy,
    mean,
    mirrored,
    quadratic_form,
    working,
)
from sing_monitor.space.fingerprints import mix64
from sing_monitor.translate.dual_ridge import DualSolution, DualStatistics
from sing_monitor.translate.kernel import Kernel
from sing_monitor.translate.precision import solution_dtype
from sing_monitor.translate.ridge_parts import (
    Factor,
    Moments,
    NullInverse,
    backward,
    check_samples,
    factorize,
    forward,
)
from sing_monitor.translate.translator import LinearTranslator

# More rows at a time than elsewhere, because each time sums of m x m are updated.
_ROWS = 1024


@dataclass(frozen=True)
class RidgeSolution:
    """Solution of a ridge regression, with ``L L' = X'X + lambda I`` about the means.

    The factor L, the expensive part, serves the translator, its derivative and a refit.

    Args:
        factor: L, (m, m).
        loadings: ``L^-1 X'Z``, (m, n).
        shift: lambda; 0 for constant features.
        mean_x: (m,).
        mean_z: (n,).
        precision: dtype of the features.
        samples: number of samples that were fitted.
    """

    factor: Factor
    loadings: Tensor
    shift: float
    mean_x: Tensor
    mean_z: Tensor
    precision: torch.dtype
    samples: int

    @cached_property
    def translator(self) -> LinearTranslator:
        """``T f = A (f - mean x) + mean z``."""
        return self._through_means(backward(self.factor, self.loadings).T.double())

    def slope(self, features: Tensor) -> Tensor:
        """Derivative ``dT f / d log10 rho`` of translations by the ridge.

        ``dA / d log10 rho = -ln(10) lambda A (X'X + lambda I)^-1``, since lambda is
        proportional to rho.

        Args:
            features: (..., m).

        Returns:
            (..., n).
        """
        away = (features - self.mean_x).flatten(end_dim=-2).to(self.factor.dtype)
        weight = self.translator.weight.to(away)
        # The inverse is symmetric: of the vectors and the dimensions, the fewer are solved for.
        if len(away) < len(weight):
            slope = (weight @ self.inverse(away.T)).T.double()
        else:
            slope = (away @ self.inverse(weight.T)).double()
        return -math.log(10) * self.shift * slope.unflatten(0, features.shape[:-1])

    def kernel(self, features: Tensor, rows: Tensor) -> Kernel:
        """How much some of the fitted images weigh, see :class:`Kernel`.

        ``[(I - S)^2]_ii = 1 - k_ii - lambda |w_i|^2`` with ``w_i = (X'X + lambda I)^-1 x_i``.

        Args:
            features: of all images, (M, m).
            rows: indices of the fitted images x_i, (I,).
        """
        away = features[rows].double() - self.mean_x
        inner = backward(self.factor, forward(self.factor, away.T.to(self.factor.dtype)))
        weight = inner.T.double().contiguous()
        outside = 1 - 1 / self.samples - (away * weight).sum(dim=1)
        left = outside - self.shift * weight.square().sum(dim=1)
        # By Jensen's inequality it is at least the square of 1 - k_ii; rounding may say otherwise.
        least = outside.clamp(min=NOISE).square()
        return Kernel.of(weight, self.mean_x, self.samples, torch.maximum(left, least))

    def inverse(self, x: Tensor) -> Tensor:
        """``(X'X + lambda I)^-1 x`` of (m, k)."""
        return backward(self.factor, forward(self.factor, x))

    def on_seen_part(self, geometry: HeadGeometry) -> Tensor:
        """What the translator makes of coordinates in the row space: ``A V_p``, (n, rank)."""
        return self.translator.weight.to(self.precision) @ geometry.row_basis.to(self.precision)

    def on_null_part(
        self,
        geometry: HeadGeometry,
        inverse: NullInverse | None = None,
        seen: Tensor | None = None,
    ) -> LinearTranslator:
        """Fit a translator with the same lambda to ``P_n x`` alone.

        Solved in the features' precision: single moves R2 by 2e-5 at a ridge of 1e-4 and on, by
        2e-4 at 1e-6 (features of an untrained ResNet-18).

        Args:
            geometry: of the head.
            inverse: :meth:`null_inverse`, where it is known.
            seen: :meth:`on_seen_part`, where it is known.
        """
        if geometry.rank == 0:
            return self.translator
        inverse = self.null_inverse(geometry) if inverse is None else inverse
        # A factor that is rounded to single precision is to be so on both sides.
        if seen is not None and self.precision == self.factor.dtype:
            weight = inverse.after_forward(self.loadings, seen.T)
        else:
            weight = inverse.after_forward(self.loadings)
        return self._through_means(weight.T.double())

    def null_inverse(self, geometry: HeadGeometry) -> NullInverse:
        """Inverse of the regression on ``P_n x`` alone."""
        return NullInverse.of(self.factor, geometry.row_basis, self.precision)

    def _through_means(self, weight: Tensor) -> LinearTranslator:
        return LinearTranslator(weight.contiguous(), self.mean_z - weight @ self.mean_x)


@dataclass(frozen=True)
class RidgeStatistics(Moments):
    """Sufficient statistics of a ridge regression with intercept: moments about the means.

    Their size depends on m and n, not on the number of samples.

    Args:
        n: number of samples.
        mean_x: of the features, (m,).
        mean_z: of the embeddings, (n,).
        xx: ``X'X`` about the means, (m, m), in the precision of the solution.
        xz: ``X'Z``, (m, n), in the same precision.
        zz: ``sum |z - mean z|^2``.
        precision: dtype of the features, at least single.
        feature_dim: number of features over which the variance is averaged; rho is relative to
            this mean.

    Example::

        >>> x, z = torch.randn(20, 3), torch.randn(20, 2)
        >>> statistics = RidgeStatistics.of(x, z)
        >>> torch.allclose(statistics.xx / 19, x.T.cov().double(), atol=1e-6)
        True
    """

    n: int
    mean_x: Tensor
    mean_z: Tensor
    xx: Tensor
    xz: Tensor
    zz: float
    precision: torch.dtype
    feature_dim: int

    @classmethod
    def of(
        cls,
        x: Tensor,
        z: Tensor,
        rows: Tensor | None = None,
        products: torch.dtype = torch.float64,
        feature_dim: int | None = None,
    ) -> RidgeStatistics:
        """Compute the statistics of some samples.

        Products of a thousand rows at a time are worked out and added up in the precision of the
        solution. That holds for X'Z as for X'X: what rounding leaves of it outside the span of the
        features is divided by lambda alone.

        Args:
            x: features, (N, m).
            z: raw image embeddings, not normalized, (N, n).
            rows: indices of the samples; None: all.
            products: precision of the features' products, with each other and with embeddings, and
                of the solution, see :func:`solution_dtype`.
            feature_dim: number of features over which the variance is averaged; None: m.

        Raises:
            ValueError: if the two disagree on N.
        """
        check_samples(x, z)
        rows = all_rows(x) if rows is None else rows
        mean_x, mean_z = mean(x, rows), mean(z, rows)
        xx = torch.zeros(x.shape[1], x.shape[1], dtype=products)
        zx, zz = xx.new_zeros(z.shape[1], x.shape[1]), 0.0
        for some in rows.split(_ROWS):
            block_x = deviations(x, mean_x, some)
            block_z = deviations(z.index_select(0, some).to(block_x), mean_z)
            zz += energy(block_z)
            block_x = block_x.to(products)
            add_gram(xx, block_x)
            zx.addmm_(block_z.to(products).T, block_x)
        return cls(
            len(rows),
            mean_x,
            mean_z,
            mirrored(xx),
            zx.T,
            zz,
            working(x[:0]).dtype,
            feature_dim or x.shape[1],
        )

    def joined(self, other: RidgeStatistics) -> RidgeStatistics:
        """Compute the statistics of these samples and of others together, without a look at either.

        Moments about the common mean, from those about two means (Chan, Golub, LeVeque 1979).
        """
        n = self.n + other.n
        weight, share = self.n * other.n / max(n, 1), other.n / max(n, 1)
        away_x, away_z = other.mean_x - self.mean_x, other.mean_z - self.mean_z
        between_x, between_z = away_x.to(self.xx), away_z.to(self.xx)
        return replace(
            self,
            n=n,
            mean_x=self.mean_x + share * away_x,
            mean_z=self.mean_z + share * away_z,
            xx=(self.xx + other.xx).addr_(between_x, between_x, alpha=weight),
            xz=(self.xz + other.xz).addr_(between_x, between_z, alpha=weight),
            zz=self.zz + other.zz + weight * energy(away_z),
        )

    def mixed(self, mix: Tensor) -> RidgeStatistics:
        """The same samples with the embeddings ``Z mix``, for a mix (n, q) with ``E mix mix' = I``.

        ``zz`` stays that of the embeddings themselves, so that errors are right but for a constant.
        """
        return replace(self, mean_z=self.mean_z @ mix, xz=self.xz @ mix.to(self.xz))

    def solve(self, rho: float) -> RidgeSolution:
        """Solve ``A = Cov_zx (Cov_xx + rho tr(Cov_xx)/m I)^-1``, ``c = z - A x``.

        The ridge is relative to the mean variance of the features, so it means the same for
        every model. Constant features give A = 0.

        Raises:
            ValueError: if there is no sample, or rho is not positive and finite.
        """
        self.check_ridge(rho)
        return self.solve_at(0.0 if self.is_constant else self.shift(rho))

    def solve_at(self, shift: float) -> RidgeSolution:
        """Solve with lambda itself, at least 0; 0 stands for constant features."""
        if shift == 0:
            factor = Factor.of(torch.eye(len(self.xx), dtype=self.xx.dtype))
            loadings = torch.zeros_like(self.xz)
        else:
            factor = factorize(self.xx, shift)
            loadings = forward(factor, self.xz)
        return RidgeSolution(
            factor, loadings, shift, self.mean_x, self.mean_z, self.precision, self.n
        )

    def of_row_space(self, seen: Tensor, rows: Tensor, geometry: HeadGeometry) -> RidgeStatistics:
        """Statistics of the same samples by their coordinates in a head's row space.

        ``S'S`` is added up from the coordinates; ``S'Z = V_p' X'Z`` follows.

        Args:
            seen: coordinates of all images, (N, r).
            rows: indices of the samples.
            geometry: of the head.
        """
        center = mean(seen, rows)
        products = self.xx.new_zeros(seen.shape[1], seen.shape[1])
        for some in rows.split(_ROWS):
            add_gram(products, deviations(seen, center, some).to(products))
        xz = geometry.row_basis.T.to(self.xz) @ self.xz
        return replace(self, mean_x=center, xx=mirrored(products), xz=xz)

    def squared_error(self, translator: LinearTranslator) -> float:
        """Sum over the samples of ``|z - T(x)|^2``, computed from the moments."""
        weight = translator.weight.to(self.precision)
        away = self.mean_z - translator(self.mean_x)
        products = float((weight.T * self.xz.to(weight)).sum(dtype=torch.float64))
        within = self.zz - 2 * products + quadratic_form(self.xx.to(weight), weight)
        return within + self.n * float(away @ away)

    @property
    def varying(self) -> float:
        """``sum |x - mean x|^2``."""
        return float(self.xx.trace())


Statistics = RidgeStatistics | DualStatistics
Solution = RidgeSolution | DualSolution


def statistics_of(
    x: Tensor,
    z: Tensor,
    rows: Tensor | None = None,
    products: torch.dtype = torch.float64,
    feature_dim: int | None = None,
) -> Statistics:
    """Compute statistics of some samples in the smaller form: dual for N < m, else primal.

    Both give the same translators. N counts all samples, so that parts of the same features come
    in the same form. Arguments as in :meth:`RidgeStatistics.of`.

    Raises:
        ValueError: as :meth:`RidgeStatistics.of`.
    """
    check_samples(x, z)
    return form_of(x).of(x, z, rows, products, feature_dim)


def halved_statistics_of(
    x: Tensor,
    z: Tensor,
    rows: Tensor,
    ids: Tensor,
    products: torch.dtype = torch.float64,
    feature_dim: int | None = None,
) -> tuple[Statistics, Statistics]:
    """Compute statistics of some samples and of half of them, which costs next to nothing more.

    Args:
        x: features, (N, m).
        z: raw image embeddings, not normalized, (N, n).
        rows: indices of the samples.
        ids: of all samples, (N,) int64; a hash of them draws the half, whatever the order.
        products: as in :meth:`RidgeStatistics.of`.
        feature_dim: as there.

    Returns:
        Those of all, and those of the half.

    Raises:
        ValueError: as :meth:`RidgeStatistics.of`.
    """
    order = mix64(ids[rows]).argsort(stable=True)
    first, second = (places.sort().values for places in order.tensor_split(2))
    if form_of(x) is DualStatistics:
        everything = DualStatistics.of(x, z, rows, products, feature_dim)
        return everything, everything.part(first)
    half, rest = (
        RidgeStatistics.of(x, z, rows[places], products, feature_dim) for places in (first, second)
    )
    return half.joined(rest), half


def form_of(x: Tensor) -> type[DualStatistics] | type[RidgeStatistics]:
    """The smaller form for features (N, m)."""
    return DualStatistics if x.shape[0] < x.shape[1] else RidgeStatistics


def fit_translator(features: Tensor, embeddings: Tensor, rho: float) -> LinearTranslator:
    """Fit the translator of all images, which serves for images outside the probe.

    Args:
        features: (N, m).
        embeddings: raw image embeddings, (N, n).
        rho: ridge.

    Raises:
        ValueError: as :meth:`RidgeStatistics.solve`.
    """
    statistics = statistics_of(features, embeddings, products=solution_dtype(rho, features))
    return statistics.solve(rho).translator
