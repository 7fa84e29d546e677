"""The similarity of images in a training: measured, kept for the next validation, read back."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from torch import nn

from sing_monitor.tracking import RunReader, list_runs
from tests.helpers import tiny


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two epochs of a network with maps of 5 x 5 positions."""
    folder = tmp_path_factory.mktemp("similarity")
    store = f"{folder}/runs"
    monitor = tiny.callback(tracking=store, n_maps=16)
    tiny.trainer(folder, monitor, num_sanity_val_steps=0).fit(
        tiny.Classifier(), tiny.loader(tiny.Blobs(32)), tiny.loader(tiny.Blobs(40, seed=1))
    )
    return store


def test_the_numbers_and_tables_are_read_back(store: str) -> None:
    (run,) = list_runs(store)["run_id"]
    reader = RunReader(store, run)
    scalars = reader.scalars()
    numbers = {key: list(scalars[key]) for key in scalars if key.startswith("similarity/")}
    assert len(numbers) == 10
    assert numbers["similarity/images"] == [16, 16]
    assert math.isnan(numbers["similarity/drift"][0])
    assert 0 < numbers["similarity/drift"][1] < 1
    others = [values for key, values in numbers.items() if key != "similarity/drift"]
    assert not any(math.isnan(value) for values in others for value in values)
    epoch, step = reader.validations()[-1]
    pairs = reader.table("similarity", epoch, step)
    images = reader.table("similarity_images", epoch, step)
    assert len(pairs) == 16 * 15 // 2
    assert set(pairs["image_a"]) | set(pairs["image_b"]) == set(images["image"])
    assert set(images["class"]) | set(images["prediction"]) <= set(tiny.CLASSES)
    assert set(images["height"]) == set(images["width"]) == {5}
    assert all(len(each) == 8 and max(each) < 25 for each in pairs["positions_b"])
    assert all(len(each) == 3 for each in images["nearest_semantic"])
    assert set(images["image"]) <= reader.thumbnails(images["image"]).keys()


def test_a_model_without_a_map_gets_the_keys_alone(tmp_path: Path) -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * tiny.SIDE**2, 8), nn.ReLU(), nn.Linear(8, 4))
    trainer = tiny.trainer(tmp_path, tiny.callback(), max_epochs=1, num_sanity_val_steps=0)
    trainer.fit(
        tiny.Classifier(flat), tiny.loader(tiny.Blobs(32)), tiny.loader(tiny.Blobs(40, seed=1))
    )
    found = {key: float(value) for key, value in trainer.callback_metrics.items()}
    numbers = {key: value for key, value in found.items() if key.startswith("similarity/")}
    assert len(numbers) == 10
    assert all(math.isnan(value) for value in numbers.values())


def test_where_the_features_stand_and_how_much_room_they_keep(store: str) -> None:
    (run,) = list_runs(store)["run_id"]
    reader = RunReader(store, run)
    scalars = reader.scalars()
    for key in ("focus/entropy", "focus/entropy_seen", "focus/overlap", "layers/effective_rank"):
        assert not any(math.isnan(value) for value in scalars[key]), key
    focus = reader.table("focus", *reader.validations()[-1])
    assert set(focus["image"]) == set(
        reader.table("similarity_images", *reader.validations()[-1])["image"]
    )
    assert focus["entropy_seen"].between(0, 1).all()
