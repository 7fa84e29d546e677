"""PixelScale: how the values that a model sees become pixels in [0, 1] again."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from sing_monitor.errors import Option, SetupError
from sing_monitor.inputs.normalization import Stats
from sing_monitor.inputs.plain_values import plain

# Interpolation overshoots and half precision rounds, so [0, 1] has a margin.
LOW, HIGH = -0.02, 1.02
# Of statistics that were given or found, this share of pixels may still lie outside (overshoot).
_OUTLIERS = 0.01
# Pixels that are all within this of each other show nothing.
_FLAT = 0.02
# Photographs reach black and white in every channel; statistics that are not theirs miss them.
_EXACT = 0.01
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class PixelScale:
    """How a model's input maps back to pixels: ``pixel = value * std + mean``.

    Args:
        mean: one number, or one for each channel, in units of pixels in [0, 1].
        std: likewise.
        source: where the numbers come from, in plain words.
        doubt: why they may be wrong; empty where they are sure.
        effect: the range of the values that were seen, and what it becomes.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str
    doubt: str = field(default="", compare=False)
    effect: str = field(default="", compare=False)

    def restore(self, images: Tensor) -> Tensor:
        """The images as a semantic space wants them.

        Args:
            images: (B, c, H, W) with c 1 or 3, floating, or uint8 (then divided by 255).

        Returns:
            A new float32 tensor (B, 3, H, W) in [0, 1]; one channel is repeated.
        """
        pixels = self.undo(images).clamp(0, 1)
        return pixels.repeat(1, 3, 1, 1) if pixels.shape[1] == 1 else pixels

    def __str__(self) -> str:
        return f"mean {self.mean}, std {self.std}"

    def undo(self, images: Tensor) -> Tensor:
        """``value * std + mean``, float32, of the same shape and not clamped."""
        values = images.detach().to(torch.float32)
        if images.dtype == torch.uint8:
            return values / 255
        std, mean = (_per_channel(numbers, images.device) for numbers in (self.std, self.mean))
        return values * std + mean


@lru_cache(maxsize=16)
def _per_channel(numbers: tuple[float, ...], device: torch.device) -> Tensor:
    """(1, c, 1, 1), kept on the device: a copy to it for every batch would wait for it."""
    with torch.inference_mode(False):
        return torch.tensor(numbers, dtype=torch.float32, device=device).reshape(1, -1, 1, 1)


def parse_stats(stats: Any, images: Tensor, source: str) -> PixelScale:
    """Check (mean, std) and bring it to units of pixels in [0, 1].

    Args:
        stats: (mean, std), each one number or one for each channel.
        images: that are said to be normalised with it, (B, c, H, W).
        source: where it comes from, in plain words.

    Raises:
        SetupError: if it is anything else, or of another number of channels.
    """
    channels = images.shape[1]
    in_range = images.dtype == torch.uint8 or in_unit_range(images)
    example = Option("pixel_stats", "(0, 1)" if in_range else repr(example_stats(channels)))
    try:
        mean, std = (
            tuple(torch.as_tensor(part, dtype=torch.float64).flatten().tolist())
            for part in plain(stats)
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
    # Numbers above 1 count in 0..255. Where that leaves next to nothing of the images' contrast,
    # they were in units of [0, 1] after all.
    scales = [
        PixelScale(tuple(x / unit for x in mean), tuple(x / unit for x in std), source)
        for unit in (255, 1)
    ]
    visible = [each for each in scales if inside(each, images) and not is_flat(each, images)]
    return visible[0] if visible else scales[0]


def inside(scale: PixelScale, images: Tensor, outliers: float = _OUTLIERS) -> bool:
    """Whether the pixels lie in [0, 1], but for a share of outliers."""
    pixels = scale.undo(images)
    return float(((pixels < LOW) | (pixels > HIGH)).float().mean()) <= outliers


def fills(scale: PixelScale, images: Tensor) -> bool:
    """Whether the pixels of every channel reach from black to white, and no further."""
    pixels = scale.undo(images)
    low, high = pixels.amin(dim=(0, 2, 3)), pixels.amax(dim=(0, 2, 3))
    return bool((low.abs() <= _EXACT).all() and ((high - 1).abs() <= _EXACT).all())


def is_flat(scale: PixelScale, images: Tensor, contrast: float = _FLAT) -> bool:
    """Whether every channel of the pixels has less than a contrast."""
    pixels = scale.undo(images)
    return bool((pixels.amax(dim=(0, 2, 3)) - pixels.amin(dim=(0, 2, 3)) < contrast).all())


def in_unit_range(images: Tensor) -> bool:
    """Whether all values lie in [0, 1] already."""
    low, high = value_range(images)
    return low >= LOW and high <= HIGH


def value_range(images: Tensor) -> tuple[float, float]:
    """The lowest and the highest value."""
    return float(images.min()), float(images.max())


def example_stats(channels: int) -> Stats:
    """Statistics that fit as many channels, for a sentence."""
    return IMAGENET if channels == 3 else (0.5, 0.5)
