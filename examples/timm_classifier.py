"""Any timm network as a LightningModule: what the larger examples train. It knows no monitor."""

from __future__ import annotations

from typing import Any

import lightning as L
import timm
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


class TimmClassifier(L.LightningModule):
    """A timm network, AdamW, and one cycle of the learning rate.

    Args:
        architecture: timm's name.
        num_classes: of the data set.
        learning_rate: its peak.
        options: of `timm.create_model`, such as `pretrained=True`.
    """

    def __init__(
        self, architecture: str, num_classes: int, learning_rate: float = 4e-3, **options: Any
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.network = timm.create_model(architecture, num_classes=num_classes, **options)

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        images, labels = _images_and_labels(batch)
        loss = cross_entropy(self(images), labels, label_smoothing=0.1)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        images, labels = _images_and_labels(batch)
        logits = self(images)
        accuracy = (logits.argmax(dim=1) == labels).float().mean()
        self.log("val_loss", cross_entropy(logits, labels), sync_dist=True)
        self.log("val_accuracy", accuracy, prog_bar=True, sync_dist=True)

    def configure_optimizers(self) -> Any:
        rate = self.hparams["learning_rate"]
        optimizer = torch.optim.AdamW(self.parameters(), rate, weight_decay=0.05)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def _images_and_labels(batch: Any) -> tuple[Tensor, Tensor]:
    """Of a batch of tuples, or of dicts as the coloured digits are."""
    images, labels = (batch["image"], batch["label"]) if isinstance(batch, dict) else batch
    return images, labels
