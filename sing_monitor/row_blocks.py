"""Sums over many rows without large copies: in which precision, and how many rows at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

# Few enough for little memory, enough for products at full speed.
_ROWS = 512
_COLUMNS = 256
# Columns of a triangle at a time: the fewer, the less of it is multiplied where it is 0.
_BAND = 128
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


def all_blocks(x: Tensor) -> Iterator[slice]:
    """All rows in pieces, as slices: what they take is a view, not to be changed in place."""
    # Of no rows, as of few, there is one piece.
    return (slice(start, start + _ROWS) for start in range(0, max(len(x), 1), _ROWS))


def is_finite(x: Tensor) -> bool:
    """Whether (N, ...) holds neither NaN nor infinite values."""
    blocks = (working(x[rows]) for rows in all_blocks(x))
    # A finite sum has finite terms; these are looked at, at twenty times the cost, if it is not.
    return all(bool(some.sum().isfinite() or some.isfinite().all()) for some in blocks)


def deviations(x: Tensor, center: Tensor, rows: Tensor | None = None) -> Tensor:
    """``x - center`` in the precision that is worked in, also for a center far from 0.

    Args:
        x: (B, m).
        center: (m,), float64.
        rows: those that are wanted; None: all.
    """
    some = working(x if rows is None else x.index_select(0, rows))
    nearest = center.to(some)
    # Gathered rows are a copy, which may change.
    away = some - nearest if rows is None else some.sub_(nearest)
    # What the center loses in single precision is as large as a feature's own rounding.
    return away.sub_((center - nearest.to(center)).to(away))


def all_rows(x: Tensor) -> Tensor:
    """The numbers of all rows, in order."""
    return torch.arange(len(x))


def evenly(rows: Tensor, most: int) -> Tensor:
    """Some of the rows, at most so many, evenly."""
    wanted = min(len(rows), most)
    return rows[torch.arange(wanted) * len(rows) // max(wanted, 1)]


def mean(x: Tensor, rows: Tensor) -> Tensor:
    """Mean of some rows of (N, m), (m,) float64; zeros where there are none."""
    total = x.new_zeros(x.shape[1], dtype=torch.float64)
    for some in row_blocks(rows):
        total += x.index_select(0, some).sum(dim=0, dtype=torch.float64)
    return total / max(len(rows), 1)


def gram(x: Tensor) -> Tensor:
    """``X'X`` of (N, m), added up in float64, (m, m), by symmetric products."""
    sums = x.new_zeros(x.shape[1], x.shape[1], dtype=torch.float64)
    for block in x.split(_ROWS):
        add_gram(sums, working(block))
    return mirrored(sums)


def add_gram(upper: Tensor, block: Tensor) -> None:
    """Add ``X'X`` to the upper triangle of sums in place, for little more than half the work.

    By bands of columns, and in torch alone: a BLAS of another library, with threads of its own,
    takes turns with torch's, and both wait in vain.

    Args:
        upper: (m, m); what lies below the diagonal may be anything afterwards.
        block: X, (B, m), in the precision that the product is worked out in.
    """
    is_alike = upper.dtype == block.dtype
    for start in range(0, block.shape[1], _COLUMNS):
        band = slice(start, start + _COLUMNS)
        left, right, sums = block[:, band].T, block[:, start:], upper[band, start:]
        if is_alike:
            sums.addmm_(left, right)
        else:
            sums += left @ right


def times_upper(x: Tensor, upper: Tensor) -> Tensor:
    """``X U`` of (B, k) and an upper triangular U (k, k), for little more than half the work."""
    found = torch.empty_like(x)
    for start in range(0, len(upper), _BAND):
        end = start + _BAND
        torch.mm(x[:, :end], upper[:end, start:end], out=found[:, start:end])
    return found


def times_lower(x: Tensor, lower: Tensor) -> Tensor:
    """``X L`` of (B, k) and L (k, q), zero above its diagonal, as :func:`times_upper`."""
    found = x.new_empty(len(x), lower.shape[1])
    for start in range(0, lower.shape[1], _BAND):
        end = start + _BAND
        torch.mm(x[:, start:], lower[start:, start:end], out=found[:, start:end])
    return found


def quadratic_form(symmetric: Tensor, vectors: Tensor) -> float:
    """``tr(V S V')`` of S (m, m) and V (k, m), for little more than half the work of a product.

    Of a symmetric matrix what lies above the diagonal tells what lies below.
    """
    total = 0.0
    for start in range(0, len(symmetric), _COLUMNS):
        band, rest = slice(start, start + _COLUMNS), slice(start + _COLUMNS, None)
        among = vectors[:, band] @ symmetric[band, band]
        products = torch.addmm(among, vectors[:, rest], symmetric[rest, band], alpha=2)
        total += float(products.mul_(vectors[:, band]).sum(dtype=torch.float64))
    return total


def mirrored(upper: Tensor) -> Tensor:
    """A symmetric matrix from its upper triangle, in place."""
    for start in range(0, len(upper), _BAND):
        band, rest = slice(start, start + _BAND), slice(start + _BAND, None)
        square = upper[band, band]
        square.triu_().add_(square.triu(1).T)
        upper[rest, band] = upper[band, rest].T
    return upper


def squared_norms(x: Tensor) -> Tensor:
    """``|row|^2`` of (N, m), (N,) float64."""
    # A block at a time: the norm makes a copy in double precision.
    norms = (
        torch.linalg.vector_norm(x[rows], dim=1, dtype=torch.float64) for rows in all_blocks(x)
    )
    return torch.cat(list(norms)).square()


def energy(x: Tensor) -> float:
    """Sum of squares of (N, m), or of a vector, added up in double precision."""
    return float(squared_norms(torch.atleast_2d(x)).sum())
