"""RidgeSample: images for which the derivative of scores by the ridge is computed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sing_monitor.row_blocks import evenly
from sing_monitor.snapshot import Snapshot
from sing_monitor.translate.random_subspaces import RandomRemoval

# Enough images for derivatives of mean scores.
MAX_IMAGES = 128


@dataclass(frozen=True)
class RidgeSample:
    """Images of the probe, half from each fold, with their equivalents.

    Args:
        rows: of the snapshot, (R,), those of fold 0 first.
        vectors: features and their raw, centered and random equivalents, (4, R_k, m) float64 for
            either fold k.
    """

    rows: Tensor
    vectors: tuple[Tensor, Tensor]

    @classmethod
    def of(cls, snapshot: Snapshot, random: RandomRemoval) -> RidgeSample:
        """Take images evenly from each fold, at most half of ``MAX_IMAGES``.

        Args:
            snapshot: of one validation.
            random: removal of a random subspace, the baseline.
        """
        even, odd = (
            evenly((snapshot.folds == fold).nonzero().flatten(), MAX_IMAGES // 2) for fold in (0, 1)
        )
        vectors = _vectors(snapshot, random, even), _vectors(snapshot, random, odd)
        return cls(torch.cat([even, odd]), vectors)


def _vectors(snapshot: Snapshot, random: RandomRemoval, rows: Tensor) -> Tensor:
    geometry, center = snapshot.geometry, snapshot.center
    features = snapshot.features[rows].double()
    centered = geometry.remove_null(features, center)
    removed = centered - geometry.null(center)
    baseline = random.equivalents(snapshot.features, center, rows)
    return torch.stack([features, removed, centered, baseline])
