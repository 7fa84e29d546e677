"""The positions that say most of why two images are alike."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class StrongestPositions(NamedTuple):
    """Matched positions of pairs of images, the strongest first.

    Args:
        a: positions of the first image, counted row by row, (B, K) int64.
        b: the positions of the second image that they are matched with, (B, K) int64.
        shares: share of each in the pair's semantic inner product, (B, K) float64; NaN where that
            is not above 0.
    """

    a: Tensor
    b: Tensor
    shares: Tensor


def strongest(permutation: Tensor, strengths: Tensor, count: int) -> StrongestPositions:
    """The positions with the largest inner products; of equals the one that comes first.

    Args:
        permutation: the position that each is matched with, (B, S) int64.
        strengths: inner products of matched positions, (B, S).
        count: K, at most; S of smaller maps.
    """
    order = strengths.argsort(dim=1, descending=True, stable=True)[:, :count]
    totals = strengths.sum(dim=1, keepdim=True, dtype=torch.float64)
    shares = strengths.gather(1, order).double() / totals.where(totals > 0, torch.nan)
    return StrongestPositions(order, permutation.gather(1, order), shares)
