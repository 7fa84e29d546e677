"""Coloured digits, and what the monitor is told of them, for whatever trains the network."""

from __future__ import annotations

from typing import Any

import lightning as L
from colored_digits import ColoredDigits
from quickstart import CONCEPTS, with_attributes
from tiny_clip import load_tiny_clip
from torch import Tensor
from torch.utils.data import DataLoader

from sing_monitor.space.semantic_space import SemanticSpace

PROMPTS = {
    "colour": "an image of a {} digit",
    "background": "an image of a digit on a {} background",
}


def training_digits(shortcut: float, copies: int = 4) -> ColoredDigits:
    """Digits to learn from; for a share of them the ink gives the class away."""
    return ColoredDigits("train", shortcut, seed=1, copies=copies)


def validation_digits(copies: int = 4) -> ColoredDigits:
    """Other digits, with ink at random."""
    return ColoredDigits("val", seed=2, copies=copies)


class Digits(L.LightningDataModule):
    """Both, as Lightning takes them.

    Args:
        shortcut: share of the training images whose ink gives the class away.
        copies: how often each digit appears.
    """

    def __init__(self, shortcut: float = 0.0, copies: int = 4) -> None:
        super().__init__()
        self.shortcut = shortcut
        self.copies = copies

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        return DataLoader(training_digits(self.shortcut, self.copies), 64, shuffle=True)

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        return DataLoader(validation_digits(self.copies), 256)


def space() -> SemanticSpace:
    """The tiny vision-language model of these examples; configuration files name this function."""
    return load_tiny_clip()


def monitor_options() -> dict[str, Any]:
    """The options of the quickstart's monitor."""
    return {
        "space": space(),
        "concepts": CONCEPTS,
        "attribute_prompts": PROMPTS,
        "batch_adapter": with_attributes,
    }
