"""A second opinion: what the monitor should log, by a plain forward pass at the same moment."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from sing_monitor.head.geometry import HeadGeometry
from sing_monitor.head.torch_internals import unwrapped
from tests.helpers import tiny

Features = Callable[[Any, Tensor], Tensor]


def plain_features(module: Any, images: Tensor) -> Tensor:
    """What enters the last layer of ``module.network``, whether that is compiled or not."""
    return unwrapped(module.network)[:-1](images)


def null_energy(module: Any, images: Tensor, features: Features = plain_features) -> float:
    """``head/null_energy`` of ``module.network`` on images; the module is in eval mode."""
    head: nn.Module = unwrapped(unwrapped(module.network)[-1])
    with torch.no_grad():
        seen = features(module, images.to(head.weight)).double()
    null = HeadGeometry.from_weight(head.weight).null(seen)
    return float(null.square().sum() / seen.square().sum())


class Witness(L.Callback):
    """Keeps, of every validation, where it took place, what was logged and what is true.

    Args:
        images: those that are validated.
        features: how the module makes features of images.
    """

    def __init__(self, images: Tensor | None = None, features: Features = plain_features) -> None:
        self.places: list[tuple[int, int]] = []
        self.logged: list[dict[str, float]] = []
        self.true_energy: list[float] = []
        self._images = tiny.Blobs().images if images is None else images
        self._features = features

    def on_validation_batch_start(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if batch_idx == dataloader_idx == 0 and not trainer.sanity_checking:
            self.true_energy.append(null_energy(pl_module, self._images, self._features))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.sanity_checking:
            self.places.append((trainer.current_epoch, trainer.global_step))
            self.logged.append({k: float(v) for k, v in trainer.callback_metrics.items()})

    def curve(self, key: str) -> list[float]:
        """A metric's values, one for each validation."""
        return [metrics[key] for metrics in self.logged]

    @property
    def scored(self) -> list[tuple[int, int]]:
        """(epoch, global step) of the validations that were analysed."""
        scores = self.curve("sing/image_score")
        return [
            place for place, score in zip(self.places, scores, strict=True) if math.isfinite(score)
        ]
