"""Pixels back in [0, 1]: how the images that the model sees were normalised, and how to undo it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn

from sing_monitor.callbacks.batches import inner_datasets, pretrained_configs, read_attribute

# Interpolation overshoots and half precision rounds, so [0, 1] has a margin.
LOW, HIGH = -0.02, 1.02
# Of statistics that were given or found, this share of pixels may still lie outside (overshoot).
_OUTLIERS = 0.01
_EXAMPLE = "pixel_stats=((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))"


@dataclass(frozen=True)
class PixelScale:
    """How a model's input maps back to pixels: ``pixel = value * std + mean``.

    Args:
        mean: one number, or one for each channel, in units of pixels in [0, 1].
        std: likewise.
        source: where the numbers come from, in plain words.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str

    def restore(self, images: Tensor) -> Tensor:
        """The images as a semantic space wants them.

        Args:
            images: (B, c, H, W) with c 1 or 3, floating, or uint8 (then divided by 255).

        Returns:
            A new float32 tensor (B, 3, H, W) in [0, 1]; one channel is repeated.
        """
        pixels = self._undo(images).clamp(0, 1)
        return pixels.repeat(1, 3, 1, 1) if pixels.shape[1] == 1 else pixels

    def _undo(self, images: Tensor) -> Tensor:
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


def find_pixel_scale(
    pixel_stats: Any, dataset: object, images: Tensor, model: nn.Module | None
) -> PixelScale:
    """Find how the validation images were normalised.

    The first that gives an answer: uint8 images; ``pixel_stats``; a Normalize in the transforms of
    the data set; values seen to lie in [0, 1]; the model's timm config, if the pixels it gives lie
    in [-0.02, 1.02]. Statistics with a mean above 1 count in 0..255 and are divided by 255.

    Args:
        pixel_stats: None, or ``(mean, std)``, each a number or one for each channel. ``(0, 1)``
            says that nothing was normalised.
        dataset: the validation data set, wrapped or not, or None.
        images: the first batch, (B, c, H, W).
        model: the LightningModule or any module, or None.

    Raises:
        MisconfigurationException: if no source fits the pixels seen, two sources differ, or the
            batch is empty or not finite.

    Example:
        >>> find_pixel_scale(None, None, torch.rand(2, 3, 8, 8), None).source
        'values already in [0, 1]'
    """
    if images.numel() == 0 or not bool(torch.isfinite(images).all()):
        raise MisconfigurationException(
            "The first validation batch is empty or holds NaN or infinite pixels "
            f"(shape {tuple(images.shape)}), so its scale cannot be found. Mend the data set."
        )
    if images.dtype == torch.uint8:
        return PixelScale((0.0,), (1.0,), "uint8")
    channels = images.shape[1]
    if pixel_stats is not None:
        return _fitting(_parse(pixel_stats, channels, "pixel_stats"), images)
    found = _only_one(
        [_parse(stats, channels, "Normalize in the validation transforms")
         for stats in _normalize_stats(dataset)]
    )  # fmt: skip
    if found is not None:
        return _fitting(found, images)
    low, high = float(images.min()), float(images.max())
    if low >= LOW and high <= HIGH:
        return PixelScale((0.0,), (1.0,), "values already in [0, 1]")
    # Values that fill [-1, 1] exactly were scaled by hand. ImageNet's statistics would map them
    # into [0.2, 0.8]: in range, and wrong.
    by_hand = abs(low + 1) < 0.02 and abs(high - 1) < 0.02
    config = _only_one(
        [scale for scale in _timm_scales(model, channels)
         if _inside(scale, images) and not (by_hand and scale.mean[0] != 0.5)]
    )  # fmt: skip
    if config is not None:
        return config
    raise MisconfigurationException(
        f"The scale of the pixels is unknown: {_ranges(images)}, no Normalize was found in the "
        "validation data set's transforms, and the model has no timm config that brings them to "
        f"[0, 1]. {_advice(low, high)}"
    )


def _parse(stats: Any, channels: int, source: str) -> PixelScale:
    """Check (mean, std) and bring it to pixels in [0, 1]."""
    try:
        mean, std = (
            tuple(torch.as_tensor(part, dtype=torch.float64).flatten().tolist()) for part in stats
        )
    except (TypeError, ValueError, RuntimeError) as error:
        raise MisconfigurationException(
            f"{source} is {stats!r}; expected (mean, std), each a number or one number for each "
            f"channel, such as {_EXAMPLE}."
        ) from error
    fits = all(len(part) in (1, channels) for part in (mean, std))
    if not fits or not all(map(math.isfinite, mean + std)) or min(std) <= 0:
        raise MisconfigurationException(
            f"{source} has mean {mean} and std {std}, but the images have {channels} channel(s): "
            "give one finite number or one for each channel, and a std above 0, such as "
            f"{_EXAMPLE}."
        )
    unit = 255 if max(mean) > 1 else 1
    mean, std = (tuple(x / unit for x in part) * (channels // len(part)) for part in (mean, std))
    return PixelScale(mean, std, source)


def _normalize_stats(dataset: object) -> Iterator[tuple[Any, Any]]:
    """(mean, std) of every Normalize in a data set and in those that it wraps."""
    for name in ("transform", "transforms"):
        yield from _walk(read_attribute(dataset, name))
    for inner in inner_datasets(dataset):
        yield from _normalize_stats(inner)


def _walk(transform: Any) -> Iterator[tuple[Any, Any]]:
    mean, std = getattr(transform, "mean", None), getattr(transform, "std", None)
    # By name, so that torchvision's (v1, v2, presets), albumentations' and a user's own all count.
    # Albumentations' other modes take the statistics from each image: nothing to undo them with.
    named = type(transform).__name__ in ("Normalize", "ImageClassification")
    fixed = getattr(transform, "normalization", "standard") == "standard"
    if named and fixed and mean is not None and std is not None:
        yield mean, std
        return
    inside = [getattr(transform, "transform", None)]
    several = getattr(transform, "transforms", None)
    if isinstance(transform, (nn.Sequential, nn.ModuleList, list, tuple)):
        several = list(transform)
    if isinstance(several, (Sequence, nn.ModuleList)):
        inside += list(several)
    for part in inside:
        if part is not None:
            yield from _walk(part)


def _timm_scales(model: nn.Module | None, channels: int) -> Iterator[PixelScale]:
    for config in pretrained_configs(model):
        mean, std = config.get("mean"), config.get("std")
        # A grey-scale model keeps its three-channel statistics; they say nothing about one channel.
        if all(isinstance(s, (tuple, list)) and len(s) in (1, channels) for s in (mean, std)):
            yield _parse((mean, std), channels, "timm's default_cfg")


def _only_one(scales: Sequence[PixelScale]) -> PixelScale | None:
    distinct = list(dict.fromkeys(scales))
    if len(distinct) > 1:
        stats = " and ".join(f"({scale.mean}, {scale.std})" for scale in distinct)
        raise MisconfigurationException(
            f"{distinct[0].source}: different statistics were found: {stats}. Say which hold for "
            f"the validation images, for instance {_EXAMPLE}."
        )
    return distinct[0] if distinct else None


def _inside(scale: PixelScale, images: Tensor, outliers: float = 0.0) -> bool:
    pixels = scale._undo(images)
    return float(((pixels < LOW) | (pixels > HIGH)).float().mean()) <= outliers


def _fitting(scale: PixelScale, images: Tensor) -> PixelScale:
    if _inside(scale, images, _OUTLIERS):
        return scale
    raise MisconfigurationException(
        f"{scale.source} (mean {scale.mean}, std {scale.std}) does not fit the images: "
        f"{_ranges(images)}, and, undone, {_ranges(scale._undo(images))}, outside [0, 1]. "
        f"{_advice(float(images.min()), float(images.max()))}"
    )


def _ranges(images: Tensor) -> str:
    ranges = zip(images.amin(dim=(0, 2, 3)), images.amax(dim=(0, 2, 3)), strict=True)
    parts = [f"channel {i} from {low:.4g} to {high:.4g}" for i, (low, high) in enumerate(ranges)]
    return "values of " + ", ".join(parts)


def _advice(low: float, high: float) -> str:
    """The fix, with the statistics that the range suggests."""
    if low >= 0 and 2 < high <= 255:
        return "They look like 0..255 stored as floats: pass pixel_stats=(0.0, 1 / 255)."
    if low >= -1.02 and high <= 1.02:
        return f"If they were scaled to [-1, 1], pass pixel_stats=(0.5, 0.5), else {_EXAMPLE}."
    return f"Pass what the images were normalised with, for instance {_EXAMPLE}."
