"""The sixth law: one process and many give the same numbers, and no rank waits in vain."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.strategies import FSDPStrategy
from mlflow import MlflowClient
from pandas.testing import assert_frame_equal

from sing_monitor.capture.probe import hashes
from sing_monitor.tracking import RunReader
from tests.callbacks.processes.in_processes import run_alone
from tests.helpers import tiny
from tests.helpers.devices import NEEDS_CUDA

ROOT = Path(__file__).parents[3]
TABLES = ("classes", "images", "spectrum", "layers", "concepts", "class_concepts")
# The sampler gives the repeated image to Lightning's own metric twice.
OTHER = ("monitor/seconds", "val_loss")
# Of weights that are shared out, those of the first process's part are followed.
OF_A_PART = ("dynamics/weights", "dynamics/constant")


@pytest.fixture(scope="module")
def one_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("one")


@pytest.fixture(scope="module")
def two_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("two")


@pytest.fixture(scope="module")
def alone(one_folder: Path) -> dict[str, Any]:
    """What the only process found, by scenario."""
    return run_alone(one_folder)


@pytest.fixture(scope="module")
def together(two_folder: Path) -> dict[str, list[Any]]:
    """What every rank of two found, by scenario; a rank that waits in vain ends it."""
    script = [sys.executable, "-m", "tests.callbacks.processes.in_processes", "2", str(two_folder)]
    subprocess.run(script, cwd=ROOT, check=True, timeout=300)
    results: dict[str, list[Any]] = json.loads((two_folder / "results.json").read_text())
    return results


def reader_of(folder: Path) -> RunReader:
    """The only run of a scenario."""
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    experiments = [each.experiment_id for each in MlflowClient(uri).search_experiments()]
    (run,) = MlflowClient(uri).search_runs(experiments)
    return RunReader(uri, run.info.run_id)


@pytest.mark.parametrize("strategy", ["plain", "sharded"])
def test_two_processes_give_the_numbers_of_one(
    strategy: str, alone: dict[str, Any], together: dict[str, list[Any]]
) -> None:
    assert alone["plain"]["monitor/samples"] == 47
    for rank in together[strategy]:
        assert_same_numbers(rank, alone["plain"])


def assert_same_numbers(one: dict[str, float], other: dict[str, float], rel: float = 1e-9) -> None:
    assert one.keys() == other.keys()
    for key in one.keys() - set(OTHER):
        assert one[key] == pytest.approx(other[key], rel=rel, abs=rel, nan_ok=True), key


def whole(numbers: dict[str, float]) -> dict[str, float]:
    """The numbers that stand on the whole of a model."""
    return {key: value for key, value in numbers.items() if key not in OF_A_PART}


def test_objects_whose_images_are_shared_out_stay_in_one_fold(
    alone: dict[str, Any], together: dict[str, list[Any]], one_folder: Path, two_folder: Path
) -> None:
    for rank in together["grouped"]:
        assert_same_numbers(rank, alone["grouped"])
    one, two = (
        reader_of(folder / "grouped").table("images", 0, 0) for folder in (one_folder, two_folder)
    )
    assert_frame_equal(two, one, rtol=1e-9, atol=1e-9)
    folds = one.groupby(one["sample_index"] // 3)["fold"]
    assert (folds.nunique() == 1).all()
    assert sorted(folds.first().unique()) == [0, 1]


@pytest.mark.parametrize("strategy", ["own_probe", "own_probe_sharded"])
def test_trained_in_two_processes_on_a_probe_of_its_own_a_model_gives_the_numbers_of_one(
    strategy: str, alone: dict[str, Any], together: dict[str, list[Any]]
) -> None:
    expected = alone["own_probe"]["epochs"]
    assert [epoch["monitor/samples"] for epoch in expected[::2]] == [47, 47]
    assert [math.isfinite(epoch["sing/image_score"]) for epoch in expected] == [True, False, True]
    for rank in together[strategy]:
        assert rank["warnings"] == []
        for epoch, numbers in zip(rank["epochs"], expected, strict=True):
            if strategy == "own_probe_sharded":
                assert_same_numbers(whole(epoch), whole(numbers))
            else:
                assert_same_numbers(epoch, numbers)


def test_a_rank_that_fails_on_the_probe_is_not_waited_for(
    together: dict[str, list[Any]],
) -> None:
    first, second = together["own_probe_disturbed"]
    for rank in (first, second):
        assert [epoch["monitor/skipped"] for epoch in rank["epochs"][:2]] == [47, 0]
        assert math.isfinite(rank["epochs"][1]["sing/image_score"])
    (warning,) = first["warnings"]
    assert "no scores for epoch 0: rank 1 is out of memory" in warning
    assert second["warnings"] == []


@pytest.mark.usefixtures("alone", "together")
def test_two_processes_keep_the_maps_of_one(one_folder: Path, two_folder: Path) -> None:
    """Of the same ten images, whatever process they came to."""
    ours, expected = (reader_of(folder / "plain").snapshot() for folder in (two_folder, one_folder))
    assert ours.maps is not None
    assert expected.maps is not None
    smallest = hashes(expected.ids).sort().values[:10]
    assert torch.equal(hashes(expected.maps.image_ids).sort().values, smallest)
    assert torch.equal(ours.maps.image_ids, expected.maps.image_ids)
    assert ours.maps.layer == expected.maps.layer == "network.2"
    assert expected.maps.values.shape == (10, 16, 5, 5)
    torch.testing.assert_close(ours.maps.values, expected.maps.values, rtol=1e-6, atol=1e-6)


@pytest.mark.usefixtures("alone", "together")
def test_two_processes_keep_the_stages_of_one(one_folder: Path, two_folder: Path) -> None:
    ours, expected = (reader_of(folder / "plain").snapshot() for folder in (two_folder, one_folder))
    assert ours.stages is not None
    assert expected.stages is not None
    assert torch.equal(ours.stages.image_ids, expected.ids.sort().values)
    assert torch.equal(expected.stages.image_ids, ours.stages.image_ids)
    assert list(ours.stages.values) == list(expected.stages.values) == ["network.0", "network.1"]
    for name, values in expected.stages.values.items():
        torch.testing.assert_close(ours.stages.values[name], values, rtol=1e-6, atol=1e-6)


@pytest.mark.usefixtures("alone", "together")
def test_two_processes_write_the_tables_of_one(one_folder: Path, two_folder: Path) -> None:
    one, two = reader_of(one_folder / "plain"), reader_of(two_folder / "plain")
    assert one.validations() == two.validations() == [(0, 0)]
    for table in TABLES:
        expected = one.table(table, 0, 0)
        assert_frame_equal(two.table(table, 0, 0), expected, rtol=1e-9, atol=1e-9)
    ids = one.table("images", 0, 0).query("mover")["image"]
    assert two.thumbnails(ids).keys() == one.thumbnails(ids).keys() == set(ids)


def test_images_that_an_unknown_sampler_repeats_count_once(
    alone: dict[str, Any], together: dict[str, list[Any]]
) -> None:
    assert alone["shuffled"]["logged"]["monitor/samples"] == 47
    for rank in together["shuffled"]:
        assert rank["warnings"] == []
        assert_same_numbers(rank["logged"], alone["shuffled"]["logged"])


def test_of_a_stream_two_processes_score_the_images_of_one(
    alone: dict[str, Any], together: dict[str, list[Any]], one_folder: Path, two_folder: Path
) -> None:
    expected = alone["streamed"]["epochs"]
    assert [epoch["monitor/samples"] for epoch in expected] == [20, 20]
    assert [epoch["monitor/skipped"] for epoch in expected] == [0, 0]
    for rank in together["streamed"]:
        assert rank["warnings"] == []
        for epoch, numbers in zip(rank["epochs"], expected, strict=True):
            assert_same_numbers(epoch, numbers)
    one, two = (reader_of(folder / "streamed") for folder in (one_folder, two_folder))
    for place in one.validations():
        images = one.table("images", *place)
        assert images["image"].is_unique
        assert_frame_equal(two.table("images", *place), images, rtol=1e-9, atol=1e-9)


def test_a_rank_that_loses_all_its_batches_is_left_out_and_counted(
    together: dict[str, list[Any]],
) -> None:
    first, second = together["half_deaf"]
    for rank in (first, second):
        assert rank["logged"]["monitor/samples"] == 24
        assert rank["logged"]["monitor/skipped"] == 24
    (warning,) = first["warnings"]
    assert "batches that could not be used in epoch 0: 3, with 24 images" in warning
    assert second["warnings"] == []


def test_a_fault_on_one_rank_is_a_fault_on_all(
    two_folder: Path, together: dict[str, list[Any]]
) -> None:
    first, second = together["disturbed"]
    for rank in (first, second):
        assert [epoch["monitor/skipped"] for epoch in rank["logged"]] == [48, 48, 0, 0]
        scores = [epoch["sing/image_score"] for epoch in rank["logged"]]
        assert [math.isfinite(score) for score in scores] == [False, False, True, True]
    for one, other in zip(first["logged"], second["logged"], strict=True):
        assert_same_numbers(one, other, rel=0)
    embeddings, features, disk = first["warnings"]
    assert "no scores for epoch 0: rank 1 is out of memory" in embeddings
    assert "no scores for epoch 1: features of 24 of 48 images" in features
    assert "the tables of epoch 2 were lost" in disk
    assert second["warnings"] == []
    reader = reader_of(two_folder / "disturbed")
    assert reader.scalars()["epoch"].tolist() == [0, 1, 2, 3]
    assert [epoch for epoch, _ in reader.validations()] == [3]


def test_weights_on_several_processes_are_those_of_an_undisturbed_training(
    together: dict[str, list[Any]],
) -> None:
    assert [rank["is_undisturbed"] for rank in together["disturbed"]] == [True, True]


def test_ranks_log_the_same_keys_though_one_has_understood_nothing(
    together: dict[str, list[Any]],
) -> None:
    first, second = together["lopsided"]
    assert first == second
    assert "attribute/half_score" in first


def test_a_space_that_one_rank_cannot_load_ends_all(together: dict[str, list[Any]]) -> None:
    first, second = together["lame"]
    assert "another process failed" in first
    assert "no-such-weights" in second


@NEEDS_CUDA  # FSDP1 refuses the CPU
def test_fsdp1_gives_the_numbers_of_one_process(tmp_path: Path) -> None:
    scores = []
    for strategy in ("auto", FSDPStrategy()):
        run = tiny.trainer(
            tmp_path, tiny.callback(), accelerator="cuda", devices=1, strategy=strategy
        )
        found = run.validate(tiny.Classifier(), tiny.loader(tiny.Blobs()), verbose=False)
        scores.append(found[0])
    for key in scores[0].keys() - set(OTHER):
        assert scores[1][key] == pytest.approx(scores[0][key], rel=1e-3, abs=1e-3, nan_ok=True), key
