"""In a real training the watched layer is the one whose output is the model's answer."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.utils.data import DataLoader

from sing_monitor.callbacks.accuracy import difference, logged_accuracies
from sing_monitor.callbacks.posthoc import analyze
from tests.callbacks import tiny
from tests.callbacks.disturbed import said_by_the_monitor
from tests.test_head_choice import Fused, Pair, Steps, cnn


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def data(size: int = 48) -> DataLoader[Any]:
    return tiny.loader(tiny.Blobs(size))


def fit(folder: Path, model: tiny.Classifier, *more: L.Callback, **changes: Any) -> L.Trainer:
    options = {name: changes.pop(name) for name in ("head", "on_error") if name in changes}
    trainer = tiny.trainer(folder, tiny.callback(**options), *more, **changes)
    trainer.fit(model, tiny.loader(tiny.Blobs(seed=1)), data())
    return trainer


@pytest.mark.parametrize("sanity_batches", [0, 2])
def test_image_and_table_features_that_are_joined(sanity_batches: int, tmp_path: Path) -> None:
    """Without a sanity check the first batch of the first validation tells which layer answers."""
    model = tiny.Classifier(Fused())
    trainer = fit(tmp_path, model, num_sanity_val_steps=sanity_batches, max_epochs=1)
    assert float(trainer.callback_metrics["head/null_dim"]) == 66
    assert float(trainer.callback_metrics["monitor/samples"]) == 48
    images = torch.stack([image for image, _ in tiny.Blobs()])
    with torch.no_grad():
        right = model.eval()(images).argmax(1) == tiny.Blobs().labels
    assert float(trainer.callback_metrics["monitor/accuracy"]) == float(right.double().mean())
    found = analyze(model, data(), tiny.HashSpace(), cache_dir=None, concepts=[])
    assert found.tags["head"] == "network.out"
    assert found.scalars["head/null_dim"] == 66


class Distilled(tiny.Classifier):
    """A frozen teacher nearer the root than the network in training."""

    def __init__(self) -> None:
        super().__init__(Steps(student=cnn()))
        self.teacher = cnn(8).requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        return self.network.student(images)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.teacher(batch[0])
        self.network.student(batch[0])


def test_a_frozen_teacher_is_not_watched(tmp_path: Path) -> None:
    trainer = fit(tmp_path, Distilled())
    assert float(trainer.callback_metrics["head/drift"]) > 0
    assert float(trainer.callback_metrics["head/null_dim"]) == 12


def test_averaged_heads_are_refused_before_any_training(tmp_path: Path) -> None:
    model = tiny.Classifier(Pair(lambda a, b: (a + b) / 2))
    with pytest.raises(Exception, match="the mean of these layers"):
        fit(tmp_path, model)
    assert model.trainer.global_step == 0


class Ordinal(tiny.Classifier):
    """Thresholds instead of classes, though there are as many outputs as classes."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        above = (batch[1][:, None] > torch.arange(-1, 3)).float()
        return nn.functional.binary_cross_entropy_with_logits(self(batch[0]), above)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self(batch[0])
        # What a trained one would log; the head's largest output says another class.
        self.log("val_acc", torch.ones(()))


def test_an_accuracy_that_the_module_logs_otherwise_is_said_once(tmp_path: Path) -> None:
    with said_by_the_monitor() as said:
        fit(tmp_path, Ordinal(), max_epochs=3)
    assert sum("val_acc = 1.000" in each for each in said) == 1


def test_an_accuracy_that_is_the_heads_is_not_spoken_of(tmp_path: Path) -> None:
    class Logs(tiny.Classifier):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            right = (self(batch[0]).argmax(1) == batch[1]).float()
            self.log_dict({"val/acc": right.mean(), "val/acc_top5": torch.ones(())})

    with said_by_the_monitor() as said:
        fit(tmp_path, Logs())
    assert not any("accuracy" in each for each in said)


def test_accuracies_of_other_images_and_loaders_do_not_count() -> None:
    one = torch.ones(())
    keys = ("train_acc", "val_acc/dataloader_idx_0", "val_acc/dataloader_idx_1", "val_loss")
    metrics = dict.fromkeys(keys, one) | {"valid_accuracy": 100 * one}
    assert set(logged_accuracies(metrics, 1, several_loaders=True)) == {"val_acc/dataloader_idx_1"}
    assert logged_accuracies({"valid_accuracy": 50 * one}, 0, several_loaders=False) == {
        "valid_accuracy": 0.5
    }
    assert difference(0.9, {}) is None
    assert difference(0.9, {"a_acc": 0.2, "b_acc": 0.91}) is None


class WideInSteps(tiny.Classifier):
    """Only the step knows what becomes of the outputs, 64 for 4 classes."""

    def __init__(self) -> None:
        super().__init__(cnn(16, 64))

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.network[4](self.network[:4](batch[0]))


def test_many_more_outputs_than_classes_are_remarked(tmp_path: Path) -> None:
    callback = tiny.callback(class_names=[f"class {i}x" for i in range(64)])
    trainer = tiny.trainer(tmp_path, callback, max_epochs=1)
    with pytest.warns(UserWarning, match="64 outputs, and the labels name no more than 4"):
        trainer.fit(WideInSteps(), tiny.loader(tiny.Blobs()), data())
    named = tiny.callback(head="network.4", class_names=[f"class {i}x" for i in range(64)])
    with said_by_the_monitor() as said:
        tiny.trainer(tmp_path, named, max_epochs=1).fit(
            WideInSteps(), tiny.loader(tiny.Blobs()), data()
        )
    assert not any("64 outputs" in each for each in said)


class Exports(L.Callback):
    """Scripts the network wherever a training can."""

    def __init__(self) -> None:
        self.exported = 0

    def _export(self, trainer: L.Trainer, pl_module: Any) -> None:
        with warnings.catch_warnings(action="ignore"):
            torch.jit.script(pl_module.network)
        self.exported += 1

    on_train_start = on_train_epoch_end = on_train_end = on_fit_end = _export


def test_a_model_can_be_scripted_during_and_after_a_training(tmp_path: Path) -> None:
    exports = Exports()
    fit(tmp_path, tiny.Classifier(), exports)
    assert exports.exported == 5


class Growing(tiny.Classifier):
    """A head that grows in place, as in continual learning."""

    def on_train_epoch_start(self) -> None:
        if self.current_epoch == 1:
            layer = self.network[-1]
            more = torch.randn(2, layer.in_features)
            layer.weight = nn.Parameter(torch.cat([layer.weight.data, more]))
            layer.bias = nn.Parameter(torch.zeros(6))
            layer.out_features = 6


def test_a_head_that_grows_in_place_gets_its_names_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Grows(L.Callback):
        def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            if trainer.current_epoch == 1:
                monkeypatch.setattr(tiny.Blobs, "classes", (*tiny.CLASSES, "car", "cup"))

    trainer = fit(tmp_path, Growing(), Grows(), max_epochs=3)
    assert float(trainer.callback_metrics["head/rank"]) == 6
    assert trainer.callback_metrics["sing/image_score"].isfinite()


class Pruned(L.Callback):
    """Masks the head after the first epoch, by a hook that comes after the monitor's first."""

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if trainer.current_epoch == 0:
            mask = torch.ones(4, 16)
            mask[0] = 0
            prune.custom_from_mask(pl_module.network[-1], "weight", mask)


class Witness(L.Callback):
    """The rank of the weight that the head multiplies with."""

    def on_validation_batch_end(self, trainer: L.Trainer, pl_module: Any, *_: Any) -> None:
        self.rank = int(torch.linalg.matrix_rank(pl_module.network[-1].weight))


def test_a_pruned_head_is_read_after_its_own_hooks(tmp_path: Path) -> None:
    witness = Witness()
    trainer = fit(tmp_path, tiny.Classifier(), Pruned(), witness, max_epochs=3)
    assert witness.rank == 3
    assert float(trainer.callback_metrics["head/rank"]) == 3


class Weights(L.Callback):
    """What a training step has seen of hooks on the model."""

    def __init__(self) -> None:
        self.hooked: set[str] = set()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, *_: Any) -> None:
        self.hooked |= {
            name
            for name, part in pl_module.named_modules()
            if part._forward_hooks or part._forward_pre_hooks
        }


def test_no_hook_is_on_the_model_while_it_trains(tmp_path: Path) -> None:
    seen = Weights()
    fit(tmp_path, tiny.Classifier(), seen)
    assert not seen.hooked


class Tasks(tiny.Classifier):
    """A head for each task, of which the second answers from the second epoch on."""

    def __init__(self) -> None:
        super().__init__()
        self.network[-1] = nn.Identity()
        self.first, self.second = nn.Linear(16, 4), nn.Linear(16, 4)

    def forward(self, images: Tensor) -> Tensor:
        head = self.first if self.trainer.current_epoch == 0 else self.second
        return head(self.network(images))


def test_where_another_head_answers_one_epoch_is_lost(tmp_path: Path) -> None:
    class Keep(L.Callback):
        def __init__(self) -> None:
            self.scores: list[float] = []

        def on_train_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
            self.scores.append(float(trainer.callback_metrics["sing/image_score"]))

    keep = Keep()
    with pytest.warns(UserWarning, match="no scores for epoch 1: the head was not called"):
        fit(tmp_path, Tasks(), keep, max_epochs=3, on_error="warn")
    assert [score == score for score in keep.scores] == [True, False, True]
