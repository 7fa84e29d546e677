"""Trainings that something happens to, and what they are compared with."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import Dataset

from tests.helpers import tiny


class At(L.Callback):
    """Does something when a training epoch begins."""

    def __init__(self, **actions: Callable[[], object]) -> None:
        self.actions = {int(epoch.removeprefix("epoch_")): do for epoch, do in actions.items()}

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.actions.get(trainer.current_epoch, lambda: None)()


@dataclass
class Training:
    """A finished training."""

    trainer: L.Trainer
    weights: dict[str, Tensor]
    warnings: list[str] = field(default_factory=list)


def fit(
    folder: Path,
    *callbacks: L.Callback,
    model: tiny.Classifier | None = None,
    validation: Dataset[Any] | None = None,
    **changes: Any,
) -> Training:
    """Train for four epochs with everything that draws random numbers, on fixed data."""
    L.seed_everything(7, verbose=False)
    model = model or tiny.Classifier()
    trainer = tiny.trainer(folder, *callbacks, **{"max_epochs": 4, **changes})
    data = tiny.Blobs(seed=1, augment=True)
    with said_by_the_monitor() as said:
        trainer.fit(model, tiny.loader(data, shuffle=True), tiny.loader(validation or tiny.Blobs()))
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    return Training(trainer, weights, said)


@contextmanager
def said_by_the_monitor() -> Iterator[list[str]]:
    """Every warning of ours, also one that was said before."""
    said: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield said
    said += [str(each.message) for each in caught if "sing-monitor" in str(each.message)]


def assert_same_weights(one: Training, other: Training) -> None:
    assert one.weights.keys() == other.weights.keys()
    for name, value in one.weights.items():
        assert torch.equal(value, other.weights[name]), name
