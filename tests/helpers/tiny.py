"""A tiny classifier, tiny data and a tiny semantic space for the tests that train."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import timm
import torch
from lightning.pytorch.loggers import MLFlowLogger
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2.functional import to_pil_image

from sing_monitor import SINGCallback
from tests.helpers.stores.databases import empty_database

CLASSES = ("cat", "dog", "ship", "tree")
SIDE = 12
# These read all that is captured by default: features, embeddings, maps and weights.
READS_EVERYTHING = ("sing", "head", "focus", "dynamics")


class HashSpace:
    """Images by a fixed random map of their pixels, texts by a hash: fast and always the same."""

    name = "hash-space"
    dim = 10

    def __init__(self) -> None:
        self.images = 0
        self._map = torch.randn(3 * SIDE * SIDE, self.dim, generator=_generator(0))

    def encode_images(self, images: Tensor) -> Tensor:
        self.images += len(images)
        # Noise that is drawn and thrown away: the callback must guard the generators.
        torch.rand(3)
        # In double precision the other images of a batch leave no rounding.
        return interpolate(images, SIDE).flatten(1).double() @ self._map.to(images.device).double()

    def encode_texts(self, texts: list[str]) -> Tensor:
        torch.rand(3)
        seeds = [hashlib.blake2b(text.encode(), digest_size=4).digest() for text in texts]
        return torch.stack(
            [torch.randn(self.dim, generator=_generator(int.from_bytes(s))) for s in seeds]
        )


class Blobs(Dataset[tuple[Tensor, Tensor]]):
    """Noisy images whose class is a colour cast; learnable in a few steps."""

    classes = CLASSES

    def __init__(self, size: int = 48, seed: int = 0, augment: bool = False) -> None:
        g = _generator(seed)
        self.labels = torch.arange(size) % len(CLASSES)
        casts = torch.rand(len(CLASSES), 3, 1, 1, generator=_generator(99))
        noise = torch.rand(size, 3, SIDE, SIDE, generator=g)
        self.images = (0.6 * casts[self.labels] + 0.4 * noise).mul(255).round() / 255
        self.augment = augment

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = self.images[index]
        if self.augment and torch.rand(()) < 0.5:
            image = image.flip(-1) * (0.9 + 0.1 * torch.rand(()))
        return image, self.labels[index]


class Classifier(L.LightningModule):
    """A convolution, dropout and a linear head, or any other network."""

    def __init__(self, network: nn.Module | None = None, seed: int = 0) -> None:
        super().__init__()
        if network is None:
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                network = nn.Sequential(
                    nn.Conv2d(3, 16, 3, stride=2),
                    nn.BatchNorm2d(16),
                    nn.ReLU(),
                    nn.AdaptiveAvgPool2d(1),
                    nn.Flatten(),
                    nn.Dropout(0.2),
                    nn.Linear(16, len(CLASSES)),
                )
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        images, labels = batch[:2] if isinstance(batch, Sequence) else batch.values()
        self.log("val_loss", cross_entropy(self(images), labels.long().flatten()))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 1e-2)


def loader(dataset: Dataset[Any], batch_size: int = 16, shuffle: bool = False) -> DataLoader[Any]:
    return DataLoader(dataset, batch_size, shuffle=shuffle)


def image_folder(folder: Path, size: int) -> Path:
    """Blobs as PNG files, in a folder for each class."""
    blobs = Blobs(size)
    for index, (image, label) in enumerate(zip(blobs.images, blobs.labels, strict=True)):
        path = folder / CLASSES[label] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        to_pil_image(image).save(path)
    return folder


def callback(**changes: Any) -> SINGCallback:
    """A callback that reports every fault, unless told otherwise; of few maps, which are quick."""
    arguments = {"space": HashSpace(), "cache_dir": None, "concepts": ["red", "striped"]}
    arguments["n_maps"] = 8
    return SINGCallback(**{**arguments, "on_error": "raise", **changes})


def quick_callback(**changes: Any) -> SINGCallback:
    """A callback for tests of what is captured and when, not of all that is made of it.

    The other analyses read the same again, and take a third of the time of a training.
    """
    return callback(**{"analyses": READS_EVERYTHING, **changes})


def trainer(folder: Path, *callbacks: L.Callback, **changes: Any) -> L.Trainer:
    """A quiet trainer on the CPU; without a logger unless one is given."""
    arguments: dict[str, Any] = {
        "accelerator": "cpu",
        "max_epochs": 2,
        "logger": False,
        "callbacks": list(callbacks),
        "default_root_dir": folder,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "log_every_n_steps": 1,
    }
    return L.Trainer(**{**arguments, **changes})


def mlflow_logger(folder: Path, **changes: Any) -> MLFlowLogger:
    """A real store: a database and artifacts below a folder."""
    arguments = {
        "tracking_uri": empty_database(folder / "mlflow.db"),
        "artifact_location": str(folder / "artifacts"),
    }
    return MLFlowLogger(**{**arguments, **changes})


def timm_classifier() -> Classifier:
    """The smallest real timm network."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Classifier(timm.create_model("test_resnet", num_classes=len(CLASSES)))


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
