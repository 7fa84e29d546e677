"""A validation: its place in the training, and the batches that it runs over."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from sing_monitor.inputs.loaders import ImageOrder, find_image_order, planned_images


@dataclass(frozen=True)
class Moment:
    """Place of a validation in its training.

    Args:
        epoch: of the training, from 0.
        step: the number of optimizer steps so far.
        is_training: whether the validation belongs to the history of a training; False for a
            validation by itself.
        is_rehearsal: whether it only checks the set-up before a training: nothing is analyzed or
            logged.
    """

    epoch: int
    step: int
    is_training: bool = True
    is_rehearsal: bool = False


@dataclass(frozen=True)
class Source:
    """Batches of one pass.

    Args:
        loader: of the batches.
        images: number of images of a full pass, of all processes together; None if unknown.
        batches: number of batches that a process runs in this pass; may be infinite.
        in_this_pass: number of images in this pass, of all processes together; None if unknown.
        ranks: number of processes that share the images; 1 where each sees all.
        order: of the images in the data set.
    """

    loader: Any
    images: int | None
    batches: float
    in_this_pass: int | None
    ranks: int
    order: ImageOrder

    @classmethod
    def of_loader(cls, loader: Any, ranks: int = 1) -> Source:
        """A whole pass over a loader, whose images the processes of the training share."""
        images = planned_images(loader, math.inf, ranks)
        return cls(loader, images, math.inf, images, ranks, find_image_order(loader))
