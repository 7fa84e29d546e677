"""Share of images that ``monitor/near_copies`` takes for copies, of sets without and with copies.

In the tiny CLIP of the examples and in plain pixels, from seed 0. Needs Debian's package
dataset-fashion-mnist, or leaves Fashion-MNIST out.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from colored_digits import ColoredDigits
from sklearn.datasets import load_digits
from tiny_clip import load_tiny_clip
from torch import Tensor
from torch.nn.functional import interpolate

from sing_monitor.scores.near_copies import near_copies
from sing_monitor.space.fingerprints import mix64

FASHION = Path("/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz")
HEADER = 16
BOUNDS = (0.98, 0.99)
SEED = 0


def distinct() -> Iterator[tuple[str, Tensor]]:
    """Images without copies, (N, 3, H, W) in [0, 1]."""
    if FASHION.exists():
        raw = np.frombuffer(gzip.decompress(FASHION.read_bytes()), np.uint8, offset=HEADER)
        images = torch.from_numpy(raw.reshape(-1, 1, 28, 28).copy()).float() / 255
        yield "Fashion-MNIST", images.expand(-1, 3, -1, -1)
    digits = torch.from_numpy(load_digits().images).float()[:, None] / 16
    yield "digits", interpolate(digits, 32, mode="bilinear").expand(-1, 3, -1, -1)
    for split in ("val", "train"):
        yield f"coloured digits, {split}", ColoredDigits(split, seed=SEED).images.float() / 255
    four = ColoredDigits("val", seed=SEED, copies=4)
    yield "coloured digits, each drawn 4 times", four.images.float() / 255


def copies(images: Tensor) -> Iterator[tuple[str, Tensor]]:
    """A copy of each image, changed a little."""
    generator = torch.Generator().manual_seed(SEED)
    yield "a little darker", (0.95 * images + 0.02).clamp(0, 1)
    yield "noise of 0.02", images + 0.02 * torch.randn(images.shape, generator=generator)
    yield "shifted by a pixel", images.roll(1, dims=3)


def shares(embeddings: Tensor) -> str:
    """What is found by image, at each bound."""
    folds = mix64(torch.arange(len(embeddings))) & 1
    return "  ".join(f"{near_copies(embeddings, folds, bound):5.3f}" for bound in BOUNDS)


def main() -> None:
    """Print a line for each set of images."""
    space = load_tiny_clip()

    def embedded(images: Tensor) -> Tensor:
        return torch.cat([space.encode_images(some).float() for some in images.split(512)])

    bounds = "  ".join(f"{bound:5}" for bound in BOUNDS)
    print(f"{'':75}     N   {bounds}")
    for name, images in distinct():
        print(f"{name + ', tiny CLIP':75} {len(images):5}   {shares(embedded(images))}")
        print(f"{name + ', pixels':75} {len(images):5}   {shares(images.flatten(1))}")
        some = images[:1000]
        for what, changed in copies(some):
            both = torch.cat([some, changed.clamp(0, 1)])
            line = f"{name} with copies, {what}, tiny CLIP"
            print(f"{line:75} {len(both):5}   {shares(embedded(both))}")


if __name__ == "__main__":
    main()
