"""Fingerprints: numbers for the pixels of images, equal in every batch, device and process."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

# Never to change: fingerprints are the keys of caches on disk.
_SEED = 20260314


def to_uint8(images: Tensor) -> Tensor:
    """Round images in [0, 1] to 8 bits; values outside saturate.

    Args:
        images: floats, any shape.

    Returns:
        uint8 of the same shape and device.

    Raises:
        TypeError: if the images are not floats.

    Example:
        >>> to_uint8(torch.tensor([0.0, 0.5, 1.0, 1.01]))
        tensor([  0, 128, 255, 255], dtype=torch.uint8)
    """
    if not images.is_floating_point():
        raise TypeError(f"images are {images.dtype}; expected floats in [0, 1]")
    # In place after the first copy: a batch of large images is tens of megabytes.
    return images.float().mul(255).round_().clamp_(0, 255).to(torch.uint8)


def fingerprint(images: Tensor) -> Tensor:
    """Compute a number for the content of each image, on every device and in every process equal.

    With the image's bytes read as little-endian 64-bit words x_i and fixed random odd k and c_i,

        y_i = k x_i,    h = fmix64(sum_i c_i (y_i ^ (y_i >>> 32)) + c'_1 C + c'_2 H + c'_3 W)

    modulo 2^64. In a sum of c_i x_i alone, a difference in the top byte of a word would change the
    top byte only. The shift spreads it, and k breaks the symmetry by which equal differences in
    both halves of a word would cancel in the shift. fmix64, the finisher of MurmurHash3, makes
    every bit depend on all: the lowest one serves as a fold, the others as a uniform number. It
    does not withstand a search for collisions.

    Args:
        images: (B, C, H, W) uint8.

    Returns:
        (B,) int64 on the images' device, each independent of the rest of the batch.

    Raises:
        TypeError: if the images are not uint8.
        ValueError: if the images do not have four dimensions.
    """
    return mix64(word_sums(images))


def word_sums(images: Tensor) -> Tensor:
    """The sums of :func:`fingerprint` before fmix64, (B,) int64; arguments and errors as there."""
    if images.dtype != torch.uint8:
        raise TypeError(f"images are {images.dtype}; expected uint8, see to_uint8")
    if images.ndim != 4:
        raise ValueError(f"images have shape {tuple(images.shape)}; expected (B, C, H, W)")
    sums = _sums_on_cpu if images.device.type == "cpu" else _sums_on_device
    return sums(images)


def _sums_on_device(images: Tensor) -> Tensor:
    """The sums of images before they are mixed, (B,) int64."""
    count, *shape = images.shape
    size = math.prod(shape)
    factor, terms, offset = _constants(tuple(shape), images.device)
    # A fresh buffer, because a view as words needs aligned memory as well as the padding.
    buffer = torch.zeros(count, 8 * len(terms), dtype=torch.uint8, device=images.device)
    buffer[:, :size] = images.reshape(count, size)
    # In place, for speed: a batch of large images is tens of megabytes.
    scaled = buffer.view(torch.int64).mul_(factor)
    mixed = _shift(scaled, 32).bitwise_xor_(scaled).mul_(terms)
    return mixed.sum(1) + offset


def _sums_on_cpu(images: Tensor) -> Tensor:
    """The same by numpy.

    torch shares such short steps out among threads, and they wait for each other where other
    processes want the cores.
    """
    count, *shape = images.shape
    size = math.prod(shape)
    factor, terms, offset = (
        each.numpy().view(np.uint64) for each in _constants(tuple(shape), images.device)
    )
    rows = images.numpy().reshape(count, size)
    if padding := 8 * len(terms) - size:
        rows = np.pad(rows, ((0, 0), (0, padding)))
    mixed = np.ascontiguousarray(rows).view(np.uint64) * factor
    mixed ^= mixed >> np.uint64(32)
    sums = mixed @ terms + offset
    return torch.from_numpy(sums.view(np.int64))


def mix64(words: Tensor) -> Tensor:
    """Scatter numbers over all of int64: fmix64, the finisher of MurmurHash3.

    Every bit of the result depends on all bits of the number, and no two numbers share a result.

    Args:
        words: int64, any shape.

    Returns:
        int64, of the same shape and device.

    Example:
        >>> (mix64(torch.arange(8)) & 1).tolist()
        [0, 0, 1, 0, 1, 1, 1, 1]
    """
    words = (words ^ _shift(words, 33)) * (0xFF51AFD7ED558CCD - 2**64)
    words = (words ^ _shift(words, 33)) * (0xC4CEB9FE1A85EC53 - 2**64)
    return words ^ _shift(words, 33)


@lru_cache(maxsize=8)
def _constants(shape: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Constants k, c_i and c'_1 C + c'_2 H + c'_3 W, from a fixed sequence of random odd numbers.

    They stay on the device, because each copy would wait for the device.
    """
    words = -(-math.prod(shape) // 8)
    raw = np.random.PCG64(_SEED).random_raw(4 + words) | np.uint64(1)
    # Tensors of inference mode, in which validation loops run, cannot be used outside; these can.
    with torch.inference_mode(False):
        odd = torch.from_numpy(raw.view(np.int64))
        offset = (odd[1:4] * torch.tensor(shape)).sum()
        return odd[0].to(device), odd[4:].to(device), offset.to(device)


def _shift(words: Tensor, bits: int) -> Tensor:
    """Shift bits to the right and fill in zeros; torch's own shift repeats the sign bit."""
    return (words >> bits).bitwise_and_((1 << (64 - bits)) - 1)
