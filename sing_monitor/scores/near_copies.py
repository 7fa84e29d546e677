"""Near copies: images of one fold whose embeddings hardly differ from one of the other fold."""

from __future__ import annotations

import torch
from torch import Tensor

from sing_monitor.row_blocks import NOISE, all_rows, deviations, mean, row_blocks
from sing_monitor.space.fingerprints import mix64

# Cosine of embeddings about their mean above which two images count as copies of each other.
BOUND = 0.99
# Images of either fold that are looked at; each is compared with all of the other fold.
SAMPLE = 256


def near_copies(embeddings: Tensor, folds: Tensor, bound: float = BOUND) -> float:
    """Share of images with a near copy in the other fold.

    That is an image with ``cos(z - mean z, z' - mean z) > bound``. A translator that was fitted on
    the copy knows the answer of the image, whatever its features say.

    Args:
        embeddings: raw image embeddings, (N, n).
        folds: (N,) of 0 and 1.
        bound: of the cosine.

    Returns:
        0 to 1, from at most 512 images; NaN where a fold holds no image that differs from the mean.
    """
    center = mean(embeddings, all_rows(embeddings))
    sides = [(folds == fold).nonzero().flatten() for fold in (0, 1)]
    nearest = [
        _nearest(embeddings, center, _sample(own), other)
        for own, other in (sides, reversed(sides))
        if len(other)
    ]
    known = torch.cat([each[~each.isnan()] for each in nearest]) if nearest else torch.empty(0)
    return float((known > bound).double().mean())


def _nearest(embeddings: Tensor, center: Tensor, own: Tensor, others: Tensor) -> Tensor:
    """Highest cosine of each of some images with any of the others; NaN for one at the mean."""
    directions = _directions(embeddings, center, own)
    highest = directions.new_full((len(own),), -1.0)
    for rows in row_blocks(others):
        cosines = _directions(embeddings, center, rows) @ directions.T
        highest = torch.maximum(highest, cosines.nan_to_num(nan=-1.0).amax(dim=0))
    return highest.where(~directions.isnan().any(dim=1), torch.nan)


def _directions(embeddings: Tensor, center: Tensor, rows: Tensor) -> Tensor:
    """Unit vectors from the mean, (B, n); NaN for an embedding that lies there but for rounding."""
    away = deviations(embeddings, center, rows)
    norms = torch.linalg.vector_norm(away, dim=1, keepdim=True)
    least = (NOISE * float(center.square().sum())) ** 0.5
    return away / norms.where(norms > least, torch.nan)


def _sample(rows: Tensor) -> Tensor:
    """Some rows, in no order that goes with that of objects or classes."""
    return rows[mix64(torch.arange(len(rows))).argsort()[:SAMPLE]]
