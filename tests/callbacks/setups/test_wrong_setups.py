"""Every wrong set-up gets its sentence: at construction, in setup, or in the sanity check."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear, normalize
from torch.utils.data import DataLoader, IterableDataset

from sing_monitor import SINGCallback
from tests.helpers import tiny


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"prompt": "an image of"}, "exactly once"),
        ({"prompt": []}, "at least one template"),
        ({"attribute_prompts": {"Colour": "a {} thing"}}, "lower-case"),
        ({"attribute_prompts": {"colour": "a thing"}}, "exactly once"),
        ({"attribute_prompts": ["colour"]}, "expected a mapping"),
        ({"concepts": "red"}, r"expected a list of words"),
        ({"concepts": ["red", ""]}, "not a word"),
        ({"probe_size": 1}, "at least 2"),
        ({"probe_size": 1e4}, "expected an integer"),
        ({"every_n_epochs": 0}, "at least 1"),
        ({"dataloader_idx": -1}, "at least 0"),
        ({"n_images": -1}, "at least 0"),
        ({"invariance": "argmax"}, "'logits' or 'softmax'"),
        ({"ridge": 0}, "a number from 1e-06 to 1000"),
        ({"ridge": "best"}, "'auto' or a number"),
        ({"ridge": math.nan}, r"ridge=nan\): expected 'auto' or a number"),
        ({"ridge": 1e300}, r"ridge=1e\+300\): expected 'auto' or a number"),
        ({"probe": tiny.Blobs()}, r"DataLoader\(dataset"),
        ({"probe": tiny.loader(tiny.Blobs()), "dataloader_idx": 1}, "one of the two"),
        ({"name": "My head"}, "name='aux'"),
        ({"on_error": "ignore"}, "'warn' or 'raise'"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_arguments_are_refused_at_once(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(MisconfigurationException, match=sentence):
        SINGCallback(**arguments)


class Functional(tiny.Classifier):
    """Uses the head's weight without calling the head."""

    def forward(self, images: Tensor) -> Tensor:
        return linear(self.network[:-1](images), self.network[-1].weight)


class TwoHeads(tiny.Classifier):
    """Both classify, and the model returns the logits of both."""

    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Linear(16, 4)

    def forward(self, images: Tensor) -> Any:
        features = self.network[:-1](images)
        return self.network[-1](features), self.other(features)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self(batch[0])


class CalledOnHalves(tiny.Classifier):
    """A second call for a part of the batch, as some do to log pictures."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        super().validation_step(batch, batch_idx)
        self(batch[0][:5])


class CosineHead(nn.Linear):
    def forward(self, features: Tensor) -> Tensor:
        return 16 * linear(normalize(features), normalize(self.weight))


class Cosine(tiny.Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.network[-1] = CosineHead(16, 4)


class Dense(tiny.Classifier):
    """Segments: one prediction for every pixel."""

    def __init__(self) -> None:
        super().__init__(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 1)))

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images).mean((2, 3))


class Mapped(tiny.Blobs):
    """Blobs with something else in place of images or labels."""

    def __init__(self, change: Any) -> None:
        super().__init__()
        self.change = change

    def __getitem__(self, index: int) -> Any:
        return self.change(*super().__getitem__(index))


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Any:
        data = tiny.Blobs()
        return iter([data[i] for i in range(len(data))])


class NoWeights(tiny.HashSpace):
    def encode_images(self, images: Tensor) -> Tensor:
        return super().encode_images(images) * float("nan")


class LooseClassifier(tiny.Classifier):
    """Accepts any label, so that only the monitor can object."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self(batch[0].float())


def normalised(image: Tensor, label: Tensor) -> Any:
    return (image - 0.4) / 0.1, label


SETUPS: dict[str, tuple[dict[str, Any], Any, Any, str]] = {
    "head by a wrong name": ({"head": "network.fc"}, None, None, "network.6"),
    "several heads": ({}, TwoHeads, None, r'(?s)Several layers.*head="'),
    "F.linear head": ({}, Functional, None, "call head"),
    "cosine head": ({}, Cosine, None, r"does not compute W f \+ b"),
    "head called on parts": ({}, CalledOnHalves, None, r"2 times.*16, 5 rows.*probe="),
    "dense prediction": ({}, Dense, None, "one feature vector"),
    "one-hot labels": (
        {},
        LooseClassifier,
        lambda image, label: (image, torch.eye(4)[label]),
        "multi-label or soft labels",
    ),
    "labels beyond the head": (
        {},
        LooseClassifier,
        lambda image, label: (image, label + 7),
        r"labels must lie in 0\.\.3",
    ),
    "unknown batch": ({}, LooseClassifier, lambda image, label: (image,), "batch_adapter"),
    "unknown pixel scale": ({}, None, normalised, "pixel_stats"),
    "wrong pixel_stats": ({"pixel_stats": (0.5, 0.5)}, None, normalised, "does not fit"),
    "NaN pixels": (
        {},
        None,
        lambda image, label: (image * float("nan"), label),
        "NaN or infinite pixels",
    ),
    "wrong number of names": ({"class_names": ["cat", "dog"]}, None, None, "C=4"),
    "attribute that no batch has": (
        {"attribute_prompts": {"colour": "a {} thing"}},
        None,
        None,
        "batches carry no attributes",
    ),
    "space without a method": ({"space": object()}, None, None, "encode_images"),
    "space of a wrong form": ({"space": "ViT-B-32"}, None, None, "model>/<tag"),
    "space that is unknown": ({"space": "ViT-B-33/openai"}, None, None, "no such model"),
    "missing weights": (
        {"space": "ViT-B-32//nowhere/weights.safetensors"},
        None,
        None,
        "Three ways out",
    ),
    "space that gives NaN": ({"space": NoWeights()}, None, None, "NaN or infinite embeddings"),
    "loader that is not there": ({"dataloader_idx": 3}, None, None, "1 validation loader"),
}


@pytest.mark.parametrize("case", SETUPS)
def test_a_wrong_setup_is_named_before_any_training(case: str, tmp_path: Path) -> None:
    changes, model, change, sentence = SETUPS[case]
    data = tiny.Blobs() if change is None else Mapped(change)
    trainer = tiny.trainer(tmp_path, tiny.quick_callback(**{**changes, "on_error": "warn"}))
    module = (model or tiny.Classifier)()
    with pytest.raises(MisconfigurationException, match=sentence):
        trainer.fit(module, tiny.loader(tiny.Blobs(seed=1)), tiny.loader(data))
    assert trainer.global_step == 0
    assert not any(part._forward_pre_hooks for part in module.modules())


@pytest.mark.parametrize("case", ["F.linear head", "wrong number of names"])
def test_without_a_sanity_check_the_monitor_turns_itself_off_and_training_goes_on(
    case: str, tmp_path: Path
) -> None:
    changes, model, _, sentence = SETUPS[case]
    callback = tiny.quick_callback(**{**changes, "on_error": "warn"})
    trainer = tiny.trainer(tmp_path, callback, num_sanity_val_steps=0)
    with pytest.warns(UserWarning, match=rf"turned off.*{sentence}") as warnings:
        trainer.fit(
            (model or tiny.Classifier)(), tiny.loader(tiny.Blobs(seed=1)), tiny.loader(tiny.Blobs())
        )
    assert sum("turned off" in str(warning.message) for warning in warnings) == 1
    assert trainer.current_epoch == 2
    assert trainer.callback_metrics["sing/image_score"].isnan()


@pytest.mark.parametrize(("limit", "samples"), [({}, 48), ({"limit_val_batches": 2}, 32)])
def test_a_data_set_without_length_is_scored_with_a_limit_and_without(
    limit: dict[str, Any], samples: int, tmp_path: Path
) -> None:
    callback = tiny.quick_callback(class_names=tiny.CLASSES)
    trainer = tiny.trainer(tmp_path, callback, max_epochs=1, **limit)
    loader = DataLoader(Endless(), 16)
    trainer.fit(tiny.Classifier(), tiny.loader(tiny.Blobs(seed=1)), loader)
    assert float(trainer.callback_metrics["monitor/samples"]) == samples


def test_two_callbacks_of_one_name_are_refused(tmp_path: Path) -> None:
    data = tiny.loader(tiny.Blobs())
    for name in (None, "aux"):
        trainer = tiny.trainer(
            tmp_path, tiny.quick_callback(name=name), tiny.quick_callback(name=name)
        )
        with pytest.raises(MisconfigurationException, match=r"2 SINGCallbacks.*name='aux'"):
            trainer.fit(tiny.Classifier(), data, data)


def test_randomly_augmented_validation_images_are_named(tmp_path: Path) -> None:
    def fit(**changes: Any) -> L.Trainer:
        trainer = tiny.trainer(tmp_path, tiny.quick_callback(**changes), max_epochs=3)
        data = tiny.loader(tiny.Blobs(augment=True))
        trainer.fit(tiny.Classifier(), tiny.loader(tiny.Blobs(seed=1)), data)
        return trainer

    with pytest.warns(UserWarning, match="allow_augmented=True"):
        stopped = fit(on_error="warn")
    assert stopped.callback_metrics["sing/image_score"].isnan()
    assert fit(allow_augmented=True).callback_metrics["sing/image_score"].isfinite()


def test_a_run_without_validation_is_told_so(tmp_path: Path) -> None:
    class NoValidation(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = tiny.Classifier().network

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return cross_entropy(self.network(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.1)

    trainer = tiny.trainer(tmp_path, tiny.quick_callback(), max_epochs=1)
    with pytest.warns(UserWarning, match=r"none will run.*probe=DataLoader"):
        trainer.fit(NoValidation(), tiny.loader(tiny.Blobs()))


def test_features_that_turn_nan_cost_one_epoch_and_not_the_run(tmp_path: Path) -> None:
    class Spoiled(tiny.Classifier):
        def forward(self, images: Tensor) -> Tensor:
            features = self.network[:-1](images)
            if self.trainer.current_epoch == 1 and not self.training:
                features = features * float("nan")
            return self.network[-1](features)

    class Keep(L.Callback):
        def __init__(self) -> None:
            self.scores: list[float] = []
            self.skipped: list[float] = []

        def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            self.scores.append(float(trainer.callback_metrics["sing/image_score"]))
            self.skipped.append(float(trainer.callback_metrics["monitor/skipped"]))

    keep = Keep()
    trainer = tiny.trainer(tmp_path, tiny.quick_callback(on_error="warn"), keep, max_epochs=3)
    with pytest.warns(UserWarning, match=r"epoch 1: features of 48 of 48 images hold NaN"):
        trainer.fit(Spoiled(), tiny.loader(tiny.Blobs(seed=1)), tiny.loader(tiny.Blobs()))
    assert [score == score for score in keep.scores] == [True, False, True]
    assert keep.skipped == [0, 48, 0]
