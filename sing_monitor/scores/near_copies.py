"""Near copies: images of one fold whose embeddings hardly differ from one of the other fold."""

from __future__ import annotations

import torch
from torch import Tensor

from sing_monitor.row_blocks import NOISE, deviations, squared_norms
from sing_monitor.scores.angles import text_cosines
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
    center = embeddings.mean(dim=0, dtype=torch.float64)
    away = deviations(embeddings, center)
    differs = squared_norms(away) > NOISE * center.square().sum()
    folds = folds[differs]
    sides = [away[differs][folds == fold] for fold in (0, 1)]
    if min(map(len, sides)) == 0:
        return float("nan")
    nearest = [
        text_cosines(other, _sample(own)).amax(dim=0) for own, other in (sides, reversed(sides))
    ]
    return float((torch.cat(nearest) > bound).double().mean())


def _sample(rows: Tensor) -> Tensor:
    """Some rows, in no order that goes with that of objects or classes."""
    return rows[mix64(torch.arange(len(rows))).argsort()[:SAMPLE]]
