"""PixelScale: map from the values in a model's input back to pixels in [0, 1]."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sing_monitor.errors import Option, SetupError
from sing_monitor.inputs.normalization import Stats
from sing_monitor.inputs.plain_values import as_builtin

# Interpolation overshoots and half precision rounds, so [0, 1] has a margin.
LOW, HIGH = -0.02, 1.02
# Share of pixels that right statistics may leave outside [0, 1] (overshoot).
_OUTLIERS = 0.01
# Pixels whose range is smaller show nothing.
_FLAT = 0.02
# Photographs reach black and white in every channel; wrong statistics miss them by more.
_EXACT = 0.01
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class PixelScale:
    """Map from a model's input back to pixels: ``pixel = value * std + mean``.

    Args:
        mean: one number, or one for each channel, in units of pixels in [0, 1].
        std: in the same form.
        source: of the numbers, in words.
        doubt: why they may be wrong; empty if they are sure.
        effect: range of the values before and after, in words.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str
    doubt: str = field(default="", compare=False)
    effect: str = field(default="", compare=False)

    def restore(self, images: Tensor) -> Tensor:
        """Turn a model's input into images for a semantic space.

        Args:
            images: (B, c, H, W) with c 1 or 3, floating, or uint8 (then divided by 255).

        Returns:
            A new float32 tensor (B, 3, H, W) in [0, 1], NaN where a value is not finite; one
            channel is repeated.
        """
        pixels = self.undo(images)
        # An infinite value is no bright pixel.
        pixels.masked_fill_(pixels.isinf(), math.nan).clamp_(0, 1)
        return pixels.repeat(1, 3, 1, 1) if pixels.shape[1] == 1 else pixels

    def levels(self, images: Tensor) -> NDArray[np.uint8]:
        """The restored images on the CPU, rounded to 8 bits, (B, 3, H, W); infinity saturates.

        By numpy: torch shares such short steps out among threads, and they wait for each other
        where other processes want the cores.

        Args:
            images: as of :meth:`restore`, on the CPU.
        """
        if images.dtype == torch.uint8:
            levels: NDArray[np.uint8] = images.numpy()
        else:
            given = images.detach().to(torch.float32).numpy()
            # Gray images may come among colored ones, whose scale has three channels.
            shape = np.broadcast_shapes(given.shape, (1, len(self.std), 1, 1))
            values = np.empty(shape, dtype=np.float32)
            if set(self.std) != {1} or set(self.mean) != {0}:  # else they are pixels already
                std, mean = (_per_channel(each, images.device) for each in (self.std, self.mean))
                given = np.multiply(given, std.numpy(), out=values)
                given += mean.numpy()
            np.clip(given, 0, 1, out=values)
            values *= 255
            with np.errstate(invalid="ignore"):  # NaN
                levels = np.rint(values, out=values).astype(np.uint8)
        return levels.repeat(3, axis=1) if levels.shape[1] == 1 else levels

    def __str__(self) -> str:
        return f"mean {self.mean}, std {self.std}"

    def undo(self, images: Tensor) -> Tensor:
        """``value * std + mean``, a new float32 tensor of the same shape, not clamped."""
        values = images.detach().to(torch.float32)
        if images.dtype == torch.uint8:
            return values / 255
        std, mean = (_per_channel(numbers, images.device) for numbers in (self.std, self.mean))
        return (values * std).add_(mean)


@lru_cache(maxsize=16)
def _per_channel(numbers: tuple[float, ...], device: torch.device) -> Tensor:
    """Numbers as a tensor (1, c, 1, 1), kept on the device: each copy would wait for it."""
    with torch.inference_mode(False):
        return torch.tensor(numbers, dtype=torch.float32, device=device).reshape(1, -1, 1, 1)


def parse_stats(stats: Any, images: Tensor, source: str) -> PixelScale:
    """Check (mean, std) and convert it to units of pixels in [0, 1].

    Args:
        stats: (mean, std), each one number or one for each channel.
        images: normalized with them, (B, c, H, W).
        source: of the statistics, in words.

    Raises:
        SetupError: if ``stats`` is anything else, or has another number of channels.
    """
    channels = images.shape[1]
    in_range = images.dtype == torch.uint8 or in_unit_range(images)
    example = Option("pixel_stats", "(0, 1)" if in_range else repr(example_stats(channels)))
    try:
        mean, std = (
            tuple(torch.as_tensor(part, dtype=torch.float64).flatten().tolist())
            for part in as_builtin(stats)
        )
    except (TypeError, ValueError, RuntimeError) as error:
        raise SetupError(
            f"{source} is {stats!r}; expected (mean, std), each a number or one number for each "
            "channel, such as ",
            example,
            ".",
        ) from error
    fits = all(len(part) in (1, channels) for part in (mean, std))
    if not fits or not all(map(math.isfinite, mean + std)) or min(std) <= 0:
        raise SetupError(
            f"{source} has mean {mean} and std {std}, but the images have {channels} channel(s): "
            "give one finite number or one for each channel, and a std above 0, such as ",
            example,
            ".",
        )
    mean, std = (part * (channels // len(part)) for part in (mean, std))
    if max(mean) <= 1 and max(std) <= 1:
        return PixelScale(mean, std, source)
    # Numbers above 1 are in units of 0..255. If that removes nearly all contrast from the images,
    # they are in units of [0, 1] after all.
    scales = [
        PixelScale(tuple(x / unit for x in mean), tuple(x / unit for x in std), source)
        for unit in (255, 1)
    ]
    visible = [
        each for each in scales if restores_unit_range(each, images) and not is_flat(each, images)
    ]
    return visible[0] if visible else scales[0]


def restores_unit_range(scale: PixelScale, images: Tensor, outliers: float = _OUTLIERS) -> bool:
    """Whether a scale brings images, (B, c, H, W), to [0, 1], but for a share of outliers.

    Values that are not finite have no scale, and do not count as outliers.
    """
    pixels = scale.undo(images)
    outside = ((pixels < LOW) | (pixels > HIGH)) & pixels.isfinite()
    return float(outside.float().mean()) <= outliers


def spans_unit_range(scale: PixelScale, images: Tensor) -> bool:
    """Whether a scale brings every channel of images to exactly the range [0, 1]."""
    pixels = scale.undo(images)
    low, high = pixels.amin(dim=(0, 2, 3)), pixels.amax(dim=(0, 2, 3))
    return bool((low.abs() <= _EXACT).all() and ((high - 1).abs() <= _EXACT).all())


def is_flat(scale: PixelScale, images: Tensor, contrast: float = _FLAT) -> bool:
    """Whether a scale leaves every channel of images with less than a contrast."""
    pixels = scale.undo(images)
    return bool((pixels.amax(dim=(0, 2, 3)) - pixels.amin(dim=(0, 2, 3)) < contrast).all())


def in_unit_range(images: Tensor) -> bool:
    """Whether all values of images lie in [0, 1] already."""
    low, high = value_range(images)
    return low >= LOW and high <= HIGH


def value_range(images: Tensor) -> tuple[float, float]:
    """Lowest and highest value of images."""
    return float(images.min()), float(images.max())


def example_stats(channels: int) -> Stats:
    """Statistics for a number of channels, as an example in a message."""
    return IMAGENET if channels == 3 else (0.5, 0.5)
