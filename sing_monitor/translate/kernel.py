"""Kernel: how much single images weigh in a ridge regression that was fitted on them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sing_monitor.row_blocks import deviations, row_blocks, working
from sing_monitor.translate.translator import LinearTranslator

# Images of either fold whose weight is worked out. The mean square of their influence is what is
# needed, and 192 images tell it to about a tenth.
MOST_IMAGES = 96
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


def weighed_images(folds: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Choose images whose weight is worked out, as many of either fold.

    Args:
        folds: of all images, (N,) of 0 and 1.
        rows: of the images to choose from, (J,).

    Returns:
        Rows of images that translator 0 and that translator 1 is fitted on, of fold 1 and of fold
        0, in order; (I,) each, I at most ``MOST_IMAGES``.
    """
    fitted = [rows[folds[rows] == fold] for fold in (1, 0)]
    wanted = min(MOST_IMAGES, *map(len, fitted))
    generator = torch.Generator().manual_seed(_SEED)
    first, second = (
        some[torch.randperm(len(some), generator=generator)[:wanted].sort().values]
        for some in fitted
    )
    return first, second
