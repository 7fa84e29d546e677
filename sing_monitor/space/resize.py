"""Resizing as in open_clip, for batches of tensors instead of single PIL images."""

from __future__ import annotations

import torch
from torch import Tensor

RESIZE_MODES = ("shortest", "longest", "squash")
INTERPOLATIONS = ("bicubic", "bilinear")

# Rounding error of pixels that were normalized and restored.
_SLACK = 0.02


def resize_and_crop(
    images: Tensor, size: tuple[int, int], *, mode: str = "shortest", interpolation: str = "bicubic"
) -> Tensor:
    """Resize images to the input size of an image tower, with antialiasing.

    Args:
        images: (B, 3, H, W), floats in [0, 1].
        size: (height, width) to reach.
        mode: "shortest" (resize the shorter side, crop the center), "longest" (resize the longer
            side, pad with black) or "squash" (ignore the aspect ratio).
        interpolation: "bicubic" or "bilinear".

    Returns:
        (B, 3, height, width) float32 in [0, 1].

    Raises:
        TypeError: if the images are no float tensor.
        ValueError: if they have another shape, or values outside [0, 1].

    Example:
        >>> resize_and_crop(torch.ones(2, 3, 40, 50), (32, 32)).shape
        torch.Size([2, 3, 32, 32])
    """
    from torchvision.transforms.v2 import functional

    _check(images)
    resized = functional.resize(
        images.float(),
        _before_crop(images.shape[2], images.shape[3], size, mode),
        interpolation=functional.InterpolationMode(interpolation),
        antialias=True,
    )
    # Bicubic interpolation overshoots where an 8-bit image would saturate.
    return functional.center_crop(resized, list(size)).clamp(0, 1)


def _before_crop(height: int, width: int, size: tuple[int, int], mode: str) -> list[int]:
    """Size before the crop, as torchvision takes it: [shorter side] or [height, width]."""
    if mode == "squash":
        return list(size)
    if mode == "shortest" and size[0] == size[1]:
        return [size[0]]
    ratios = height / size[0], width / size[1]
    ratio = max(ratios) if mode == "longest" else min(ratios)
    return [round(height / ratio), round(width / ratio)]


def _check(images: Tensor) -> None:
    if not images.is_floating_point():
        raise TypeError(
            f"images are {images.dtype}; give floats in [0, 1], for 8-bit pixels images / 255"
        )
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images have shape {tuple(images.shape)}; expected (B, 3, H, W)")
    if images.numel() == 0:
        return
    low, high = torch.stack(images.aminmax()).tolist()
    if not (low >= -_SLACK and high <= 1 + _SLACK):
        raise ValueError(
            f"pixels lie in [{low:.3g}, {high:.3g}]; expected [0, 1]. "
            "Undo their normalization first: images * std + mean"
        )
