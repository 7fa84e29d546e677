"""Sums over many rows without large copies: in which precision, and how many rows at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

# Few enough for little memory, enough for products at full speed.
_ROWS = 512
# What is smaller than this share of the sums it was computed from is rounding noise.
NOISE = 1e-13


def working(x: Tensor) -> Tensor:
    """Double precision stays what it is; everything else is worked on in single precision.

    Features and embeddings come in single precision or less. Products of them err by less than
    their own rounding; what adds up over many rows is added in double precision.
    """
    return x if x.dtype == torch.float64 else x.float()


def row_blocks(rows: Tensor) -> Iterator[Tensor]:
    """Row numbers in pieces, so that what is worked out of them stays small."""
    return iter(rows.split(_ROWS))


def deviations(x: Tensor, center: Tensor) -> Tensor:
    """``x - center`` in the precision that is worked in, also for a center far from 0.

    Args:
        x: (B, m).
        center: (m,), float64.
    """
    x = working(x)
    nearest = center.to(x)
    # What the center loses in single precision is as large as a feature's own rounding.
    return x - nearest - (center - nearest.to(center)).to(x)


def all_rows(x: Tensor) -> Tensor:
    """The numbers of all rows, in order."""
    return torch.arange(len(x))


def gram(x: Tensor, rows: Tensor | None = None) -> Tensor:
    """``X'X`` in float64, (m, m), by symmetric products: half of a full one.

    Args:
        x: (N, m).
        rows: those that count; None: all.
    """
    from scipy.linalg.blas import dsyrk

    # The lower triangle in Fortran's order is the upper one of the tensor on the same memory.
    sums = x.new_zeros(x.shape[1], x.shape[1], dtype=torch.float64).numpy().T
    for some in row_blocks(all_rows(x) if rows is None else rows):
        block = x[some].double().numpy().T
        sums = dsyrk(1.0, block, beta=1.0, c=sums, lower=1, overwrite_c=1)
    upper = torch.from_numpy(sums.T)
    return upper.add_(upper.triu(1).T)


def energy(x: Tensor) -> float:
    """Sum of squares, added up in double precision."""
    # A block at a time: the norm makes a copy in double precision.
    return sum(
        float(torch.linalg.vector_norm(block, dtype=torch.float64).square())
        for block in x.split(_ROWS)
    )
