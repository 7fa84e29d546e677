"""A tiny ViT, tiny data and a quiet Trainer, and what their tests compare."""

from __future__ import annotations

import json
import math
import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState, GradientState, PartialState
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset
from transformers import (
    Trainer,
    TrainerCallback,
    TrainingArguments,
    ViTConfig,
    ViTForImageClassification,
    set_seed,
)

from sing_monitor import Monitor
from sing_monitor.callbacks.transformers import SINGTrainerCallback
from sing_monitor.tracking import RunReader, list_runs
from tests.helpers import tiny

# Numbers that tell of time, and of the place in a training.
APART = ("monitor/seconds", "monitor/global_step", "monitor/stage")


class Dicts(Dataset[dict[str, Tensor]]):
    """The blobs as transformers takes them."""

    classes = tiny.CLASSES

    def __init__(self, size: int = 48, seed: int = 0, label: str = "labels") -> None:
        self.blobs = tiny.Blobs(size, seed)
        self.label = label

    def __len__(self) -> int:
        return len(self.blobs)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        image, label = self.blobs[index]
        return {"pixel_values": image, self.label: label}


class Answering(nn.Module):
    """Any network, as a Trainer takes one."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        logits = self.network(pixel_values)
        return (
            {"logits": logits}
            if labels is None
            else {"loss": cross_entropy(logits, labels), "logits": logits}
        )


def vit(dropout: float = 0.1, seed: int = 3, **config: Any) -> ViTForImageClassification:
    """One block, 16 features, four classes."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 32, "image_size": tiny.SIDE, "patch_size": 4}
    given = {**sizes, "num_labels": len(tiny.CLASSES), "hidden_dropout_prob": dropout, **config}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return ViTForImageClassification(ViTConfig(**given))


def callback(**changes: Any) -> SINGTrainerCallback:
    """A callback that reports every fault, unless told otherwise; of few maps, which are quick."""
    arguments = {"space": tiny.HashSpace(), "cache_dir": None, "concepts": ["red", "striped"]}
    arguments |= {"n_maps": 8, "on_error": "raise"}
    return SINGTrainerCallback(**{**arguments, **changes})


def trainer(
    folder: Path,
    callbacks: Sequence[TrainerCallback] = (),
    model: nn.Module | None = None,
    *,
    seed: int = 7,
    evaluation: Any = None,
    **changes: Any,
) -> Trainer:
    """Two epochs of three steps on the CPU; evaluations at their ends, if there are callbacks."""
    arguments: dict[str, Any] = {
        "output_dir": str(folder),
        "num_train_epochs": 2,
        "learning_rate": 1e-2,
        "per_device_train_batch_size": 16,
        "per_device_eval_batch_size": 16,
        "eval_strategy": "epoch",
        "save_strategy": "no",
        "logging_steps": 1,
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }
    given = ("compute_metrics", "optimizers", "processing_class")
    more = {name: changes.pop(name) for name in given if name in changes}
    set_seed(seed)
    return Trainer(
        vit() if model is None else model,
        TrainingArguments(**{**arguments, **changes}),
        train_dataset=Dicts(seed=1),
        eval_dataset=Dicts() if evaluation is None else evaluation,
        callbacks=list(callbacks),
        **more,
    )


def accuracy(prediction: Any) -> dict[str, float]:
    """For ``compute_metrics``."""
    found = prediction.predictions.argmax(1) == prediction.label_ids
    return {"accuracy": float(found.mean())}


def assert_equal_scalars(one: Mapping[str, float], other: Mapping[str, float]) -> None:
    assert one.keys() == other.keys()
    assert sum(map(math.isfinite, one.values())) > 60
    for key, value in one.items():
        if key not in APART:
            assert value == pytest.approx(other[key], abs=1e-6, rel=1e-6, nan_ok=True), key


def reader_of(place: str | Path) -> RunReader:
    """The only run of a store."""
    (run_id,) = list_runs(str(place))["run_id"]
    return RunReader(str(place), run_id)


class Draws(TrainerCallback):
    """Keeps what the random number generators would give at the end of each epoch."""

    def __init__(self) -> None:
        self.states: list[Any] = []

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        state = np.random.get_state()[1].tolist()  # noqa: NPY002 - the global one is the training's
        self.states.append((torch.get_rng_state().tolist(), random.getstate(), state))


class Lit(L.LightningModule):
    """The same model and optimizer in Lightning's hands."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        return self.model(**batch).loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self.model(**batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def loop(model: nn.Module, fabric: Fabric | None) -> tuple[nn.Module, dict[str, float]]:
    """The same in a loop of one's own, or in Fabric's hands: the model, and the last scalars."""
    optimizer: Any = torch.optim.SGD(model.parameters(), 0.1)
    training, validation = tiny.loader(Dicts(seed=1)), tiny.loader(Dicts())
    wrapped: Any = model
    if fabric is not None:
        wrapped, optimizer = fabric.setup(model, optimizer)
    monitor = Monitor(
        wrapped,
        loader=validation,
        space=tiny.HashSpace(),
        cache_dir=None,
        concepts=["red", "striped"],
        n_maps=8,
        on_error="raise",
    )
    for epoch in range(2):
        wrapped.train()
        for batch in training:
            optimizer.zero_grad()
            loss = wrapped(**batch).loss
            loss.backward() if fabric is None else fabric.backward(loss)
            optimizer.step()
        wrapped.eval()
        with monitor.epoch(epoch) as watch, torch.no_grad():
            for batch in validation:
                wrapped(**batch)
                watch.add(batch["pixel_values"], batch["labels"])
    monitor.close()
    return model, watch.scalars


class DoubleDicts(Dicts):
    """In double precision, so that the size of a batch leaves no rounding."""

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        item = super().__getitem__(index)
        return {**item, "pixel_values": item["pixel_values"].double()}


def evaluate_47_images(folder: Path) -> dict[str, float]:
    """Batches of 8: with two processes the last images are dealt out twice."""
    monitor = callback(tracking=folder / "runs")
    arguments = {"evaluation": DoubleDicts(47), "per_device_eval_batch_size": 8}
    trainer(folder, [monitor], vit().double(), **arguments).evaluate()
    return monitor.scalars


def evaluate_as(rank: int, port: int, folder: Path) -> None:
    """One of two processes that a launcher has started."""
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": 2, "RANK": rank}
    os.environ.update({key: str(value) for key, value in {**place, "LOCAL_RANK": rank}.items()})
    for state in (AcceleratorState, PartialState, GradientState):
        state._reset_state()  # of the tests before: this process is a copy
    (folder / f"{rank}.json").write_text(json.dumps(evaluate_47_images(folder)))
    torch.distributed.destroy_process_group()
