"""A validation step outside its trainer: nothing is logged, and nothing of it stays behind."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import torchmetrics
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor
from torch.nn.functional import cross_entropy

from sing_monitor import analyze
from sing_monitor.errors import SetupError
from sing_monitor.extra_pass.collect import forward_images
from sing_monitor.extra_pass.quiet import quiet
from tests.helpers import tiny


class Steps(L.LightningModule):
    """No forward; its validation step logs and keeps whatever people keep."""

    def __init__(self) -> None:
        super().__init__()
        self.network = tiny.Classifier().network
        self.accuracy = torchmetrics.Accuracy("multiclass", num_classes=len(tiny.CLASSES))
        self.losses = torchmetrics.CatMetric()
        self.others = torchmetrics.MetricCollection(
            {
                "recall": torchmetrics.Recall("multiclass", num_classes=len(tiny.CLASSES)),
                "precision": torchmetrics.Precision("multiclass", num_classes=len(tiny.CLASSES)),
            }
        )
        self.register_buffer("images_seen", torch.zeros(()))
        self.register_buffer("last_loss", torch.zeros(()))
        self.outputs: list[Tensor] = []
        self.by_name: dict[str, list[int]] = defaultdict(list)
        self.steps = 0
        self.total = torch.zeros(())

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return cross_entropy(self.network(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        images, labels = batch
        logits = self.network(images)
        self.accuracy(logits, labels)
        self.others.update(logits, labels)
        loss = cross_entropy(logits, labels)
        self.losses.update(loss)
        self.log_dict({"val_loss": loss, "val_acc": self.accuracy})
        self.log("val_batch", float(batch_idx))
        self.logger.log_metrics({"by_hand": float(batch_idx)})
        self.images_seen += len(images)
        self.last_loss = loss
        self.outputs.append(logits)
        self.by_name["steps"].append(batch_idx)
        self.steps += 1
        self.total += 1
        self.newest = loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.01)


def fitted(folder: Path, model: Steps) -> CSVLogger:
    logger = CSVLogger(folder)
    trainer = tiny.trainer(folder, logger=logger, max_epochs=1)
    trainer.fit(model, tiny.loader(tiny.Blobs(seed=1)), tiny.loader(tiny.Blobs()))
    return logger


def state(model: Steps) -> dict[str, Any]:
    """Everything that the step changes, copied."""
    metrics = (model.accuracy, model.losses, *model.others.values(copy_state=False))
    return {
        "metrics": [
            {name: torch.as_tensor(value).clone() for name, value in each.metric_state.items()}
            for each in metrics
        ],
        "updates": [each.update_count for each in metrics],
        "computed": [each._computed for each in metrics],
        "buffers": [model.images_seen.clone(), model.last_loss.clone()],
        "outputs": list(model.outputs),
        "by_name": {name: list(values) for name, values in model.by_name.items()},
        "steps": model.steps,
        "total": model.total.clone(),
    }


def assert_unchanged(model: Steps, before: dict[str, Any], names: set[str]) -> None:
    torch.testing.assert_close(state(model), before, rtol=0, atol=0)
    assert vars(model).keys() == names


def test_a_fitted_module_without_forward_is_analyzed_and_checked_without_a_trace(
    tmp_path: Path,
) -> None:
    model = Steps()
    logger = fitted(tmp_path, model)
    rows = (Path(logger.log_dir) / "metrics.csv").read_bytes()
    model.accuracy.update(torch.eye(4), torch.tensor([0, 1, 2, 0]))
    before, names = state(model), set(vars(model))
    assert before["updates"][0] > 0
    assert before["steps"] > 0

    found = analyze(model, tiny.loader(tiny.Blobs()), tiny.HashSpace(), cache_dir=None)
    with torch.no_grad():
        expected = model.eval().network[:-1](tiny.Blobs().images)
    # In the order of the images' fingerprints.
    found_sums = found.snapshot.features.sum(1).sort().values
    torch.testing.assert_close(found_sums, expected.sum(1).sort().values)
    assert "network.6" in str(tiny.callback().check(model, tiny.loader(tiny.Blobs())))

    assert_unchanged(model, before, names)
    assert model.accuracy.compute() == 0.75
    assert model.log.__func__ is L.LightningModule.log
    logger.save()
    assert (Path(logger.log_dir) / "metrics.csv").read_bytes() == rows
    assert model.trainer.loggers == [logger]
    # And training goes on with it.
    model.trainer.fit_loop.max_epochs = 2
    data = tiny.loader(tiny.Blobs())
    model.trainer.fit(model, data, data)
    assert model.trainer.current_epoch == 2


def test_nothing_stays_behind_when_the_step_fails(tmp_path: Path) -> None:
    class Failing(Steps):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            super().validation_step(batch, batch_idx)
            raise KeyError("mask")

    model = Failing()
    trainer = tiny.trainer(tmp_path, logger=CSVLogger(tmp_path), max_epochs=1)
    data = tiny.loader(tiny.Blobs())
    trainer.fit(model, data)
    before, names = state(model), set(vars(model))
    with pytest.raises(KeyError):
        tiny.callback().check(model, data)
    assert_unchanged(model, before, names)
    assert not {"log", "log_dict"} & set(vars(model))


def test_a_forward_that_logs_is_no_obstacle_either(tmp_path: Path) -> None:
    class Talkative(tiny.Classifier):
        def forward(self, images: Tensor) -> Tensor:
            if not self.training:
                self.log("norm", images.norm())
            return super().forward(images)

    model, data = Talkative(), tiny.loader(tiny.Blobs())
    tiny.trainer(tmp_path, max_epochs=1).fit(model, data, data)
    assert "network.6" in str(tiny.callback().check(model, data))


def test_steps_of_every_signature_are_called_as_lightning_calls_them() -> None:
    class One(Steps):
        def validation_step(self, batch: Any) -> Any:
            return (batch,)

    class Two(Steps):
        def validation_step(self, batch: Any, index: int) -> Any:
            return batch, index

    class Three(Steps):
        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int) -> Any:
            return batch, batch_idx, dataloader_idx

    class Default(Steps):
        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 5) -> Any:
            return batch, batch_idx, dataloader_idx

    class Anything(Steps):
        def validation_step(self, *args: Any, **kwargs: Any) -> Any:
            return args

    expected = {One: ("b",), Two: ("b", 1), Three: ("b", 1, 0), Default: ("b", 1, 5)}
    for kind, arguments in {**expected, Anything: ("b", 1)}.items():
        with forward_images(kind(), None) as forward:
            forward("a")
            assert forward("b") == arguments, kind


def test_a_module_with_neither_forward_nor_step_is_told_so() -> None:
    class Bare(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = tiny.Classifier().network

    with pytest.raises(SetupError, match="neither forward nor validation_step"):
        analyze(Bare(), tiny.loader(tiny.Blobs()), tiny.HashSpace(), cache_dir=None)


def test_containers_that_hold_each_other_come_back() -> None:
    class Knotted(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.knot: list[Any] = [1]
            self.knot.append(self.knot)
            self.names = {"a", "b"}

    model = Knotted()
    with quiet(model):
        model.knot.clear()
        model.names.add("c")
        model.knot = []
    assert model.knot[0] == 1
    assert model.knot[1] is model.knot
    assert model.names == {"a", "b"}
