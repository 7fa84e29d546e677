"""A probe of the user's own: one extra pass, with a validation loop and without."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn
from torch.utils.data import DataLoader, DistributedSampler

from sing_monitor.capture.probe import probe_threshold
from sing_monitor.extra_pass.collect import collect_probe, forward_images
from sing_monitor.head.geometry import HeadGeometry
from sing_monitor.monitor.model_capture import ModelCapture
from sing_monitor.tracking import RunReader
from tests.helpers import tiny
from tests.helpers.disturbed import said_by_the_monitor


class Augmenting(tiny.Classifier):
    """Flips on the device while the trainer trains, as kornia users do."""

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        images, labels = batch
        return (images.flip(-1) if self.trainer.training else images), labels


class Keep(L.Callback):
    """Keeps what is logged at the end of every training epoch."""

    def __init__(self) -> None:
        self.logged: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert pl_module.training
        metrics = trainer.callback_metrics
        self.logged.append({key: float(value) for key, value in metrics.items()})

    def curve(self, key: str) -> list[float]:
        return [metrics.get(key, math.nan) for metrics in self.logged]


def null_energy(model: tiny.Classifier, images: Tensor) -> float:
    """By a plain loop, outside any trainer."""
    with torch.no_grad():
        features = model.eval().network[:-1](images).double()
    null = HeadGeometry.from_weight(model.network[-1].weight).null(features)
    return float(null.square().sum() / features.square().sum())


def test_without_a_validation_loop_training_epochs_are_measured(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = tiny.Blobs(40)
    callback = tiny.quick_callback(probe=tiny.loader(data), every_n_epochs=2)
    # Both read our keys at the end of the epoch, although they come first.
    stopping = EarlyStopping("head/null_dim", patience=99, check_finite=False)
    best = ModelCheckpoint(tmp_path, monitor="head/null_energy", mode="min", save_top_k=-1)
    logger, model = tiny.mlflow_logger(tmp_path), Augmenting()
    trainer = tiny.trainer(
        tmp_path,
        stopping,
        best,
        callback,
        logger=logger,
        max_epochs=3,
        enable_checkpointing=True,
    )
    trainer.fit(model, tiny.loader(tiny.Blobs(seed=1)))
    reader = RunReader(f"sqlite:///{tmp_path / 'mlflow.db'}", str(logger.run_id))
    curve = reader.scalars()
    assert curve["epoch"].tolist() == [0, 1, 2]
    assert curve["monitor/global_step"].tolist() == [3, 6, 9]
    assert [math.isfinite(score) for score in curve["sing/image_score"]] == [True, False, True]
    assert reader.validations() == [(0, 3), (2, 9)]
    assert curve["monitor/samples"].iloc[-1] == 40
    assert curve["monitor/stage"].tolist() == [0, 0, 0]
    assert curve["head/null_energy"].iloc[-1] == pytest.approx(null_energy(model, data.images))
    assert best.best_model_score is not None
    assert reader.config()["probe"] == "own"
    assert "40 of 40 images of probe=, on which the model runs once more" in caplog.text
    assert "once more over the loader given as probe=" in caplog.text


class EmptyList(tiny.Classifier):
    def val_dataloader(self) -> list[Any]:
        return []


class NoStep(tiny.Classifier):
    validation_step = L.LightningModule.validation_step


VALIDATION = tiny.loader(tiny.Blobs(16))
# The module, its validation loader, the trainer's arguments.
NO_LOOP: dict[str, tuple[type[tiny.Classifier], Any, dict[str, Any]]] = {
    "an empty list from val_dataloader()": (EmptyList, None, {}),
    "an empty list": (tiny.Classifier, [], {}),
    "an empty list, every second epoch": (
        tiny.Classifier,
        [],
        {"check_val_every_n_epoch": 2, "num_sanity_val_steps": 0},
    ),
    "no validation_step": (NoStep, VALIDATION, {}),
    "limit_val_batches=0": (tiny.Classifier, VALIDATION, {"limit_val_batches": 0}),
}


@pytest.mark.parametrize("kind", NO_LOOP)
def test_whatever_leaves_no_validation_loop_the_probe_is_measured(
    kind: str, tmp_path: Path
) -> None:
    module, validation, changes = NO_LOOP[kind]
    keep = Keep()
    callback = tiny.quick_callback(probe=tiny.loader(tiny.Blobs(40)), every_n_epochs=2)
    trainer = tiny.trainer(tmp_path, callback, keep, max_epochs=4, **changes)
    trainer.fit(module(), tiny.loader(tiny.Blobs(seed=1)), validation)
    measured = [math.isfinite(score) for score in keep.curve("sing/image_score")]
    # Before the first validation is due, Lightning does not know that its list is empty.
    late = "check_val_every_n_epoch" in changes
    assert measured == ([False, True, False, True] if late else [True, False, True, False])


def test_an_empty_list_of_loaders_is_said_to_be_none(tmp_path: Path) -> None:
    trainer = tiny.trainer(tmp_path, tiny.quick_callback())
    with said_by_the_monitor() as said:
        trainer.fit(EmptyList(), tiny.loader(tiny.Blobs(seed=1)))
    (warning,) = said
    assert "none will run" in warning
    assert "probe=DataLoader" in warning


def test_with_a_validation_loop_the_probe_takes_the_place_of_its_batches(tmp_path: Path) -> None:
    data, model = tiny.Blobs(40, seed=3), tiny.Classifier()
    trainer = tiny.trainer(
        tmp_path, tiny.quick_callback(probe=tiny.loader(data)), val_check_interval=1
    )
    trainer.fit(model, tiny.loader(tiny.Blobs(seed=1)), tiny.loader(tiny.Blobs(16)))
    metrics = trainer.callback_metrics
    assert metrics["monitor/samples"] == 40
    assert float(metrics["head/null_energy"]) == pytest.approx(null_energy(model, data.images))
    (alone,) = trainer.validate(model, tiny.loader(tiny.Blobs(16)), verbose=False)
    assert alone["monitor/samples"] == 40
    assert alone["head/null_energy"] == metrics["head/null_energy"]


def test_a_wrong_setup_is_named_before_the_first_step(tmp_path: Path) -> None:
    callback = tiny.quick_callback(
        probe=tiny.loader(tiny.Blobs()), class_names=["cat"], on_error="warn"
    )
    trainer, model = tiny.trainer(tmp_path, callback), tiny.Classifier()
    with pytest.raises(MisconfigurationException, match="C=4"):
        trainer.fit(model, tiny.loader(tiny.Blobs(seed=1)))
    assert trainer.global_step == 0
    assert model.training


def test_a_module_without_forward_is_told_how_to_get_one(tmp_path: Path) -> None:
    class NoForward(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = nn.Linear(2, 4)

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.network(batch[0])

    trainer = tiny.trainer(tmp_path, tiny.quick_callback(probe=tiny.loader(tiny.Blobs())))
    with pytest.raises(MisconfigurationException, match="def forward"):
        trainer.validate(NoForward(), tiny.loader(tiny.Blobs()), verbose=False)


def test_a_failing_pass_costs_one_epoch_and_leaves_the_modes_alone(tmp_path: Path) -> None:
    class Stumbles(tiny.Classifier):
        def forward(self, images: Tensor) -> Tensor:
            if not self.training and self.trainer.current_epoch == 1:
                raise RuntimeError("out of memory")
            return super().forward(images)

    keep = Keep()
    callback = tiny.quick_callback(probe=tiny.loader(tiny.Blobs()), on_error="warn")
    trainer = tiny.trainer(tmp_path, callback, keep, max_epochs=3)
    with pytest.warns(UserWarning, match="epoch 1: out of memory"):
        trainer.fit(Stumbles(), tiny.loader(tiny.Blobs(seed=1)))
    assert list(map(math.isfinite, keep.curve("sing/image_score"))) == [True, False, True]


def test_a_sampler_that_shares_the_probe_out_is_refused(tmp_path: Path) -> None:
    data = tiny.Blobs()
    shared = DataLoader(data, 16, sampler=DistributedSampler(data, num_replicas=2, rank=0))
    trainer = tiny.trainer(tmp_path, tiny.quick_callback(probe=shared))
    with pytest.raises(MisconfigurationException, match="Leave the sampler out"):
        trainer.fit(tiny.Classifier(), tiny.loader(data))


def test_a_pass_that_fails_leaves_nobody_listening() -> None:
    def stumble(_batch: Any) -> None:
        raise RuntimeError("out of memory")

    model, loader = tiny.Classifier().network, tiny.loader(tiny.Blobs())
    watch = ModelCapture(tiny.quick_callback().options, tiny.HashSpace(), None)
    watch.start(model, loader, threshold=probe_threshold(48, 100), images=48)
    with pytest.raises(RuntimeError, match="out of memory"):
        collect_probe(watch, model, loader, forward=stumble)
    # On the head alone, for the pass; every other layer is left.
    assert not any(part._forward_hooks for part in model[:-1].modules())
    watch.release()
    assert not any(part._forward_hooks for part in model.modules())


def test_the_probe_of_a_plain_module_is_collected_without_a_trainer() -> None:
    callback, data = tiny.quick_callback(), tiny.Blobs(40)
    model, loader = tiny.Classifier().network, tiny.loader(data)
    model[1].eval()
    modes = [module.training for module in model.modules()]
    watch = ModelCapture(callback.options, tiny.HashSpace(), None)
    watch.start(model, loader, threshold=probe_threshold(40, 100), images=40)
    with forward_images(model, None) as forward:
        collect_probe(watch, model, loader, forward=forward)
    rows = watch.finish()
    assert rows is not None
    order = rows.sample_index.argsort()
    assert [module.training for module in model.modules()] == modes
    with torch.no_grad():
        assert torch.allclose(rows.features[order], model.eval()[:-1](data.images), atol=1e-6)
    assert torch.equal(rows.labels[order], data.labels)
    watch.release()
    assert not any(module._forward_pre_hooks for module in model.modules())
