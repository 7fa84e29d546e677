"""A small network trained on the coloured digits in plain PyTorch: no Lightning, no monitor."""

from __future__ import annotations

from typing import Any

import timm
import torch
from colored_digits import CLASSES, ColoredDigits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, default_collate
from tqdm import tqdm


def digits(split: str, *, shortcut: float = 0.0, copies: int = 4) -> DataLoader[Any]:
    """Loader of (images, labels); the training split is shuffled."""
    data = ColoredDigits(split, shortcut, seed=1 if split == "train" else 2, copies=copies)

    def pairs(items: list[dict[str, Tensor]]) -> list[Tensor]:
        batch = default_collate(items)
        return [batch["image"], batch["label"]]

    return DataLoader(data, 64, shuffle=split == "train", collate_fn=pairs)


def trained_network(shortcut: float, *, epochs: int = 5, copies: int = 4) -> nn.Module:
    """A narrow ResNet, trained on digits whose ink gives the class away for a share of them."""
    torch.manual_seed(0)
    model = timm.create_model(
        "resnet10t", num_classes=len(CLASSES), channels=(16, 32, 64, 128), stem_width=16
    )
    loader = digits("train", shortcut=shortcut, copies=copies)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    for epoch in range(epochs):
        for images, labels in tqdm(loader, f"epoch {epoch}", leave=False):
            optimizer.zero_grad()
            cross_entropy(model(images), labels).backward()
            optimizer.step()
    return model.eval()
