"""Kernel: how much single images weigh in a ridge regression that was fitted on them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sing_monitor.row_blocks import deviations, row_blocks, working
from sing_monitor.translate.translator import LinearTranslator

# Images of either fold whose weight is worked out. The mean square of their influence is what is
# needed, and 128 images tell it to about an eighth.
MOST_IMAGES = 64
_SEED = 0


@dataclass(frozen=True)
class Kernel:
    """How translations change with the weights of some fitted images.

    With weight w_i of image i the translation changes by ``dT x = k(x, x_i) r_i dw_i``, where r_i
    is its residual ``z_i - T x_i`` and, about the mean of the fitted images,
    ``k(x, x_i) = 1 / N + x' (X'X + lambda I)^-1 x_i``.

    Residuals of the fit itself are too small: those of embeddings ``A x + noise`` have the
    variance of the noise times ``[(I - S)^2]_ii``, S = k(x_k, x_i) (plus what the penalty
    takes from A). Divided by its root they vary as the noise does. Without a penalty
    ``(I - S)^2 = I - S``, and this is HC2 of MacKinnon and White (1985, eq. 8).

    Args:
        translator: affine map from x to k(x, x_i), (..., I).
        scale: ``1 / sqrt([(I - S)^2]_ii)``, (I,).
        center: mean x of the fitted images, (m,).
    """

    translator: LinearTranslator
    scale: Tensor
    center: Tensor

    @classmethod
    def of(cls, weight: Tensor, center: Tensor, samples: int, left: Tensor) -> Kernel:
        """Build a kernel.

        Args:
            weight: ``(X'X + lambda I)^-1 x_i``, (I, m) float64.
            center: mean x of the fitted images, (m,).
            samples: N.
            left: ``[(I - S)^2]_ii``, (I,) float64.
        """
        translator = LinearTranslator(weight, 1 / samples - weight @ center)
        return cls(translator, left.rsqrt(), center)

    def residuals(self, fitted: LinearTranslator, x: Tensor, z: Tensor) -> Tensor:
        """Residuals ``z_i - T x_i`` of the images, scaled, (I, n) float64.

        Args:
            fitted: T.
            x: their features, (I, m).
            z: their embeddings, (I, n).
        """
        return (z.double() - fitted(x.double())) * self.scale[:, None]

    def by_group(self, vectors: Tensor, chosen: Tensor, fitted: Tensor, groups: Tensor) -> Kernel:
        """The same for images whose noise is that of their group: larger scales, where they are.

        Copies in the fit make residuals smaller than images on their own do. Residuals
        ``(I - S) G e`` of noise e of the groups G have the variance ``sum_g [(I - S) G]_ig^2``.

        Args:
            vectors: x of all images, (N, m).
            chosen: the images i, (I,).
            fitted: all images of the fit, (M,).
            groups: of all images, (N,) int64.
        """
        names, place = groups[fitted].unique(return_inverse=True)
        weights = self.of_rows(vectors, fitted).double()
        sums = weights.new_zeros(len(names), len(chosen)).index_add(0, place, -weights)
        own = torch.searchsorted(names, groups[chosen])
        sums[own, torch.arange(len(chosen))] += 1
        return replace(self, scale=torch.maximum(self.scale, sums.square().sum(dim=0).rsqrt()))

    def of_rows(self, vectors: Tensor, rows: Tensor) -> Tensor:
        """k(x_j, x_i) of some images, (B, I), in the precision of their vectors.

        Args:
            vectors: x of all images, (N, m).
            rows: j, (B,).
        """
        center = self.center
        weight = self.translator.weight.T.to(working(vectors[:0]))
        base = self.translator(center).to(weight)
        blocks = [
            torch.addmm(base, deviations(vectors, center, some), weight)
            for some in row_blocks(rows)
        ]
        return torch.cat([weight.new_empty(0, weight.shape[1]), *blocks])


@dataclass(frozen=True)
class Kernels:
    """Kernels of both regressions of a cross-fit.

    Args:
        rows: images that translator 0 and that translator 1 were fitted on, (I,) each.
        whole: their kernels, of features.
        seen: their kernels in the refits on coordinates in the row space; None without refits.
    """

    rows: tuple[Tensor, Tensor]
    whole: tuple[Kernel, Kernel]
    seen: tuple[Kernel, Kernel] | None

    def by_group(self, features: Tensor, seen: Tensor, folds: Tensor, groups: Tensor) -> Kernels:
        """Those of images in groups, see :meth:`Kernel.by_group`.

        Args:
            features: of all images, (N, m).
            seen: their coordinates in the row space, (N, r).
            folds: (N,) of 0 and 1.
            groups: (N,) int64.
        """

        def both(kernels: tuple[Kernel, Kernel], vectors: Tensor) -> tuple[Kernel, Kernel]:
            first, second = (
                kernel.by_group(vectors, chosen, (folds != fold).nonzero().flatten(), groups)
                for fold, (kernel, chosen) in enumerate(zip(kernels, self.rows, strict=True))
            )
            return first, second

        of_seen = None if self.seen is None else both(self.seen, seen)
        return Kernels(self.rows, both(self.whole, features), of_seen)


def weighed_images(
    folds: Tensor, rows: Tensor, groups: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Choose images whose weight is worked out, as many of either fold, by whole groups.

    Args:
        folds: of all images, (N,) of 0 and 1.
        rows: of the images to choose from, (J,).
        groups: number of the group that an image belongs to, (N,) int64; None: its own.

    Returns:
        Rows of images that translator 0 and that translator 1 is fitted on, of fold 1 and of fold
        0, in order; (I,) each, I at most ``MOST_IMAGES``. Of the last group some may be missing.
    """
    fitted = [rows[folds[rows] == fold] for fold in (1, 0)]
    wanted = min(MOST_IMAGES, *map(len, fitted))
    generator = torch.Generator().manual_seed(_SEED)
    chosen = []
    for some in fitted:
        own = torch.arange(len(some)) if groups is None else groups[some]
        _, place = own.unique(return_inverse=True)
        turn = torch.randperm(len(some), generator=generator)[place]
        chosen.append(some[turn.argsort(stable=True)[:wanted].sort().values])
    return chosen[0], chosen[1]
