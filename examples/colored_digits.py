"""Real handwritten digits in random ink on random backgrounds.

The digits are scikit-learn's (8x8, 1,797 of them, shipped inside that library, so nothing is
downloaded). Each is enlarged into a 32x32 colour image. Ink and background are drawn
independently of the class, unless a `shortcut` is asked for: then the ink colour gives the class
away for that share of the images.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor
from torch.utils.data import Dataset

CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
COLOURS = ("red", "green", "blue", "yellow", "purple", "cyan")
BACKGROUNDS = ("black", "white", "gray")

_INK = torch.tensor(
    [
        [0.85, 0.12, 0.12],
        [0.10, 0.65, 0.15],
        [0.15, 0.25, 0.90],
        [0.90, 0.75, 0.05],
        [0.65, 0.15, 0.80],
        [0.10, 0.75, 0.80],
    ]
)
_BACK = torch.tensor([[0.05, 0.05, 0.05], [0.97, 0.97, 0.97], [0.50, 0.50, 0.50]])

IMAGE_SIZE = 32
# Which digits belong to which split is fixed once: two data sets never share a digit across splits,
# whatever their seeds.
_SPLIT_SEED = 1797
_SPLIT_SHARES = {"clip": (0.0, 0.4), "train": (0.4, 0.8), "val": (0.8, 1.0)}


@cache
def _load() -> tuple[Tensor, Tensor]:
    """Scikit-learn's digits: opacity of the ink in [0, 1], (1797, 1, 8, 8), and labels (1797,)."""
    digits = load_digits()
    ink = torch.from_numpy(digits.images).float()[:, None] / 16
    return ink, torch.from_numpy(digits.target.astype(np.int64))


def split_indices(split: str) -> Tensor:
    """Positions in scikit-learn's digits that make up one split.

    Args:
        split: "clip" (trains the vision-language model, 40 %), "train" (trains a classifier,
            40 %) or "val" (the probe, 20 %). No digit is in two of them.

    Returns:
        Sorted int64 indices, shape (D,).

    Raises:
        ValueError: the split is unknown.
    """
    if split not in _SPLIT_SHARES:
        raise ValueError(f"Unknown split {split!r}; choose one of {', '.join(_SPLIT_SHARES)}.")
    count = len(_load()[1])
    order = np.random.default_rng(_SPLIT_SEED).permutation(count)
    start, stop = (round(share * count) for share in _SPLIT_SHARES[split])
    return torch.from_numpy(np.sort(order[start:stop]))


class ColoredDigits(Dataset[dict[str, Tensor]]):
    """Coloured handwritten digits, rendered once when built.

    Each item is a dict: `image` (3, 32, 32) float32 in [0, 1], int64 scalars `label`, `colour`,
    `background` that index `classes`, `colours`, `backgrounds`, and `digit`, which of
    scikit-learn's digits it shows.

    Args:
        split: "clip", "train" or "val"; see `split_indices`.
        shortcut: share of the images, in [0, 1], whose ink is colour `label % 6`. The ink of the
            others is drawn independently of the class.
        seed: colours, positions and sizes follow from it and from nothing else.
        copies: how often each digit appears, each time with another colour and position.

    Attributes:
        images: all pixels, uint8, (N, 3, 32, 32).
        labels, colour_ids, background_ids: int64, (N,).
        digit_ids: which of scikit-learn's digits each image shows, int64, (N,).

    Raises:
        ValueError: an unknown split, a share outside [0, 1], or fewer than one copy.

    Example:
        >>> data = ColoredDigits("val", seed=0)
        >>> len(data), tuple(data[0]["image"].shape), data.classes[7]
        (359, (3, 32, 32), 'seven')
    """

    classes = CLASSES
    colours = COLOURS
    backgrounds = BACKGROUNDS

    def __init__(self, split: str, shortcut: float = 0.0, seed: int = 0, copies: int = 1) -> None:
        if not 0.0 <= shortcut <= 1.0:
            raise ValueError(f"shortcut={shortcut} is not a share; give a number from 0 to 1.")
        if copies < 1:
            raise ValueError(f"copies={copies}; give at least 1.")
        rng = np.random.default_rng(seed)
        self.digit_ids = split_indices(split).repeat(copies)
        self.labels = _load()[1][self.digit_ids]
        count = len(self.labels)

        self.colour_ids = torch.from_numpy(rng.integers(len(COLOURS), size=count))
        self.background_ids = torch.from_numpy(rng.integers(len(BACKGROUNDS), size=count))
        given_away = torch.from_numpy(rng.permutation(count)[: round(shortcut * count)])
        self.colour_ids[given_away] = self.labels[given_away] % len(COLOURS)

        self.images = _render(self.digit_ids, self.colour_ids, self.background_ids, rng)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {
            "image": self.images[index].float() / 255,
            "label": self.labels[index],
            "colour": self.colour_ids[index],
            "background": self.background_ids[index],
            "digit": self.digit_ids[index],
        }


def _render(
    digits: Tensor, colours: Tensor, backgrounds: Tensor, rng: np.random.Generator
) -> Tensor:
    """Draw each digit at a random place and size; (N,) indices to uint8 (N, 3, 32, 32)."""
    count = len(digits)
    # A scale of 1.3 leaves the digit about 25 pixels high; grid_sample reads zeros outside it.
    scale = torch.from_numpy(rng.uniform(1.1, 1.5, size=(count, 1, 1))).float()
    shift = torch.from_numpy(rng.uniform(-0.15, 0.15, size=(count, 2, 1))).float()
    affine = torch.cat([scale * torch.eye(2), scale * shift], dim=2)
    grid = F.affine_grid(affine, [count, 1, IMAGE_SIZE, IMAGE_SIZE], align_corners=False)
    opacity = F.grid_sample(_load()[0][digits], grid, mode="bicubic", align_corners=False).clamp(
        0, 1
    )

    def shade(palette: Tensor, ids: Tensor) -> Tensor:
        jitter = torch.from_numpy(rng.normal(0, 0.03, size=(count, 3))).float()
        return (palette[ids] + jitter)[:, :, None, None]

    image = opacity * shade(_INK, colours) + (1 - opacity) * shade(_BACK, backgrounds)
    return (image.clamp(0, 1) * 255).round().to(torch.uint8)
