"""Batches that the validation step changes, filters or makes anew."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from pandas import DataFrame
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

import sing_monitor
from sing_monitor.inputs.batches import Batch
from tests.callbacks.batches.test_odd_loaders import ids_of, tables_of_images
from tests.helpers import tiny
from tests.helpers.disturbed import said_by_the_monitor
from tests.helpers.witness import Witness, null_energy


class Training:
    """A fit under the monitor: what it logged, its tables of images, and what was said."""

    def __init__(
        self, folder: Path, model: L.LightningModule, data: tiny.Blobs, **changes: Any
    ) -> None:
        loader = changes.pop("loader", None) or tiny.loader(data)
        trainer_changes = changes.pop("trainer", {})
        self.witness, runs = Witness(data.images), f"{folder}/runs"
        self.callback = tiny.quick_callback(**{"on_error": "warn", "tracking": runs, **changes})
        trainer = tiny.trainer(folder, self.callback, self.witness, **trainer_changes)
        with said_by_the_monitor() as self.warnings:
            trainer.fit(model, tiny.loader(tiny.Blobs(seed=1)), loader)
        self.tables = tables_of_images(runs)


def assert_images(table: DataFrame, data: tiny.Blobs, rows: list[int]) -> None:
    """The table holds these images of the data set, with their labels and positions."""
    by_position = table.sort_values("sample_index")
    ids = ids_of(data.images)
    assert by_position["sample_index"].tolist() == rows
    assert by_position["image"].tolist() == [ids[row] for row in rows]
    assert by_position["label"].tolist() == data.labels[rows].tolist()


EVERYTHING = list(range(48))


# A step that changes its batch


@dataclass
class Sample:
    image: Any
    label: Any


def as_dict(samples: list[Any]) -> dict[str, Tensor]:
    images, labels = (torch.stack(parts) for parts in zip(*samples, strict=True))
    return {"pixel_values": images, "labels": labels}


class Pops(tiny.Classifier):
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        labels = batch.pop("labels")
        self.log("val_loss", cross_entropy(self(batch["pixel_values"]), labels))


class Replaces(tiny.Classifier):
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        batch["pixel_values"] = (batch["pixel_values"] - 0.5) / 0.2
        batch["labels"] = torch.nn.functional.one_hot(batch["labels"], 4)
        self(batch["pixel_values"])


class InPlace(tiny.Classifier):
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        batch["pixel_values"].sub_(0.5).div_(0.2)
        batch["labels"].zero_()
        self(batch["pixel_values"])


class InPlaceList(tiny.Classifier):
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        labels = batch.pop()
        self(batch[0].mul_(0.5))
        labels.fill_(3)


class Fields(tiny.Classifier):
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        image, batch.image, batch.label = batch.image, None, None
        self(image)


CHANGED: dict[str, tuple[type[tiny.Classifier], Callable[[Any], Any]]] = {
    "labels popped": (Pops, as_dict),
    "labels popped of a user's mapping": (Pops, lambda samples: UserDict(as_dict(samples))),
    "entries replaced": (Replaces, as_dict),
    "tensors changed in place": (InPlace, as_dict),
    "a list that shrinks": (InPlaceList, lambda samples: list(as_dict(samples).values())),
    "fields of an object": (Fields, lambda samples: Sample(*as_dict(samples).values())),
}


@pytest.mark.parametrize("inference_mode", [True, False])
@pytest.mark.parametrize("kind", CHANGED)
def test_a_batch_is_read_before_the_step_changes_it(
    kind: str, inference_mode: bool, tmp_path: Path
) -> None:
    model, collate = CHANGED[kind]
    data = tiny.Blobs()
    training = Training(
        tmp_path,
        model(),
        data,
        loader=DataLoader(data, 16, collate_fn=collate),
        class_names=tiny.CLASSES,
        trainer={"inference_mode": inference_mode},
    )
    assert training.warnings == []
    assert training.witness.curve("monitor/skipped") == [0, 0]
    for table in training.tables:
        assert_images(table, data, EVERYTHING)


class Makes(tiny.Classifier):
    """The labels come into being in the step."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        batch["labels"] = batch.pop("names").argmax(1)
        self(batch["pixel_values"])


def test_labels_that_the_step_makes_are_read_after_it(tmp_path: Path) -> None:
    def collate(samples: list[Any]) -> dict[str, Tensor]:
        batch = as_dict(samples)
        batch["names"] = torch.eye(4)[batch.pop("labels")]
        return batch

    data = tiny.Blobs()
    loader = DataLoader(data, 16, collate_fn=collate)
    training = Training(tmp_path, Makes(), data, loader=loader)
    assert training.warnings == []
    assert_images(training.tables[-1], data, EVERYTHING)


class Kept(tiny.Classifier):
    """Keeps the batches of its validation steps."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.seen.append((list(batch), batch["pixel_values"].clone()))
        super().validation_step(batch, batch_idx)


def test_an_adapter_may_take_the_batch_apart(tmp_path: Path) -> None:
    data, model = tiny.Blobs(), Kept()
    loader = DataLoader(data, 16, collate_fn=as_dict)
    training = Training(
        tmp_path,
        model,
        data,
        loader=loader,
        batch_adapter=lambda batch: (batch.pop("pixel_values"), batch.pop("labels")),
    )
    assert training.warnings == []
    assert_images(training.tables[-1], data, EVERYTHING)
    assert [keys for keys, _ in model.seen] == [["pixel_values", "labels"]] * 8


@pytest.mark.parametrize("inference_mode", [True, False])
def test_an_adapter_that_changes_tensors_is_refused_and_undone(
    inference_mode: bool, tmp_path: Path
) -> None:
    data, model = tiny.Blobs(), Kept()
    loader = DataLoader(data, 16, collate_fn=as_dict)
    arguments = {"loader": loader, "trainer": {"inference_mode": inference_mode}}

    def in_place(batch: Any) -> Any:
        return batch["pixel_values"].mul_(0.5), batch["labels"]

    def anew(batch: Any) -> Any:
        return batch["pixel_values"] * 0.5, batch["labels"]

    with pytest.raises(MisconfigurationException, match="changes a tensor of the batch in place"):
        Training(tmp_path, model, data, batch_adapter=in_place, **arguments)
    assert torch.equal(model.seen[0][1], data.images[:16])
    (tmp_path / "again").mkdir()
    training = Training(tmp_path / "again", Kept(), data, batch_adapter=anew, **arguments)
    assert training.warnings == []


# Images without a class


def without_a_class(value: int) -> tuple[tiny.Blobs, list[int]]:
    """Blobs of which every fifth has no class, and the others."""
    data = tiny.Blobs()
    data.labels[::5] = value
    return data, [index for index in range(48) if index % 5]


class Filters(tiny.Classifier):
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        images, labels = batch
        kept = labels >= 0
        self(images[kept])


class Ignores(tiny.Classifier):
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self(batch[0])


@pytest.mark.parametrize("value", [-1, -100])
@pytest.mark.parametrize("model", [Filters, Ignores])
def test_images_without_a_class_are_left_out(
    model: type[tiny.Classifier], value: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data, kept = without_a_class(value)
    module = model()
    training = Training(tmp_path, module, data, trainer={"max_epochs": 3})
    assert training.warnings == []
    assert training.witness.curve("monitor/samples") == [len(kept)] * 3
    assert training.witness.curve("monitor/skipped") == [0] * 3
    for table in training.tables:
        assert_images(table, data, kept)
    assert training.witness.curve("head/null_energy")[-1] == pytest.approx(
        null_energy(module.eval(), data.images[kept]), rel=1e-5
    )
    assert caplog.text.count("10 images have no class (label -1 or -100)") == 1
    assert caplog.text.count("their order is taken to be that of the batch") == (model is Filters)


def test_a_batch_without_any_class_is_no_loss(tmp_path: Path) -> None:
    class Skips(tiny.Classifier):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            kept = batch[1] >= 0
            if kept.any():
                self(batch[0][kept])

    data = tiny.Blobs()
    data.labels[16:32] = -1
    training = Training(tmp_path, Skips(), data)
    assert training.warnings == []
    assert_images(training.tables[-1], data, [*range(16), *range(32, 48)])


@pytest.mark.parametrize("value", [-1, -100])
def test_where_no_image_has_a_class_that_is_said(value: int, tmp_path: Path) -> None:
    data = tiny.Blobs()
    data.labels[:] = value
    training = Training(tmp_path, Ignores(), data)
    (warning,) = training.warnings
    # The sanity check has seen but two batches.
    assert "no scores for epoch 0: none of the 48 validation images has a class" in warning
    assert training.witness.curve("monitor/skipped") == [48, 48]
    with pytest.raises(ValueError, match="none of the 48 validation images has a class"):
        sing_monitor.analyze(
            tiny.Classifier(), tiny.loader(data), tiny.HashSpace(), cache_dir=None, concepts=[]
        )


class FiltersAsItLikes(tiny.Classifier):
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self(batch[0][batch[1] != 2])


def test_a_step_that_leaves_out_a_class_is_mended_as_the_message_says(tmp_path: Path) -> None:
    data = tiny.Blobs()
    with pytest.raises(MisconfigurationException) as caught:
        Training(tmp_path, FiltersAsItLikes(), data)
    for part in ("12 features for a batch of 16 images", "leave out the same ones", "probe="):
        assert part in str(caught.value)

    def adapter(batch: Any) -> Any:
        kept = batch[1] != 2
        return batch[0][kept], batch[1][kept]

    for folder, changes in (
        ("adapter", {"batch_adapter": adapter}),
        ("probe", {"probe": tiny.loader(data)}),
    ):
        (tmp_path / folder).mkdir()
        training = Training(tmp_path / folder, FiltersAsItLikes(), data, **changes)
        assert training.warnings == []
        expected = 48 if folder == "probe" else 36
        assert training.witness.curve("monitor/samples") == [expected, expected]


# Batches that are lost


class ReturnsEarly(tiny.Classifier):
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        if batch_idx != 1 or self.trainer.sanity_checking:
            super().validation_step(batch, batch_idx)


@pytest.mark.parametrize("probe_size", [10_000, 20])
def test_a_step_that_returns_early_costs_its_batch(probe_size: int, tmp_path: Path) -> None:
    data = tiny.Blobs()
    training = Training(
        tmp_path, ReturnsEarly(), data, probe_size=probe_size, trainer={"max_epochs": 3}
    )
    (warning,) = training.warnings
    assert "batches that could not be used in epoch 0: 1" in warning
    assert "head was not called in the validation step" in warning
    others = [*range(16), *range(32, 48)]
    samples, skipped = (
        training.witness.curve(f"monitor/{name}") for name in ("samples", "skipped")
    )
    if probe_size > 48:
        assert samples == [32] * 3
        assert skipped == [16] * 3
        for table in training.tables:
            assert_images(table, data, others)
    else:
        assert [sum(counts) for counts in zip(samples, skipped, strict=True)] == [20] * 3
        assert len(set(samples)) == 1
        for table in training.tables:
            assert set(table["sample_index"]) <= set(others)


class Views(tiny.Classifier):
    """Two views of each image in one batch for the network."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self(torch.cat([batch[0], batch[0].flip(-1)]))


class MixedViews(tiny.Classifier):
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self(torch.stack([batch[0], batch[0].flip(-1)], 1).flatten(0, 1))


def stacked(batch: Any) -> Any:
    images, labels = batch
    return torch.cat([images, images.flip(-1)]), labels.repeat(2)


def mixed(batch: Any) -> Batch:
    images, labels = batch
    views = torch.stack([images, images.flip(-1)], 1).flatten(0, 1)
    return Batch(views, labels.repeat_interleave(2))


@pytest.mark.parametrize(("model", "adapter"), [(Views, stacked), (MixedViews, mixed)])
def test_views_along_the_batch_are_refused_and_mended_as_the_message_says(
    model: type[tiny.Classifier], adapter: Callable[[Any], Any], tmp_path: Path
) -> None:
    data = tiny.Blobs()
    with pytest.raises(MisconfigurationException) as caught:
        Training(tmp_path, model(), data)
    for part in ("32 features for a batch of 16", "2 views", "labels.repeat(2)", "probe="):
        assert part in str(caught.value)
    (tmp_path / "adapter").mkdir()
    both = torch.cat([data.images, data.images.flip(-1)])
    training = Training(tmp_path / "adapter", model(), data, batch_adapter=adapter)
    assert training.warnings == []
    truth = dict(zip(ids_of(both), data.labels.repeat(2).tolist(), strict=True))
    table = training.tables[-1]
    assert set(table["image"]) == set(truth)
    assert [truth[image] for image in table["image"]] == table["label"].tolist()
    assert set(table["sample_index"]) == {-1}
    (tmp_path / "probe").mkdir()
    training = Training(tmp_path / "probe", model(), data, probe=tiny.loader(data))
    assert_images(training.tables[-1], data, EVERYTHING)


def test_afterwards_a_module_without_forward_may_pop_its_labels() -> None:
    class NoForward(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = tiny.Classifier().network

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            batch.pop("labels")
            if batch_idx >= 0:
                self.network(batch["pixel_values"])

    data = tiny.Blobs()
    found = sing_monitor.analyze(
        NoForward(),
        DataLoader(data, 16, collate_fn=as_dict),
        tiny.HashSpace(),
        cache_dir=None,
        concepts=["red", "striped"],
    )
    assert_images(found.tables["images"], data, EVERYTHING)
