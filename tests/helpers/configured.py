"""What configuration files name: parts of a training by their import paths."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from sing_monitor.inputs.batches import Batch
from tests.helpers import tiny


class Space:
    """Without annotations, as people write one."""

    name, dim = "configured", 8

    def encode_images(self, images):
        return images.flatten(1)[:, : self.dim].double()

    def encode_texts(self, texts):
        return torch.ones(len(texts), self.dim).cumsum(0).cumsum(1)


class Network(L.LightningModule):
    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(3 * tiny.SIDE**2, width), nn.ReLU())
        self.fc = nn.Linear(width, len(tiny.CLASSES))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.body(images))

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


class Data(L.LightningDataModule):
    """No class names: a configuration may give them."""

    def train_dataloader(self) -> DataLoader[Any]:
        blobs = tiny.Blobs(16)
        return DataLoader(TensorDataset(blobs.images, blobs.labels), 8)

    def val_dataloader(self) -> DataLoader[Any]:
        return self.train_dataloader()


def probe(size: int = 8) -> DataLoader:
    return tiny.loader(tiny.Blobs(size))


def adapt(batch: Any) -> Batch:
    return Batch(batch[0], batch[1])
