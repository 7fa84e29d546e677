"""The random baseline of every score: subspaces as large as the head's, in random directions."""

from __future__ import annotations

from functools import lru_cache
from typing import TypeVar

import torch
from torch import Tensor

from sing_monitor.geometry import HeadGeometry

# How many subspaces are drawn, and from which seed.
RANDOM_DRAWS = 3
RANDOM_SEED = 0

ImageIds = TypeVar("ImageIds", int, Tensor)


@lru_cache(maxsize=2)
def random_geometries(
    feature_dim: int,
    rank: int,
    *,
    draws: int,
    seed: int,
    dtype: torch.dtype = torch.float64,
) -> tuple[HeadGeometry, ...]:
    """Heads of the same rank that look in random directions: the baseline of every score.

    Removing their null space removes a uniformly random subspace of dimension m - rank. Drawn on
    the CPU from a generator of its own, so that neither the device nor the global random state
    matters. Singular values are 1.

    Args:
        feature_dim: m.
        rank: dimension of the row space that is kept, 0 to m.
        draws: how many.
        seed: of the generator.
        dtype: in which the bases are kept, drawn in double precision whatever it is.
    """
    if rank == feature_dim:
        # All bases of everything are as good.
        everything = torch.eye(feature_dim, dtype=dtype)
        return (HeadGeometry(everything, torch.ones(rank, dtype=dtype)),) * draws
    generator = torch.Generator().manual_seed(seed)
    bases = (
        torch.linalg.qr(
            torch.randn(feature_dim, rank, generator=generator, dtype=torch.float64)
        ).Q.to(dtype)
        for _ in range(draws)
    )
    return tuple(HeadGeometry(basis, torch.ones(rank, dtype=basis.dtype)) for basis in bases)


def chosen_draw(image_ids: ImageIds) -> ImageIds:
    """Which of the random subspaces an image is compared with, 0 to ``RANDOM_DRAWS - 1``.

    By other bits of the fingerprint than the lowest, which chooses the fold.
    """
    return (image_ids >> 1) % RANDOM_DRAWS
