"""In a real training, whose validation step shows no answer: the accuracies tell the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from tests.helpers import tiny
from tests.sweep.catalogue import sampled
from tests.sweep.truth import answer_of, find_truth
from tests.sweep.verdict import words

RIGHT = (
    "timm-test_resnet",
    "torchvision-shufflenet_v2_x0_5",
    "transformers-ImageGPTForImageClassification",
    "transformers-PerceiverForImageClassificationFourier",
)
REFUSED = (
    "transformers-DeiTForImageClassificationWithTeacher",
    "transformers-SwiftFormerForImageClassification",
)


class Training(L.LightningModule):
    """Any network, trained at no learning rate."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        output = self.net(batch[0])
        return cross_entropy(answer_of(output, detach=False), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        hits = answer_of(self.net(batch[0])).argmax(1) == batch[1]
        self.log("own_accuracy", hits.float().mean(), batch_size=len(hits))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.0)


def fit(folder: Path, name: str) -> tuple[float, float]:
    """The accuracy by the monitor's head and the module's own."""
    _, model, images = sampled(name).build()
    answer = find_truth(model, images).answer
    # The model's own answers, and one that is not: another layer would hardly agree with them.
    labels = answer.argmax(1)
    labels[0] = (labels[0] + 1) % answer.shape[1]
    loader = DataLoader(TensorDataset(images, labels), batch_size=2)
    callback = tiny.callback(class_names=words(answer.shape[1]), pixel_stats=(0, 1), concepts=[])
    trainer = tiny.trainer(folder, callback, max_epochs=1)
    trainer.fit(Training(model), loader, loader)
    metrics = trainer.callback_metrics
    return float(metrics["monitor/accuracy"]), float(metrics["own_accuracy"])


@pytest.mark.parametrize("name", RIGHT)
def test_the_accuracy_is_the_models(tmp_path: Path, name: str) -> None:
    by_head, own = fit(tmp_path, name)
    assert by_head == pytest.approx(own)


@pytest.mark.parametrize("name", REFUSED)
def test_without_one_head_the_training_does_not_start(tmp_path: Path, name: str) -> None:
    with pytest.raises((MisconfigurationException, ValueError)):
        fit(tmp_path, name)
