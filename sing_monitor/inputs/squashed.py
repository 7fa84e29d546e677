"""SquashedInputs: what the model takes, in [0, 1], where its pixels are not known."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sing_monitor.inputs.pixel_scale import PixelScale
from sing_monitor.space.fingerprints import to_uint8


class SquashedInputs(PixelScale):
    """Scale for a monitor without a semantic space: no statistics, any number of channels.

    The values go through a logistic function, which keeps different images different. They serve
    for fingerprints alone: nobody can look at them.

    Args:
        reason: why the pixels are not known, as the end of a sentence.
    """

    def __init__(self, reason: str) -> None:
        super().__init__((), (), reason)

    def restore(self, images: Tensor) -> Tensor:
        """``1 / (1 + exp(-value))``, float32, of the same shape; NaN of what is not finite."""
        return self.undo(images)

    def undo(self, images: Tensor) -> Tensor:
        """The same."""
        if images.dtype == torch.uint8:
            return images.detach().to(torch.float32) / 255
        values = images.detach().to(torch.float32)
        return values.sigmoid().masked_fill_(values.isinf(), math.nan)

    def levels(self, images: Tensor) -> NDArray[np.uint8]:
        """What is restored, rounded to 8 bits."""
        levels: NDArray[np.uint8] = to_uint8(self.restore(images)).numpy()
        return levels
