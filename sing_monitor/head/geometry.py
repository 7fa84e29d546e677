"""HeadGeometry: row space and null space of a linear head."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from sing_monitor.head.row_space import decompose, rounding_noise

# Output that must not change for a direction to count as null: logits, or only probabilities.
Invariance = Literal["logits", "softmax"]


@dataclass(frozen=True)
class HeadGeometry:
    """Row space and null space of a linear head ``logits = W f + b`` (SING, eqs. 1-3).

    Only the row space is stored: with a basis ``V_p`` of it, such as the first ``rank`` columns of
    V in ``W = U S V'``, ``P_p = V_p V_p'`` projects onto the row space and ``P_n = I - P_p`` onto
    the null space. No m x m projector is ever formed. For every v in the null space
    ``W (f + v) = W f``.

    Args:
        row_basis: an orthonormal basis ``V_p`` of the row space, (m, rank).
        singular_values: all min(C, m) singular values of W, largest first.
        triangle: ``(W V_p)'``, where the basis makes it upper triangular, (C, C); else None.

    Example::

        >>> head = HeadGeometry.from_weight(torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]]))
        >>> head.rank, head.null_dim
        (2, 1)
        >>> head.null(torch.tensor([3.0, 4.0, 5.0])).tolist()
        [0.0, 0.0, 5.0]
    """

    row_basis: Tensor
    singular_values: Tensor
    triangle: Tensor | None = None

    @classmethod
    def from_weight(
        cls,
        weight: Tensor,
        *,
        invariance: Invariance = "logits",
        rtol: float | None = None,
        atol: float | None = None,
    ) -> HeadGeometry:
        """Decompose a head's weight in float64, on the CPU whatever device it is on.

        A singular value counts as zero at or below the tolerance. The default is the spectral
        norm of the rounding noise of a C x m matrix with the weight's entries,
        ``eps * (sqrt(C) + sqrt(m)) * |W|_F / sqrt(C m)``, with eps of the dtype in which the
        weight is *stored*: the usual ``sigma_max * max(C, m) * eps`` gives rank 0 to a bf16 head.
        It is never below that usual one with eps of the dtype *computed* in, the decomposition's
        own rounding, which is what counts for weights stored in float64.

        Args:
            weight: (C, m), any floating dtype.
            invariance: what must not change: the ``"logits"``, or only the ``"softmax"``, which
                also ignores a constant added to all logits. Then the class-centered head
                ``W - mean row`` is decomposed: one null dimension more where the rank is full
                (ours).
            rtol: tolerance relative to the largest singular value, in place of the default.
            atol: absolute tolerance, in place of the default; the SING authors' code uses 1e-5.

        Raises:
            TypeError: if the weight is not a floating point tensor.
            ValueError: if the weight is not a matrix, is empty, holds NaN or infinite entries, if
                a tolerance is negative, or for an unknown invariance.
        """
        _check_weight(weight)
        matrix = weight.detach().cpu().double()
        if not torch.isfinite(matrix).all():
            raise ValueError(
                "the head's weight holds NaN or infinite entries: the training has diverged."
            )
        for name, tolerance in (("rtol", rtol), ("atol", atol)):
            if tolerance is not None and not tolerance >= 0:
                raise ValueError(f"{name} must be at least 0, got {tolerance}.")
        if rtol is None and atol is None:
            # The rounding is that of the stored entries, however much of them is one common row.
            atol = rounding_noise(matrix, torch.finfo(weight.dtype).eps)
            rtol = max(weight.shape) * torch.finfo(matrix.dtype).eps
        basis, values, triangle = decompose(
            effective_weight(matrix, invariance), rtol or 0.0, atol or 0.0
        )
        dtype = _wide_dtype(weight.device)

        def there(part: Tensor) -> Tensor:
            return part.to(dtype).to(weight.device)

        return cls(there(basis), there(values), None if triangle is None else there(triangle))

    @property
    def feature_dim(self) -> int:
        """Number of features m."""
        return self.row_basis.shape[0]

    @property
    def rank(self) -> int:
        """Dimension r of the row space, 0 to min(C, m)."""
        return self.row_basis.shape[1]

    @property
    def null_dim(self) -> int:
        """Dimension m - r of the null space."""
        return self.feature_dim - self.rank

    @property
    def condition(self) -> float:
        """``sigma_1 / sigma_r``, at least 1; NaN for a head of rank 0."""
        if self.rank == 0:
            return math.nan
        return float(self.singular_values[0] / self.singular_values[self.rank - 1])

    def principal(self, x: Tensor) -> Tensor:
        """Row-space part of x, ``P_p x``; x and the result are (..., m), in the dtype of x."""
        _check_features(x, self.feature_dim)
        if self.null_dim == 0:
            return x.clone()
        basis = self.row_basis.to(x)
        return (x @ basis) @ basis.T

    def null(self, x: Tensor) -> Tensor:
        """Null-space part of x, ``P_n x = x - P_p x``; x and the result are (..., m)."""
        return x - self.principal(x)

    def remove_null(self, x: Tensor, center: Tensor | None = None) -> Tensor:
        """Equivalent of x: same logits, without the null-space part (SING, eq. 9).

        Without a center the equivalent is ``x - P_n x``. With a center mu it is
        ``x - P_n (x - mu)``: only the *deviation* from mu loses its null part. The mean feature
        lies almost wholly in the null space, so the first form mostly deletes a constant.

        Args:
            x: features, (..., m).
            center: mu, (m,).
        """
        if center is None:
            return self.principal(x)
        return x - self.null(x - center)

    def drift_from(self, other: HeadGeometry) -> float:
        """Distance between two row spaces: ``0.5 |P - P'|_F^2 / min(r_, m - r_)``, in [0, 1].

        ``r_`` is the mean of the two ranks. 0 means the same space; two spaces that fill
        everything or nothing are the same. Computed from a rank x rank product.

        Raises:
            ValueError: if the heads read features of different size.
        """
        if self.feature_dim != other.feature_dim:
            raise ValueError(
                f"drift compares heads on the same features; one reads {self.feature_dim} "
                f"features, the other {other.feature_dim}."
            )
        mean_rank = (self.rank + other.rank) / 2
        largest = min(mean_rank, self.feature_dim - mean_rank)
        if largest == 0:
            return 0.0
        overlap = (self.row_basis.T @ other.row_basis.to(self.row_basis)).square().sum()
        return min(1.0, max(0.0, (mean_rank - float(overlap)) / largest))


def effective_weight(weight: Tensor, invariance: Invariance) -> Tensor:
    """Matrix whose null space leaves the chosen output unchanged, (C, m).

    That is W for the logits, and ``W - mean row`` for the softmax, which ignores a constant added
    to all logits.

    Raises:
        ValueError: for an unknown invariance.
    """
    check_invariance(invariance)
    if invariance == "logits":
        return weight
    centered = weight - weight.mean(dim=0)
    # Again, because the rounding of the first mean, common to all rows, would pass for a direction.
    return centered - centered.mean(dim=0)


def check_invariance(invariance: object) -> None:
    """Raise an error for anything but ``"logits"`` and ``"softmax"``.

    Raises:
        ValueError: naming both.
    """
    if invariance not in get_args(Invariance):
        raise ValueError(f"invariance={invariance!r}: expected 'logits' or 'softmax'.")


def check_bias(bias: Tensor | None) -> None:
    """Raise an error for a bias by which no class can be predicted.

    Minus infinity is allowed: it takes a class out.

    Args:
        bias: b, (C,), or None.

    Raises:
        ValueError: if an entry is NaN or plus infinity.
    """
    if bias is not None and bool((bias.isnan() | bias.isposinf()).any()):
        raise ValueError(
            "the head's bias holds NaN or infinite entries: the training has diverged."
        )


def _wide_dtype(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64


def _check_weight(weight: Tensor) -> None:
    if not weight.is_floating_point():
        raise TypeError(
            f"a head's weight must be a floating point tensor, got {weight.dtype}; "
            "dequantize it first."
        )
    if weight.ndim != 2 or 0 in weight.shape:
        raise ValueError(
            f"a head's weight must be a (classes, features) matrix, got {tuple(weight.shape)}."
        )


def _check_features(x: Tensor, feature_dim: int) -> None:
    if x.shape[-1:] != (feature_dim,):
        raise ValueError(
            f"features must have {feature_dim} entries in their last dimension, "
            f"as the head's weight has; got {tuple(x.shape)}."
        )
