"""In a real training the watched layer is the one whose output is the model's answer."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from sing_monitor.capture.matched_rows import largest_of_all
from sing_monitor.monitor.accuracy import difference, logged_accuracies
from sing_monitor.offline.analyze import analyze
from tests.head.test_choice import Fused, Pair, Steps, cnn
from tests.helpers import tiny
from tests.helpers.disturbed import said_by_the_monitor


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def data(size: int = 48) -> DataLoader[Any]:
    return tiny.loader(tiny.Blobs(size))


def fit(folder: Path, model: tiny.Classifier, *more: L.Callback, **changes: Any) -> L.Trainer:
    options = {name: changes.pop(name) for name in ("head", "on_error") if name in changes}
    trainer = tiny.trainer(folder, tiny.quick_callback(**options), *more, **changes)
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


class Thresholds(tiny.Classifier):
    """An ordinal head: three outputs for four classes, of which validation shows three."""

    def __init__(self) -> None:
        super().__init__(cnn(16, 3))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        above = (batch[1][:, None] > torch.arange(3)).float()
        return nn.functional.binary_cross_entropy_with_logits(self(batch[0]), above)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 0.05)


class LowClasses(tiny.Blobs):
    """No image of the last class, and names of as many classes as the head has outputs."""

    classes = tiny.CLASSES[:3]

    def __init__(self) -> None:
        super().__init__()
        self.order = (self.labels < 3).nonzero().flatten()

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return super().__getitem__(int(self.order[index]))


def test_an_ordinal_head_is_refused_by_its_labels(tmp_path: Path) -> None:
    model = Thresholds()
    with pytest.raises(Exception, match=r"\(K-1 outputs for K classes.* no row for each class"):
        fit(tmp_path, model)
    assert model.trainer.global_step == 0


def test_labels_that_an_adapter_makes_fit_an_ordinal_head_are_doubted(tmp_path: Path) -> None:
    def adapt(batch: Any) -> tuple[Tensor, Tensor]:
        return batch[0], (batch[1] - 1).clamp(min=0)

    names = list(tiny.CLASSES[:3])
    callback = tiny.quick_callback(batch_adapter=adapt, class_names=names, on_error="warn")
    trainer = tiny.trainer(tmp_path, callback, max_epochs=1)
    with said_by_the_monitor() as said:
        trainer.fit(Thresholds(), tiny.loader(tiny.Blobs(seed=1)), data())
    assert sum("run from 0 to 3" in each and "no row for each class" in each for each in said) == 1
    # Counted from 1, or none of them renumbered.
    assert largest_of_all((torch.zeros(2, 3, 4, 4), torch.tensor([1, 3]))) is None
    assert largest_of_all("text") is None


def test_an_ordinal_head_whose_labels_fit_is_known_by_its_answers(tmp_path: Path) -> None:
    trainer = tiny.trainer(tmp_path, tiny.quick_callback(), max_epochs=8)
    with said_by_the_monitor() as said:
        trainer.fit(Thresholds(), tiny.loader(tiny.Blobs(seed=1)), tiny.loader(LowClasses()))
    (found,) = [each for each in said if "thresholds between ordered classes" in each]
    assert "has no row for each class" in found


class Coral(nn.Module):
    """One score, shifted for each threshold, as coral-pytorch has it."""

    def __init__(self) -> None:
        super().__init__()
        self.body = cnn(16, 8)
        self.score = nn.Linear(8, 1, bias=False)
        self.shifts = nn.Parameter(torch.tensor([2.0, 1.0, 0.0, -1.0]))

    def forward(self, images: Tensor) -> Tensor:
        return self.score(self.body(images)) + self.shifts


class Shifted(Coral):
    """The same with a second head beside it, so that only a forward pass shows what answers."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 4)


@pytest.mark.parametrize(
    ("network", "sentence"),
    [
        (Coral, "one output: .* nor has an ordinal one whose score meets several thresholds"),
        (Shifted, "one score, each shifted by a constant.* has no row for each class"),
    ],
)
def test_one_score_with_thresholds_is_refused(
    network: type[nn.Module], sentence: str, tmp_path: Path
) -> None:
    model = tiny.Classifier(network())
    with pytest.raises(Exception, match=sentence):
        fit(tmp_path, model)


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
    callback = tiny.quick_callback(class_names=[f"class {i}x" for i in range(64)])
    trainer = tiny.trainer(tmp_path, callback, max_epochs=1)
    with pytest.warns(UserWarning, match="64 outputs, and the labels name no more than 4"):
        trainer.fit(WideInSteps(), tiny.loader(tiny.Blobs()), data())
    named = tiny.quick_callback(head="network.4", class_names=[f"class {i}x" for i in range(64)])
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
    keep = Keep("sing/image_score")
    with pytest.warns(UserWarning, match="no scores for epoch 1: the head was not called"):
        fit(tmp_path, Tasks(), keep, max_epochs=3, on_error="warn")
    assert [score == score for score in keep.values] == [True, False, True]


class Keep(L.Callback):
    """A metric after every epoch."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.values: list[float] = []

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        self.values.append(float(trainer.callback_metrics[self.name]))


class LateUpdate(tiny.Classifier):
    """An adapter of one's own, whose update is zero until it is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(3, 16))
        self.up = nn.Parameter(torch.zeros(4, 3))

    def forward(self, images: Tensor) -> Tensor:
        features = self.network[:-1](images)
        return self.network[-1](features) + features @ self.down.T @ self.up.T


class SecondHeadLater(tiny.Classifier):
    """From the second epoch on, the mean of two heads answers."""

    def __init__(self) -> None:
        super().__init__()
        self.second = nn.Linear(16, 4)

    def forward(self, images: Tensor) -> Tensor:
        features = self.network[:-1](images)
        first = self.network[-1](features)
        return first if self.trainer.current_epoch == 0 else (first + self.second(features)) / 2


@pytest.mark.parametrize(
    ("make", "known", "words"),
    [
        (LateUpdate, [], "no scores|turned off"),
        (SecondHeadLater, [0], "no scores for epoch 1: .*mean of these layers"),
    ],
)
def test_in_every_pass_the_head_must_answer(
    make: type[tiny.Classifier], known: list[int], words: str, tmp_path: Path
) -> None:
    keep = Keep("sing/image_score")
    with pytest.warns(UserWarning, match=f"(?s){words}"):
        fit(tmp_path, make(), keep, max_epochs=3, on_error="warn")
    assert [epoch for epoch, value in enumerate(keep.values) if value == value] == known


class Averaged(tiny.Classifier):
    """Validates on averaged weights, as some do by hand."""

    def __init__(self, *, both: bool) -> None:
        super().__init__()
        self.average = AveragedModel(self.network)
        self.both = both

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        if self.both:
            self.network(batch[0])
        self.average(batch[0])


def test_an_averaged_copy_that_alone_is_validated_is_a_question(tmp_path: Path) -> None:
    model = Averaged(both=False)
    nn.init.zeros_(model.average.module[-1].weight[0])
    with pytest.raises(Exception, match="not called") as raised:
        fit(tmp_path, model, max_epochs=1)
    (name,) = re.findall(r'head="([^"]+)"', str(raised.value))
    trainer = fit(tmp_path, model, max_epochs=1, head=name)
    assert float(trainer.callback_metrics["head/rank"]) == 3


def test_beside_a_copy_the_network_itself_is_watched_and_that_is_said(tmp_path: Path) -> None:
    model = Averaged(both=True)
    nn.init.zeros_(model.average.module[-1].weight[0])
    with pytest.warns(UserWarning, match='name it: head="average.module.6"'):
        trainer = fit(tmp_path, model, max_epochs=1)
    assert float(trainer.callback_metrics["head/rank"]) == 4
    named = fit(tmp_path, model, max_epochs=1, head="average.module.6")
    assert float(named.callback_metrics["head/rank"]) == 3


class Darkens(tiny.Classifier):
    """Its hook makes the pixels that the model sees."""

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return (batch[0] - 0.45) / 0.05, batch[1]


def test_analyze_shows_the_model_what_the_training_shows_it(tmp_path: Path) -> None:
    model, stats = Darkens(), (0.45, 0.05)
    callback = tiny.callback(pixel_stats=stats)
    trainer = tiny.trainer(tmp_path, callback, max_epochs=1)
    trainer.fit(model, tiny.loader(tiny.Blobs(seed=1)), data())
    found = analyze(
        model, data(), tiny.HashSpace(), pixel_stats=stats, cache_dir=None, concepts=[], ridge=1.0
    )
    for key in ("monitor/accuracy", "head/null_energy", "collapse/nc1"):
        assert found.scalars[key] == pytest.approx(float(trainer.callback_metrics[key]), rel=1e-4)


def test_a_first_batch_that_the_step_leaves_out_is_lost_alone(tmp_path: Path) -> None:
    class LeavesOut(tiny.Classifier):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            if batch_idx > 0:
                super().validation_step(batch, batch_idx)

    keep = Keep("monitor/samples")
    fit(
        tmp_path,
        LeavesOut(),
        keep,
        num_sanity_val_steps=0,
        max_epochs=3,
        on_error="warn",
    )
    assert keep.values == [32, 32, 32]


def test_a_model_can_be_scripted_when_a_validation_starts(tmp_path: Path) -> None:
    class Scripts(tiny.Classifier):
        def on_validation_start(self) -> None:
            with warnings.catch_warnings(action="ignore"):
                torch.jit.script(self.network)

        on_validation_epoch_start = on_validation_epoch_end = on_validation_start

    fit(tmp_path, Scripts(), max_epochs=2)


def test_a_scripted_model_is_refused_in_a_sentence() -> None:
    with warnings.catch_warnings(action="ignore"):
        scripted = torch.jit.script(cnn())
    with pytest.raises(TypeError, match=r"scripted or traced.*module that it was made of"):
        analyze(scripted, data(), tiny.HashSpace(), cache_dir=None)


def test_names_are_asked_for_where_an_adapter_turns_the_labels_round(tmp_path: Path) -> None:
    def fit_with(**changes: Any) -> L.Trainer:
        trainer = tiny.trainer(tmp_path, tiny.quick_callback(**changes), max_epochs=1)
        trainer.fit(tiny.Classifier(), tiny.loader(tiny.Blobs()), data())
        return trainer

    def turned(batch: Any) -> Any:
        return batch[0], 3 - batch[1]

    with pytest.raises(Exception, match=r"another order.*SINGCallback\(class_names=\[...\]\)"):
        fit_with(batch_adapter=turned)
    fit_with(batch_adapter=turned, class_names=tiny.CLASSES[::-1])
