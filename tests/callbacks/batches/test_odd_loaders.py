"""Positions, counts and copies, whatever the validation loader is like."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
import torch
import webdataset
from lightning.pytorch.utilities import CombinedLoader
from pandas import DataFrame
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, RandomSampler
from torchvision.transforms.v2.functional import pil_to_tensor, to_pil_image

import sing_monitor
from sing_monitor.capture.probe import hashes
from sing_monitor.space.fingerprints import fingerprint, to_uint8
from sing_monitor.tracking import RunReader, list_runs
from tests.helpers import tiny
from tests.helpers.disturbed import At
from tests.helpers.witness import Witness
from tests.inputs.test_loaders import OwnBatches


def fit(
    folder: Path, loader: Any, *, probe_size: int = 10_000, model: Any = None, **changes: Any
) -> tuple[Witness, list[DataFrame]]:
    """Train for two epochs; what was logged, and the tables of images."""
    witness, runs = Witness(), f"{folder}/runs"
    callback = tiny.quick_callback(probe_size=probe_size, class_names=tiny.CLASSES, tracking=runs)
    trainer = tiny.trainer(folder, callback, witness, **changes)
    trainer.fit(model or tiny.Classifier(), tiny.loader(tiny.Blobs(seed=1)), loader)
    return witness, tables_of_images(runs)


def tables_of_images(runs: str) -> list[DataFrame]:
    """Those of the only run of a folder, one for each validation."""
    (run,) = list_runs(runs)["run_id"]
    reader = RunReader(runs, run)
    return [reader.table("images", *place) for place in reader.validations()]


def ids_of(images: Tensor) -> list[str]:
    """As the table of images names them."""
    return [f"{int(key) % 2**64:016x}" for key in fingerprint(to_uint8(images))]


def smallest(images: Tensor, count: int) -> set[str]:
    """The images that a probe of so many holds."""
    keys = fingerprint(to_uint8(images)).unique()
    chosen = keys[hashes(keys).argsort()[:count]]
    return {f"{int(key) % 2**64:016x}" for key in chosen}


def assert_labels_are_right(table: DataFrame, data: tiny.Blobs) -> None:
    truth = dict(zip(ids_of(data.images), data.labels.tolist(), strict=True))
    assert [truth[image] for image in table["image"]] == table["label"].tolist()


class Stream(IterableDataset[Any]):
    """Ready batches of 16, as ``WebDataset(...).batched(16)`` gives them."""

    def __init__(self, data: tiny.Blobs, times: int = 1) -> None:
        self.data, self.times = data, times

    def __iter__(self) -> Iterator[Any]:
        for _ in range(self.times):
            for start in range(0, len(self.data), 16):
                yield self.data.images[start : start + 16], self.data.labels[start : start + 16]


class Counted(Stream):
    """Its length counts batches, as that of ``WebDataset(...).with_length(16)``."""

    def __len__(self) -> int:
        return self.times * (len(self.data) // 16)


# Positions


def drop_some(samples: list[Any]) -> Any:
    """Leaves out what could not be read."""
    kept = [sample for index, sample in enumerate(samples) if index != 3]
    return torch.stack([x for x, _ in kept]), torch.stack([y for _, y in kept])


def test_positions_in_order_are_those_in_the_data_set(tmp_path: Path) -> None:
    data = tiny.Blobs()
    for table in fit(tmp_path, tiny.loader(data))[1]:
        ids = ids_of(data.images)
        assert sorted(table["sample_index"]) == list(range(48))
        assert [ids[index] for index in table["sample_index"]] == table["image"].tolist()


@pytest.mark.parametrize(
    ("kind", "samples", "reason"),
    [
        ("a batch_sampler", 47, "batch_sampler OwnBatches chooses its own order"),
        ("images that collate drops", 45, "a batch holds 15 images where the loader plans"),
        ("shuffled", 48, "sampler RandomSampler chooses its own order"),
        ("another order", 48, "list"),
    ],
)
def test_positions_that_are_not_certain_are_none(
    kind: str, samples: int, reason: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = tiny.Blobs()
    loaders: dict[str, Any] = {
        "a batch_sampler": DataLoader(data, batch_sampler=OwnBatches(range(48), 12, False)),
        "images that collate drops": DataLoader(data, 16, collate_fn=drop_some),
        "shuffled": DataLoader(data, 16, shuffle=True),
        "another order": DataLoader(
            data, batch_sampler=[list(range(start, 48, 3)) for start in range(3)]
        ),
    }
    witness, tables = fit(tmp_path, loaders[kind])
    assert witness.curve("monitor/samples") == [samples, samples]
    for table in tables:
        assert set(table["sample_index"]) == {-1}
        assert table["image"].nunique() == samples
        assert_labels_are_right(table, data)
    assert caplog.text.count("sample_index is -1 in the table of images, because") == 1
    assert reason in caplog.text


def test_batches_of_several_loaders_at_once_have_no_positions(tmp_path: Path) -> None:
    """Which of them an adapter takes, the loader does not tell."""
    first, second = tiny.Blobs(), tiny.Blobs(seed=3)

    class Second(tiny.Classifier):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            super().validation_step(batch[1], batch_idx)

    logger = tiny.mlflow_logger(tmp_path)
    callback = tiny.quick_callback(batch_adapter=lambda batch: tuple(batch[1]))
    loaders = CombinedLoader([tiny.loader(first), tiny.loader(second)], "max_size")
    trainer = tiny.trainer(tmp_path, callback, logger=logger, max_epochs=1)
    trainer.fit(Second(), tiny.loader(tiny.Blobs(seed=1)), loaders)
    table = RunReader(str(logger._tracking_uri), str(logger.run_id)).table("images", 0, 3)
    assert set(table["image"]) == set(ids_of(second.images))
    assert set(table["sample_index"]) == {-1}
    assert_labels_are_right(table, second)


# Copies


class Cycled:
    """A loader that begins anew at its end."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        self.loader, self.dataset = loader, loader.dataset

    def __len__(self) -> int:
        return 2 * len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        return chain.from_iterable(repeat(self.loader, 2))


@pytest.mark.parametrize("probe_size", [10_000, 20])
@pytest.mark.parametrize("kind", ["cycled", "with replacement", "a stream of two workers"])
def test_an_image_that_comes_again_counts_once(kind: str, probe_size: int, tmp_path: Path) -> None:
    data = tiny.Blobs()
    generator = torch.Generator().manual_seed(0)
    fixed = [int(i) for i in torch.randint(48, (96,), generator=generator)]
    loaders: dict[str, Any] = {
        "cycled": Cycled(tiny.loader(data)),
        "with replacement": DataLoader(data, 16, sampler=fixed),
        "a stream of two workers": DataLoader(Stream(data), batch_size=None, num_workers=2),
    }
    seen = data.images[sorted(set(fixed))] if kind == "with replacement" else data.images
    expected = smallest(seen, probe_size)
    witness, tables = fit(tmp_path, loaders[kind], probe_size=probe_size)
    assert witness.curve("monitor/samples") == [len(expected)] * 2
    assert witness.curve("monitor/skipped") == [0, 0]
    for table in tables:
        assert table["image"].is_unique
        assert set(table["image"]) == expected
        assert_labels_are_right(table, data)
    if len(expected) == 48:
        assert witness.curve("head/null_energy") == pytest.approx(witness.true_energy, rel=1e-5)


def test_a_random_sampler_with_replacement_counts_what_it_has_drawn(tmp_path: Path) -> None:
    data = tiny.Blobs()
    sampler = RandomSampler(data, replacement=True, num_samples=96)
    found = sing_monitor.analyze(
        tiny.Classifier(),
        DataLoader(data, 16, sampler=sampler),
        tiny.HashSpace(),
        cache_dir=None,
        concepts=["red", "striped"],
    )
    images = found.tables["images"]
    assert images["image"].is_unique
    assert len(images) == found.scalars["monitor/samples"] < 48


def test_true_copies_at_known_positions_count_each(tmp_path: Path) -> None:
    data = tiny.Blobs(24)
    twice: Dataset[Any] = ConcatDataset([data, data])
    witness, tables = fit(tmp_path, tiny.loader(twice))
    assert witness.curve("monitor/samples") == [48, 48]
    assert sorted(tables[0]["sample_index"]) == list(range(48))


def test_the_same_image_with_another_label_counts_twice(tmp_path: Path) -> None:
    data = tiny.Blobs(24)
    other = tiny.Blobs(24)
    other.labels = (data.labels + 1) % 4
    loader = DataLoader(ConcatDataset([data, other, data]), 16, shuffle=True)
    witness, tables = fit(tmp_path, loader)
    assert witness.curve("monitor/samples") == [48, 48]
    assert set(zip(tables[1]["image"], tables[1]["label"], strict=True)) == {
        (image, int(label))
        for part in (data, other)
        for image, label in zip(ids_of(data.images), part.labels, strict=True)
    }


# The size of the probe

DATA = tiny.Blobs(256)
STREAMS: dict[str, tuple[Any, dict[str, Any]]] = {
    "in order": (tiny.loader(DATA), {}),
    "length in batches": (DataLoader(Counted(DATA), batch_size=None), {}),
    "no length": (DataLoader(Stream(DATA), batch_size=None), {}),
    "no length, limited": (DataLoader(Stream(DATA, 5), batch_size=None), {"limit_val_batches": 16}),
    "a full sanity check": (
        DataLoader(Stream(DATA), batch_size=None),
        {"num_sanity_val_steps": 16},
    ),
    "no sanity check": (DataLoader(Stream(DATA), batch_size=None), {"num_sanity_val_steps": 0}),
    "a sampler of a part": (DataLoader(DATA, 16, sampler=range(255, -1, -1)), {}),
}


@pytest.mark.parametrize("kind", STREAMS)
def test_the_probe_holds_its_size_and_the_same_images_whatever_the_loader_tells(
    kind: str, tmp_path: Path
) -> None:
    loader, changes = STREAMS[kind]
    witness, tables = fit(tmp_path, loader, probe_size=20, **changes)
    assert witness.curve("monitor/samples") == [20, 20]
    assert witness.curve("monitor/skipped") == [0, 0]
    for table in tables:
        assert set(table["image"]) == smallest(DATA.images, 20)
        assert_labels_are_right(table, DATA)


def test_a_data_set_that_grows_keeps_the_size_of_the_probe(tmp_path: Path) -> None:
    """The threshold shrinks, and stays so when the images are gone again."""
    growing = Stream(tiny.Blobs(64))

    def resize(size: int) -> Callable[[], object]:
        return lambda: growing.data.__dict__.update(
            images=DATA.images[:size], labels=DATA.labels[:size]
        )

    resize(64)()
    logger, witness = tiny.mlflow_logger(tmp_path), Witness()
    callback = tiny.quick_callback(
        probe_size=20, class_names=tiny.CLASSES, allow_augmented=True, on_error="warn"
    )
    at = At(epoch_1=resize(256), epoch_3=resize(64))
    trainer = tiny.trainer(tmp_path, at, callback, witness, logger=logger, max_epochs=4)
    loader = DataLoader(growing, batch_size=None)
    trainer.fit(tiny.Classifier(), tiny.loader(tiny.Blobs(seed=1)), loader)
    samples, skipped = witness.curve("monitor/samples"), witness.curve("monitor/skipped")
    assert max(samples) <= 20
    assert samples[0] == samples[2] == 20
    # The new ones were not looked at yet; more belong to the probe than it holds.
    assert samples[1] == 20
    assert skipped == [0, 0, 0, 0]
    tables = RunReader(str(logger._tracking_uri), str(logger.run_id))
    epochs = [set(tables.table("images", *place)["image"]) for place in tables.validations()]
    assert epochs[0] == smallest(DATA.images[:64], 20)
    assert epochs[2] == smallest(DATA.images, 20)
    assert epochs[3] == smallest(DATA.images, 20) & set(ids_of(DATA.images[:64]))


def test_more_copies_than_the_probe_holds_are_cut() -> None:
    data = tiny.Blobs(60)
    data.images[:] = data.images[0].clone()
    found = sing_monitor.analyze(
        tiny.Classifier(),
        tiny.loader(data),
        tiny.HashSpace(),
        cache_dir=None,
        concepts=["red", "striped"],
        probe_size=40,
        ridge=1.0,
    )
    assert found.tables["images"]["sample_index"].tolist() == list(range(40))


def test_a_plain_list_of_batches_is_scored() -> None:
    found = sing_monitor.analyze(
        tiny.Classifier(),
        [*Stream(DATA)],
        tiny.HashSpace(),
        cache_dir=None,
        concepts=["red", "striped"],
        class_names=tiny.CLASSES,
        probe_size=20,
    )
    assert set(found.tables["images"]["image"]) == smallest(DATA.images, 20)
    assert found.config["validation_images"] == 256


def test_an_own_probe_without_a_length_is_scored(tmp_path: Path) -> None:
    loader = DataLoader(Stream(DATA), batch_size=None)
    callback = tiny.quick_callback(probe=loader, probe_size=20, class_names=tiny.CLASSES)
    trainer = tiny.trainer(tmp_path, callback)
    trainer.fit(tiny.Classifier(), tiny.loader(tiny.Blobs(seed=1)))
    assert trainer.callback_metrics["monitor/samples"] == 20
    report = callback.check(tiny.Classifier(), loader)
    assert "at most 20 images of probe=" in str(report)


def test_images_of_a_web_dataset_are_scored(tmp_path: Path) -> None:
    """Real shards, in batches that the data set makes up, which the loader cannot count."""
    data = tiny.Blobs(48)
    for shard in range(2):
        with tarfile.open(tmp_path / f"blobs-{shard}.tar", "w") as tar:
            for index in range(shard, 48, 2):
                picture = io.BytesIO()
                to_pil_image(data.images[index]).save(picture, "png")
                label = str(int(data.labels[index])).encode()
                for suffix, content in (("png", picture.getvalue()), ("cls", label)):
                    entry = tarfile.TarInfo(f"{index:03d}.{suffix}")
                    entry.size = len(content)
                    tar.addfile(entry, io.BytesIO(content))
    shards = (
        webdataset.WebDataset(str(tmp_path / "blobs-{0..1}.tar"), shardshuffle=False)
        .decode("pil")
        .to_tuple("png", "cls")
        .map_tuple(lambda picture: pil_to_tensor(picture).float() / 255, torch.tensor)
        .batched(16)
        .with_length(3)
    )
    for probe_size, expected in ((10_000, 48), (20, 20)):
        folder = tmp_path / str(probe_size)
        folder.mkdir()
        loader = DataLoader(shards, batch_size=None)
        witness, tables = fit(folder, loader, probe_size=probe_size)
        assert witness.curve("monitor/samples") == [expected, expected]
        assert set(tables[1]["image"]) == smallest(data.images, expected)
        assert_labels_are_right(tables[1], data)
