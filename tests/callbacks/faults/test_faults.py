"""The second law: whatever breaks, the training goes on as if nobody had watched."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from pathlib import Path

import lightning as L
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from sing_monitor.commands.cli import main
from sing_monitor.tracking import RunReader
from tests.helpers import tiny
from tests.helpers.disturbed import At, Training, assert_same_weights, fit
from tests.helpers.stores.small_disk import SmallDisk, small_disk


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Training:
    """The same training without a monitor."""
    return fit(tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", "4m") as disk:
        yield disk


def read(training: Training) -> RunReader:
    """The findings of a training that logged to MLflow."""
    logger = training.trainer.logger
    assert isinstance(logger, L.pytorch.loggers.MLFlowLogger)
    return RunReader(str(logger._tracking_uri), str(logger.run_id))


def curve(training: Training, key: str) -> list[float]:
    return read(training).scalars([key])[key].tolist()


def is_finite(values: list[float]) -> list[bool]:
    return [math.isfinite(value) for value in values]


# Disks


def test_a_read_only_artifact_store_keeps_the_tables_for_sync(
    disk: SmallDisk, undisturbed: Training, tmp_path: Path
) -> None:
    logger = tiny.mlflow_logger(tmp_path, artifact_location=str(disk.path / "artifacts"))
    protect = At(epoch_1=lambda: disk.allow_writing(False))
    callback = tiny.callback(on_error="warn", n_images=0)
    done = fit(tmp_path / "training", callback, protect, logger=logger)
    (warning,) = done.warnings
    assert "Read-only file system" in warning
    assert "sing-monitor sync" in warning
    assert is_finite(curve(done, "sing/image_score")) == [True] * 4
    assert curve(done, "monitor/skipped") == [0] * 4
    assert [epoch for epoch, _ in read(done).validations()] == [0]
    assert_same_weights(done, undisturbed)
    assert main(["sync", str(tmp_path / "training")]) == 1
    disk.allow_writing(True)
    assert main(["sync", str(tmp_path / "training")]) == 0
    assert [epoch for epoch, _ in read(done).validations()] == [0, 1, 2, 3]


def test_a_full_disk_loses_tables_and_no_scalar(
    disk: SmallDisk, undisturbed: Training, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill = At(epoch_1=disk.fill, epoch_3=disk.make_room)
    callback = tiny.callback(on_error="warn", n_images=0)
    logger = tiny.mlflow_logger(tmp_path)
    done = fit(disk.path / "training", callback, fill, logger=logger)
    (warning,) = done.warnings
    assert "the tables of epoch 1 were lost" in warning
    assert "No space left on device" in warning
    assert "validations whose tables were lost: 2" in caplog.text
    assert is_finite(curve(done, "sing/image_score")) == [True] * 4
    assert [epoch for epoch, _ in read(done).validations()] == [0, 3]
    assert_same_weights(done, undisturbed)


# Numbers


class Broken(tiny.Classifier):
    """Features that are no numbers: of one validation image at epoch 1, of two at epoch 2."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, images: Tensor) -> Tensor:
        features = self.network[:-1](images)
        if not self.training and self.current_epoch in (1, 2):
            features = features.clone()
            features[: self.current_epoch] = self.value
        return self.network[-1](features)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_features_that_are_no_numbers_cost_their_epochs(
    value: float, undisturbed: Training, tmp_path: Path
) -> None:
    callback, model = tiny.callback(on_error="warn"), Broken(value)
    done = fit(tmp_path, callback, model=model, logger=tiny.mlflow_logger(tmp_path))
    (warning,) = done.warnings
    assert "no scores for epoch 1: features of" in warning
    assert "NaN or infinite" in warning
    for key in ("sing/image_score", "head/drift", "monitor/samples"):
        assert is_finite(curve(done, key)[1:]) == [False, False, True], key
    assert curve(done, "monitor/skipped") == [0, 48, 48, 0]
    assert [epoch for epoch, _ in read(done).validations()] == [0, 3]
    assert_same_weights(done, undisturbed)


def test_a_training_that_loses_its_numbers_in_half_precision_is_told_why(tmp_path: Path) -> None:
    alone = fit(tmp_path, precision="16-true")
    assert all(value.isnan().any() for name, value in alone.weights.items() if "weight" in name)
    watched = fit(tmp_path, tiny.callback(on_error="warn"), precision="16-true")
    (warning,) = watched.warnings
    assert "no scores for epoch 0: features of 48 of 48 images hold NaN" in warning
    assert "So does the head's weight: the training itself has diverged" in warning
    assert "Adam(eps=1e-4)" in warning
    metrics = watched.trainer.callback_metrics
    assert metrics["sing/image_score"].isnan()
    assert metrics["monitor/skipped"] == 48


class Collapsed(L.Callback):
    """The head has only so many independent rows, during validation."""

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        head = pl_module.network[-1]  # type: ignore[index]
        self.weight = head.weight.detach().clone()
        head.weight.data[1:] = head.weight.data[:1]
        head.weight.data *= self.rank

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        pl_module.network[-1].weight.data.copy_(self.weight)  # type: ignore[index]


@pytest.mark.parametrize("rank", [1, 0])
def test_a_collapsed_head_is_measured(rank: int, undisturbed: Training, tmp_path: Path) -> None:
    callback, collapsed = tiny.callback(on_error="warn"), Collapsed(rank)
    done = fit(tmp_path, collapsed, callback, logger=tiny.mlflow_logger(tmp_path))
    assert done.warnings == []
    assert curve(done, "head/rank") == [rank] * 4
    assert curve(done, "head/null_dim") == [16 - rank] * 4
    assert is_finite(curve(done, "sing/image_score_centered")) == [True] * 4
    assert curve(done, "monitor/skipped") == [0] * 4
    assert [epoch for epoch, _ in read(done).validations()] == [0, 1, 2, 3]
    assert_same_weights(done, undisturbed)


class Without(tiny.Blobs):
    """No image of the last class."""

    def __len__(self) -> int:
        return len(self.order)

    def __init__(self) -> None:
        super().__init__()
        self.order = (self.labels < len(tiny.CLASSES) - 1).nonzero().flatten()

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return super().__getitem__(int(self.order[index]))


def test_a_class_without_images_has_no_scores_and_the_others_have(
    undisturbed: Training, tmp_path: Path
) -> None:
    callback = tiny.callback(on_error="warn")
    logger = tiny.mlflow_logger(tmp_path)
    done = fit(tmp_path, callback, validation=Without(), logger=logger)
    assert done.warnings == []
    assert is_finite(curve(done, "sing/image_score")) == [True] * 4
    assert curve(done, "monitor/samples") == [36] * 4
    assert curve(done, "monitor/skipped") == [0] * 4
    classes = read(done).table("classes", 3, 12)
    assert classes["n"].tolist() == [12, 12, 12, 0]
    assert is_finite(classes["image_score"].tolist()) == [True, True, True, False]
    assert_same_weights(done, undisturbed)


# Embeddings


class Failing(tiny.HashSpace):
    """Breaks in the middle of the first two validations, as a device out of memory would."""

    failures = 0

    def encode_images(self, images: Tensor) -> Tensor:
        # The sanity check embeds 32 images.
        if self.images == 32 and self.failures < 2:
            self.failures += 1
            torch.rand(3)
            raise RuntimeError("out of memory")
        return super().encode_images(images)


def test_a_space_that_fails_in_the_middle_costs_its_epochs(
    undisturbed: Training, tmp_path: Path
) -> None:
    callback = tiny.callback(space=Failing(), on_error="warn")
    done = fit(tmp_path, callback, logger=tiny.mlflow_logger(tmp_path))
    (warning,) = done.warnings
    assert "no scores for epoch 0: out of memory" in warning
    assert is_finite(curve(done, "sing/image_score")) == [False, False, True, True]
    assert curve(done, "monitor/skipped") == [48, 48, 0, 0]
    assert [epoch for epoch, _ in read(done).validations()] == [2, 3]
    assert_same_weights(done, undisturbed)


def test_a_damaged_embedding_cache_is_computed_again(
    undisturbed: Training, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = tmp_path / "cache"
    healthy = fit(tmp_path, tiny.callback(cache_dir=cache))
    truncated, other, *_ = sorted(cache.rglob("images/*.safetensors"))
    truncated.write_bytes(truncated.read_bytes()[:-5])
    with safe_open(other, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in ("keys", "embeddings")}
    save_file(tensors, other, {"version": "0", "space": tiny.HashSpace.name})
    half = other.with_name(f"{'0' * 32}.tmp")  # another process is writing it
    half.write_bytes(b"half")
    caplog.clear()
    space = tiny.HashSpace()
    with caplog.at_level(logging.WARNING, "sing_monitor"):
        done = fit(tmp_path, tiny.callback(space=space, cache_dir=cache, on_error="warn"))
    records = [each for each in caplog.records if each.name.startswith("sing_monitor")]
    messages = [each.getMessage() for each in records]
    assert all("passed over" in message or "another version" in message for message in messages)
    assert messages
    assert done.warnings == []
    assert space.images == 32  # two batches
    assert half.read_bytes() == b"half"
    for key, value in healthy.trainer.callback_metrics.items():
        if key != "monitor/seconds":
            again = done.trainer.callback_metrics[key]
            assert float(again) == pytest.approx(float(value), nan_ok=True), key
    assert_same_weights(done, undisturbed)
