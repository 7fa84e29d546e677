"""Kernel: how much single images weigh in a ridge regression that was fitted on them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sing_monitor.translate.translator import LinearTranslator


@dataclass(frozen=True)
class Kernel:
    """How translations change with the weights of some fitted images.

    With weight w_i of image i the translation changes by ``dT x = k(x, x_i) r_i dw_i``, where r_i is
    its residual ``z_i - T x_i`` and, about the mean of the fitted images,
    ``k(x, x_i) = 1 / N + x' (X'X + lambda I)^-1 x_i``.

    Residuals of the fit itself are too small: those of embeddings ``A x + noise`` have the
    variance of the noise times ``[(I - S)^2]_ii``, S = k(x_k, x_i) (plus what the penalty
    takes from A). Divided by its root they vary as the noise does. Without a penalty
    ``(I - S)^2 = I - S``, and this is HC2 of MacKinnon and White (1985, eq. 8).

    Args:
        translator: affine map from x to k(x, x_i), (..., I).
        scale: ``1 / sqrt([(I - S)^2]_ii)``, (I,).
    """

    translator: LinearTranslator
    scale: Tensor

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
        return cls(translator, left.rsqrt())
