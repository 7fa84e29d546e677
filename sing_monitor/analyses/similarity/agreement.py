"""Agreement of similarity matrices: with each other, with predictions and with classes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# A matrix that varies less than that about its means holds rounding alone.
_ROUNDING = 1e-7
# Of probabilities of pairs that are held at a time.
_NUMBERS = 50_000


def jensen_shannon(probabilities: Tensor) -> Tensor:
    """Jensen-Shannon divergence ``H((p + q) / 2) - (H(p) + H(q)) / 2`` of all pairs, in bits.

    The square of what ``scipy.spatial.distance.jensenshannon`` gives.

    Args:
        probabilities: rows of sum 1, (N, C).

    Returns:
        (N, N) float64, 0 (the same) to 1 (nothing in common), symmetric.

    Example::

        >>> jensen_shannon(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]))[0]
        tensor([0., 1., 0.], dtype=torch.float64)
    """
    p = probabilities.double()
    entropies = _entropy(p)
    # A few rows at a time: all pairs of 1,000 classes would take much memory.
    at_a_time = max(1, _NUMBERS // max(p.numel(), 1))
    rows = [
        _entropy((p + each[:, None]) / 2) - (entropies + own[:, None]) / 2
        for each, own in zip(p.split(at_a_time), entropies.split(at_a_time), strict=True)
    ]
    return torch.cat(rows).clamp(0, 1).fill_diagonal_(0)


def _entropy(p: Tensor) -> Tensor:
    return torch.special.entr(p).sum(dim=-1) / math.log(2)


def pair_correlation(a: Tensor, b: Tensor) -> float:
    """Pearson's correlation of two symmetric (N, N) over pairs of two images; NaN if undefined."""
    rows, columns = torch.triu_indices(len(a), len(a), offset=1)
    x, y = (each[rows, columns].double() for each in (a, b))
    if len(x) < 2:
        return math.nan
    return _cosine(x - x.mean(), y - y.mean(), float(x.norm()), float(y.norm()))


def cka(a: Tensor, b: Tensor) -> float:
    """Centered kernel alignment of two similarity matrices (Kornblith et al. 2019, eqs. 3 and 4).

    ``<HAH, HBH> / (|HAH| |HBH|)``, H = I - 11'/N. A matrix need not be positive semidefinite.

    Args:
        a: (N, N), symmetric.
        b: (N, N), symmetric.

    Returns:
        -1 to 1; NaN where a matrix is constant.
    """
    x, y = _centered(a.double()), _centered(b.double())
    return _cosine(x, y, float(a.double().norm()), float(b.double().norm()))


def _centered(a: Tensor) -> Tensor:
    return a - a.mean(dim=0) - a.mean(dim=1, keepdim=True) + a.mean()


def _cosine(x: Tensor, y: Tensor, length_x: float, length_y: float) -> float:
    """Cosine of what is left of two tensors after centering; NaN where that is rounding."""
    norm_x, norm_y = float(x.norm()), float(y.norm())
    if not (norm_x > _ROUNDING * length_x and norm_y > _ROUNDING * length_y):
        return math.nan
    return min(1.0, max(-1.0, float((x * y).sum()) / (norm_x * norm_y)))


def by_similarity(similarity: Tensor) -> Tensor:
    """The other images of each, the most similar first; of equals the one that stands first.

    Args:
        similarity: (N, N), without NaN.

    Returns:
        (N, N - 1) int64.
    """
    order = similarity.argsort(dim=1, descending=True, stable=True)
    is_other = order != torch.arange(len(order))[:, None]
    return order[is_other].view(len(order), max(len(order) - 1, 0))


def retrieval(similarity: Tensor, labels: Tensor) -> float:
    """Share of images whose most similar other image has the same class.

    Images whose class has no other image cannot find one, and do not count.

    Args:
        similarity: (N, N), without NaN.
        labels: (N,).

    Returns:
        0 to 1; NaN where no class has two images.
    """
    has_mate = (labels[:, None] == labels).sum(dim=1) > 1
    if not has_mate.any():
        return math.nan
    nearest = by_similarity(similarity)[:, 0]
    return float((labels[nearest] == labels)[has_mate].double().mean())
