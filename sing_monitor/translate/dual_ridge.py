"""Ridge regression that fits translators, in its dual form: for fewer images than features.

With the features X about their mean, (N, m), the primal form needs ``X'X``, m x m, the dual form
``X X'``, N x N, since ``(X'X + lambda I)^-1 X' = X' (X X' + lambda I)^-1``. Both have the same
solution. Flattened feature maps have thousands of features, and a probe may have a hundred images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from sing_monitor.head.geometry import HeadGeometry
from sing_monitor.row_blocks import (
    add_gram,
    all_rows,
    deviations,
    energy,
    mean,
    mirrored,
    row_blocks,
    working,
)
from sing_monitor.translate.kernel import Kernel
from sing_monitor.translate.ridge_parts import Factor, Moments, check_samples, factorize, solved
from sing_monitor.translate.translator import LinearTranslator

# Features at a time: a gathered block stays small beside all features.
_COLUMNS = 1024


@dataclass(frozen=True)
class DualStatistics(Moments):
    """Sufficient statistics of a ridge regression with intercept: products between images.

    Their size depends on N, m and n, not on m squared.
    :class:`~sing_monitor.translate.ridge.RidgeStatistics`, the primal form, gives the same
    solution.

    Args:
        n: number of samples N.
        features: of these and perhaps of other images, (M, m); not copied.
        rows: indices of the samples among them, (N,).
        mean_x: of their features, (m,).
        mean_z: of their embeddings, (n,).
        between: ``X X'`` about the means, (N, N), in the precision of the solution.
        embeddings: Z about the mean, (N, n), in the same precision.
        zz: ``sum |z - mean z|^2``.
        precision: dtype of the features, at least single.
        feature_dim: number of features over which the variance is averaged; rho is relative to
            this mean.
    """

    n: int
    features: Tensor
    rows: Tensor
    mean_x: Tensor
    mean_z: Tensor
    between: Tensor
    embeddings: Tensor
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
    ) -> DualStatistics:
        """Compute the statistics of some samples; arguments as in :meth:`RidgeStatistics.of`.

        Raises:
            ValueError: if the two disagree on N.
        """
        check_samples(x, z)
        rows = all_rows(x) if rows is None else rows
        mean_x, mean_z = mean(x, rows), mean(z, rows)
        between = torch.zeros(len(rows), len(rows), dtype=products)
        for columns in _column_blocks(x):
            add_gram(between, _away(x, rows, mean_x, columns, products).T)
        about = deviations(z.index_select(0, rows).to(working(x[:0])), mean_z)
        return cls(
            n=len(rows),
            features=x,
            rows=rows,
            mean_x=mean_x,
            mean_z=mean_z,
            between=mirrored(between),
            embeddings=about.to(products),
            zz=energy(about),
            precision=working(x[:0]).dtype,
            feature_dim=feature_dim or x.shape[1],
        )

    def solve(self, rho: float) -> DualSolution:
        """Solve the ridge regression, as :meth:`RidgeStatistics.solve`.

        Raises:
            ValueError: if there is no sample, or rho is not positive and finite.
        """
        self.check_ridge(rho)
        return self.solve_at(0.0 if self.is_constant else self.shift(rho))

    def solve_at(self, shift: float) -> DualSolution:
        """Solve with lambda itself, at least 0; 0 stands for constant features."""
        return DualSolution(self, shift)

    def of_row_space(self, seen: Tensor, rows: Tensor, geometry: HeadGeometry) -> DualStatistics:
        """Statistics by coordinates in a row space, as :meth:`RidgeStatistics.of_row_space`."""
        center = mean(seen, rows)
        away = deviations(seen, center, rows).to(self.between)
        return replace(self, features=seen, mean_x=center, between=away @ away.T)

    def part(self, places: Tensor) -> DualStatistics:
        """Compute the statistics of some of these samples, without a look at their features.

        Args:
            places: numbers of the samples among these, (P,).
        """
        between = _centered(_centered(self.between[places][:, places]).T)
        embeddings = self.embeddings[places]
        rows, about = self.rows[places], _centered(embeddings)
        return replace(
            self,
            n=len(places),
            rows=rows,
            mean_x=mean(self.features, rows),
            mean_z=self.mean_z + embeddings.sum(dim=0).double() / max(len(places), 1),
            between=between,
            embeddings=about,
            zz=energy(about),
        )

    def mixed(self, mix: Tensor) -> DualStatistics:
        """The same samples with the embeddings ``Z mix``; see the primal form."""
        mixed = self.embeddings @ mix.to(self.embeddings)
        return replace(self, mean_z=self.mean_z @ mix, embeddings=mixed)

    @property
    def varying(self) -> float:
        """``sum |x - mean x|^2``."""
        return float(self.between.trace())

    def squared_error(self, translator: LinearTranslator) -> float:
        """Sum over the samples of ``|z - T(x)|^2``."""
        weight = translator.weight.to(self.precision).T
        away = (self.mean_z - translator(self.mean_x)).to(weight)
        total = 0.0
        for places in row_blocks(torch.arange(self.n)):
            x = deviations(self.features, self.mean_x, self.rows[places])
            total += energy(self.embeddings[places].to(weight) + away - x @ weight)
        return total

    def across(self, others: DualStatistics) -> Tensor:
        """Products ``Y X'``, (N_y, N), with other samples Y, both about the mean of X."""
        products = self.between.new_zeros(others.n, self.n)
        for columns in _column_blocks(self.features):
            own, other = (
                _away(each.features, each.rows, self.mean_x, columns, products.dtype)
                for each in (self, others)
            )
            products.addmm_(other, own.T)
        return products

    def combined(self, coefficients: Tensor) -> Tensor:
        """Linear combinations ``coefficients' X``, (n, m) float64, for coefficients (N, n)."""
        shape = coefficients.shape[1], self.features.shape[1]
        sums = torch.empty(shape, dtype=torch.float64)
        for columns in _column_blocks(self.features):
            away = _away(self.features, self.rows, self.mean_x, columns, coefficients.dtype)
            sums[:, columns] = coefficients.T @ away
        return sums

    def row_coordinates(self, geometry: HeadGeometry) -> Tensor:
        """Coordinates ``X V_p`` of the samples in the row space of a head, (N, rank)."""
        seen = self.between.new_zeros(self.n, geometry.rank)
        for columns in _column_blocks(self.features):
            away = _away(self.features, self.rows, self.mean_x, columns, seen.dtype)
            seen.addmm_(away, geometry.row_basis[columns].to(seen))
        return seen


@dataclass(frozen=True)
class DualSolution:
    """Solution of a ridge regression in the dual form: ``A = alpha' X``.

    See :class:`~sing_monitor.translate.ridge.RidgeSolution`, the primal form.

    Args:
        statistics: of the samples.
        shift: lambda; 0 for constant features.
    """

    statistics: DualStatistics
    shift: float

    @property
    def mean_z(self) -> Tensor:
        """Mean embedding, (n,)."""
        return self.statistics.mean_z

    @cached_property
    def translator(self) -> LinearTranslator:
        """``T f = A (f - mean x) + mean z``."""
        return self._through_means(self.statistics.combined(self._coefficients))

    def slope(self, features: Tensor) -> Tensor:
        """Derivative ``dT f / d log10 rho``, (..., n), of translations of features (..., m).

        With ``A = alpha' X``, ``A (X'X + lambda I)^-1`` is
        ``((X X' + lambda I)^-1 alpha)' X``.
        """
        away = features.double() - self.statistics.mean_x
        if self.shift == 0:
            return away.new_zeros(*away.shape[:-1], len(self.mean_z))
        twice = self.statistics.combined(solved(self.factor, self._coefficients))
        return -math.log(10) * self.shift * (away @ twice.T)

    def kernel(self, features: Tensor, rows: Tensor) -> Kernel:
        """How much some of the fitted images weigh, see :class:`Kernel`.

        ``I - S = lambda (X X' + lambda I)^-1 - 1 1' / N``.

        Args:
            features: those of the statistics.
            rows: indices of fitted images, (I,).
        """
        own = self.statistics
        chosen = (own.rows[:, None] == rows).to(own.between)
        if self.shift == 0:
            weight = features.new_zeros(len(rows), features.shape[1], dtype=torch.float64)
            left = weight.new_full((len(rows),), 1 - 1 / own.n)
        else:
            inverse = solved(self.factor, chosen)
            weight = own.combined(inverse)
            left = self.shift**2 * (inverse - inverse.mean(dim=0)).double().square().sum(dim=0)
        return Kernel.of(weight, own.mean_x, own.n, left)

    def inverse(self, x: Tensor) -> Tensor:
        """``(X X' + lambda I)^-1 x`` of (N, k)."""
        return solved(self.factor, x)

    def on_null_part(self, geometry: HeadGeometry) -> LinearTranslator:
        """Fit a translator with the same lambda to ``P_n x`` alone.

        The products of the projected features are ``X X' - U U'`` with ``U = X V_p``, and
        ``A' = alpha' (X - U V_p')``.
        """
        if geometry.rank == 0 or self.shift == 0:
            return self.translator
        seen = self.statistics.row_coordinates(geometry)
        factor = factorize(self.statistics.between - seen @ seen.T, self.shift)
        coefficients = solved(factor, self.statistics.embeddings)
        weight = self.statistics.combined(coefficients)
        read = (coefficients.T @ seen).to(weight)
        return self._through_means(weight.addmm_(read, geometry.row_basis.T.to(weight), alpha=-1))

    @cached_property
    def factor(self) -> Factor:
        """Factor L of ``X X' + lambda I = L L'``, (N, N)."""
        return factorize(self.statistics.between, self.shift)

    @cached_property
    def _coefficients(self) -> Tensor:
        """Coefficients alpha, (N, n)."""
        if self.shift == 0:
            return torch.zeros_like(self.statistics.embeddings)
        return solved(self.factor, self.statistics.embeddings)

    def _through_means(self, weight: Tensor) -> LinearTranslator:
        return LinearTranslator(weight, self.mean_z - weight @ self.statistics.mean_x)


def _centered(x: Tensor) -> Tensor:
    """Rows (N, k) about their mean, also where there are none."""
    return x - x.sum(dim=0) / max(len(x), 1)


def _column_blocks(x: Tensor) -> Iterator[slice]:
    return (slice(start, start + _COLUMNS) for start in range(0, x.shape[1], _COLUMNS))


def _away(x: Tensor, rows: Tensor, center: Tensor, columns: slice, products: torch.dtype) -> Tensor:
    """Some features of some images about a center, (N, columns)."""
    return deviations(x[:, columns], center[columns], rows).to(products)
