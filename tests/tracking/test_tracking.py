from __future__ import annotations

import errno
import json
import math
import os
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities import Metric
from numpy.typing import NDArray
from pandas.testing import assert_frame_equal

from sing_monitor.findings import Findings
from sing_monitor.snapshot import Snapshot
from sing_monitor.tracking import (
    SCHEMA,
    ArtifactNotFoundError,
    DeliveryError,
    Layout,
    MlflowRun,
    NotFoundError,
    RunNotFoundError,
    RunReader,
    RunWriter,
    StoreError,
    list_runs,
    mlflow_queries,
)
from sing_monitor.untrusted.settings import analyses_by_epoch
from tests.helpers.stores.databases import empty_database
from tests.helpers.stores.servers import busy_server

Images = dict[str, NDArray[np.uint8]]


@dataclass(frozen=True)
class Store:
    """A real MLflow store on SQLite; each test has an experiment and folders of its own."""

    uri: str
    client: MlflowClient
    experiment_id: str
    folder: Path

    def run(self, **kwargs: Any) -> str:
        return str(self.client.create_run(self.experiment_id, **kwargs).info.run_id)

    @property
    def experiment(self) -> str:
        return str(self.client.get_experiment(self.experiment_id).name)

    @property
    def artifacts(self) -> Path:
        return self.folder / "artifacts"

    def writer(self, run_id: str, name: str | None = None) -> RunWriter:
        return RunWriter(MlflowRun(self.client, run_id), self.folder / "spool", name)

    def reader(self, run_id: str, name: str | None = None) -> RunReader:
        return RunReader(self.uri, run_id, name)

    def log(self, run_id: str, metrics: Mapping[str, float], step: int, at: int = 0) -> None:
        entities = [Metric(key, value, at, step) for key, value in metrics.items()]
        self.client.log_batch(run_id, metrics=entities)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    return empty_database(tmp_path_factory.mktemp("store") / "mlflow.db")


@pytest.fixture
def store(database: str, tmp_path: Path, request: pytest.FixtureRequest) -> Store:
    client = MlflowClient(database)
    experiment = client.create_experiment(
        request.node.name, artifact_location=(tmp_path / "artifacts").as_uri()
    )
    return Store(database, client, experiment, tmp_path)


def tables(**frames: pd.DataFrame) -> Findings:
    return Findings(tables=frames)


def one_table(value: float = 1.0) -> Findings:
    return tables(classes=pd.DataFrame({"score": [value]}))


def thumbnails(*numbers: int) -> Images:
    """Images by id; each is filled with noise of its own."""
    rng = {n: np.random.default_rng(n) for n in numbers}
    return {f"{n:016x}": rng[n].integers(0, 256, (64, 64, 3), np.uint8) for n in numbers}


def assert_same_images(found: Mapping[str, Any], expected: Images) -> None:
    assert found.keys() == expected.keys()
    for key, image in expected.items():
        np.testing.assert_array_equal(found[key], image)


# Tables


FRAMES: dict[str, Callable[[], pd.DataFrame]] = {
    "dtypes": lambda: pd.DataFrame(
        {
            "text": ["a", "b"],
            "count": np.array([1, -(2**62)], dtype=np.int64),
            "score": [0.1, math.nan],
            "right": [True, False],
            "half": np.array([1.5, -2.0], dtype=np.float32),
        }
    ),
    "any script": lambda: pd.DataFrame({"class": ["Füchsin", "狐", "ثعلب", "🦊", "<b>&'\"", ""]}),
    "no name": lambda: pd.DataFrame({"class": ["a", None]}),
    "lists": lambda: pd.DataFrame({"neighbours": [["a", "b"], [], ["狐"]], "n": [2, 0, 1]}),
    "lists of numbers": lambda: pd.DataFrame({"angles": [[0.1, 2.0], [1.0]], "at": [[1], [2, 3]]}),
    "no rows": lambda: FRAMES["dtypes"]().iloc[:0],
    "no rows of lists": lambda: FRAMES["lists"]().iloc[:0],
    "no columns": lambda: pd.DataFrame(),
    "column order": lambda: pd.DataFrame({"z": [1], "a": [2], "m": [3]}),
    "index": lambda: pd.DataFrame({"x": [1, 2]}, index=pd.Index([5, 3], name="image")),
    "many rows": lambda: pd.DataFrame({"x": np.arange(100_000), "y": np.linspace(0, 1, 100_000)}),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_a_table_comes_back_as_it_was(kind: str, store: Store) -> None:
    run_id, frame = store.run(), FRAMES[kind]()
    store.writer(run_id).write(tables(class_concepts=frame), epoch=7, step=1234)
    read = store.reader(run_id).table("class_concepts", 7, 1234)
    assert_frame_equal(read, frame)
    for column in frame:
        assert [*map(type, read[column])] == [*map(type, frame[column])]


def test_some_rows_and_columns_of_a_table_are_read(store: Store) -> None:
    run_id = store.run()
    frame = pd.DataFrame({"name": ["a", "b", "b"], "n": [1, 2, 3], "near": [["x"], [], ["y"]]})
    store.writer(run_id).write(tables(classes=frame), epoch=0, step=1)
    reader = store.reader(run_id)
    read = reader.table("classes", 0, 1, ["near", "unheard_of"], ("name", "b"))
    assert_frame_equal(read, pd.DataFrame({"near": [[], ["y"]]}))
    assert reader.table("classes", 0, 1, where=("n", 1))["name"].tolist() == ["a"]
    with pytest.raises(ValueError, match="another version"):
        reader.table("classes", 0, 1, where=("unheard_of", 1))


def test_validations_are_sorted_by_number(store: Store) -> None:
    run_id = store.run()
    writer = store.writer(run_id)
    pairs = [(10_000, 10**9), (0, 5), (9_999, 7), (0, 10)]
    for epoch, step in pairs:
        writer.write(one_table(step), epoch=epoch, step=step)
    reader = store.reader(run_id)
    assert reader.validations() == sorted(pairs)
    assert reader.table("classes", 10_000, 10**9)["score"].item() == 10**9


def test_a_validation_that_is_repeated_replaces_its_tables(store: Store) -> None:
    run_id = store.run()
    for value in (1.0, 2.0):
        store.writer(run_id).write(one_table(value), epoch=0, step=5)
    reader = store.reader(run_id)
    assert reader.validations() == [(0, 5)]
    assert reader.table("classes", 0, 5)["score"].tolist() == [2.0]


def test_the_layout_is_the_documented_one(store: Store) -> None:
    run_id = store.run()
    store.writer(run_id).write(one_table(), epoch=7, step=1234)
    store.writer(run_id, "aux").write(one_table(), epoch=7, step=1234)
    files = {
        str(path.relative_to(store.artifacts / run_id / "artifacts"))
        for path in store.artifacts.rglob("*")
        if path.is_file()
    }
    tries = {re.sub(r"\.\d{19}\.", ".N.", path) for path in files}
    assert tries == {
        f"{folder}/epoch=0007-step=00001234{end}"
        for folder in ("sing", "sing.aux")
        for end in ("/classes.parquet", ".N.begun.json", ".N.complete.json")
    }


@pytest.mark.parametrize("name", ["", "a.b", "a/b", "..", "ü", "a b"])
def test_a_name_that_is_no_folder_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be called"):
        Layout(name)


# Settings and tags


def test_a_run_is_described_once(store: Store) -> None:
    run_id = store.run()
    config = {"concepts": ["rot", "狐"], "rtol": 1e-3, "name": None}
    store.writer(run_id).describe(config, {"reference": "text", "head": "fc" * 5000})
    store.writer(run_id).describe({"concepts": []}, {"reference": "prototype"})
    assert store.reader(run_id).config() == config
    tags = store.client.get_run(run_id).data.tags
    assert tags["sing.schema"] == SCHEMA
    assert tags["sing.reference"] == "prototype"
    assert tags["sing.head"] == ("fc" * 5000)[:5000]


def test_a_run_that_is_taken_up_again_tells_from_when_on_it_has_other_analyses(
    store: Store,
) -> None:
    run_id = store.run()
    for chosen, since in ((["head"], 0), (["head"], 2), (None, 4), (["sing"], 6), (["head"], 5)):
        config = {"analyses": chosen, "n_maps": since}
        store.writer(run_id).describe(config, {}, since=since)
        found = store.reader(run_id).config()
        assert analyses_by_epoch(found)[-1].chosen == (chosen and tuple(chosen))
        assert (found["analyses"], found["n_maps"]) == (["head"], 0)
    # The last one went back behind the one before.
    assert found["analyses_since"] == [[0, ["head"]], [4, None], [5, ["head"]]]


def test_two_monitors_of_one_run_do_not_meet(store: Store) -> None:
    run_id = store.run()
    for name, value in ((None, 1.0), ("aux", 2.0)):
        writer = store.writer(run_id, name)
        writer.describe({"value": value}, {"space": f"space {value}"})
        findings = Findings(
            {"sing/image_score": value, "head/rank": value}, one_table(value).tables
        )
        writer.write(findings, epoch=0, step=1, thumbnails=thumbnails(int(value)))
        logged = {Layout(name).metric(key): value for key, value in findings.scalars.items()}
        store.log(run_id, logged, step=0)
    for name, value in ((None, 1.0), ("aux", 2.0)):
        reader = store.reader(run_id, name)
        assert reader.config() == {"value": value}
        assert reader.validations() == [(0, 1)]
        assert reader.table("classes", 0, 1)["score"].tolist() == [value]
        scalars = reader.scalars()
        assert list(scalars.columns[4:]) == ["head/rank", "sing/image_score"]
        assert scalars["sing/image_score"].tolist() == [value]
        assert_same_images(reader.thumbnails(thumbnails(1, 2)), thumbnails(int(value)))
        assert reader.other_metrics() == []
    found = list_runs(store.uri, store.experiment).sort_values("sing.space")
    assert found["name"].tolist() == [None, "aux"]
    assert found["sing.space"].tolist() == ["space 1.0", "space 2.0"]
    assert found["head/rank"].tolist() == [1.0, 2.0]


def test_parameters_of_the_run_stand_in_the_list(store: Store) -> None:
    run_id = store.run()
    store.writer(run_id).describe({}, {})
    store.client.log_param(run_id, "learning_rate", 0.1)
    assert list_runs(store.uri, store.experiment)["param.learning_rate"].tolist() == ["0.1"]


# Thumbnails


def test_thumbnails_come_back_and_are_stored_once(store: Store) -> None:
    run_id = store.run()
    writer, reader = store.writer(run_id), store.reader(run_id)
    first, second = thumbnails(*range(20)), thumbnails(*range(15, 40))
    writer.write(one_table(), epoch=0, step=1, thumbnails=first)
    writer.write(one_table(), epoch=1, step=2, thumbnails=second)
    writer.write(one_table(), epoch=2, step=3, thumbnails=first)
    writer.write(one_table(), epoch=3, step=4, thumbnails={})
    assert_same_images(reader.thumbnails(first | second), first | second)
    assert [len(ids) for _, ids in reader.sheets()] == [20, 20]
    some = thumbnails(3, 39)
    assert_same_images(reader.thumbnails([*some, "f" * 16]), some)
    assert reader.thumbnails([]) == {}


def test_a_resumed_run_stores_no_thumbnail_again(store: Store) -> None:
    run_id = store.run()
    store.writer(run_id).write(one_table(), epoch=0, step=1, thumbnails=thumbnails(1, 2))
    store.writer(run_id).write(one_table(), epoch=0, step=1, thumbnails=thumbnails(2, 3))
    reader = store.reader(run_id)
    assert sorted(len(ids) for _, ids in reader.sheets()) == [1, 2]
    assert_same_images(reader.thumbnails(thumbnails(1, 2, 3)), thumbnails(1, 2, 3))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ({"../../../etc/pass": np.zeros((64, 64, 3), np.uint8)}, "16 hex digits"),
        ({"0" * 16: np.zeros((32, 64, 3), np.uint8)}, r"\(32, 64, 3\) uint8"),
        ({"0" * 16: np.zeros((64, 64, 3))}, r"\(64, 64, 3\) float64"),
    ],
)
def test_a_thumbnail_that_fits_no_sheet_is_refused(
    images: Images, message: str, store: Store
) -> None:
    with pytest.raises(ValueError, match=message):
        store.writer(store.run()).write(one_table(), epoch=0, step=1, thumbnails=images)


def test_a_snapshot_comes_back(store: Store) -> None:
    run_id = store.run()
    for epoch in (1, 2):
        snapshot = Snapshot(
            weight=torch.eye(2, 3),
            bias=None,
            features=torch.rand(4, 3),
            labels=torch.tensor([0, 1, 1, 0]),
            embeddings=torch.rand(4, 5),
            class_names=("a", "狐"),
            epoch=epoch,
        )
        store.writer(run_id).write_snapshot(snapshot)
    read = store.reader(run_id).snapshot()
    assert (read.epoch, read.class_names) == (2, ("a", "狐"))
    assert torch.equal(read.features, snapshot.features)


# Curves


def described(store: Store, *groups: str, **tags: str) -> str:
    run_id = store.run()
    writer = store.writer(run_id)
    writer.describe({}, tags)
    writer.write(Findings({f"{group}/x": 0.0 for group in groups}), epoch=0, step=0)
    return run_id


def test_curves_are_one_row_per_validation(store: Store) -> None:
    run_id = described(store, "sing", "head")
    for epoch, (step, score) in enumerate([(3, 10.0), (7, math.nan), (11, math.inf)]):
        at = 1000 * (epoch + 1)
        ours = {"sing/image_score": score, "head/rank": 4.0, "monitor/global_step": step + 1.0}
        store.log(run_id, {"epoch": epoch, "val_acc": 0.5, **ours}, step, at)
        store.log(run_id, {"epoch": epoch, "train_loss": 0.1}, step - 1, at - 1)
    reader = store.reader(run_id)
    frame = reader.scalars(others=["val_acc", "train_loss", "nothing"])
    assert_frame_equal(
        frame,
        pd.DataFrame(
            {
                "epoch": pd.array([0, 1, 2], dtype="Int64"),
                "global_step": pd.array([4, 8, 12], dtype="Int64"),
                "step": [3, 7, 11],
                "timestamp": pd.to_datetime([1000, 2000, 3000], unit="ms", utc=True),
                "head/rank": [4.0, 4.0, 4.0],
                "monitor/global_step": [4.0, 8.0, 12.0],
                "sing/image_score": [10.0, math.nan, math.nan],
                "val_acc": [0.5, 0.5, 0.5],
                "train_loss": [math.nan] * 3,
                "nothing": [math.nan] * 3,
            }
        ),
    )
    assert reader.other_metrics() == ["train_loss", "val_acc"]
    some = reader.scalars(["sing/image_score", "sing/unknown"])
    assert list(some.columns[4:]) == ["sing/image_score", "sing/unknown"]
    assert some["sing/unknown"].isna().all()
    assert some["global_step"].tolist() == [4, 8, 12]


def test_the_newest_value_of_a_step_counts(store: Store) -> None:
    run_id = described(store, "sing")
    for step, at, value in [
        (3, 100, 1.0),
        (7, 200, 2.0),
        (7, 400, 4.0),
        (11, 500, 5.0),
        (7, 300, 3.0),
    ]:
        store.log(run_id, {"epoch": value, "sing/x": value}, step, at)
    frame = store.reader(run_id).scalars()
    assert frame["step"].tolist() == [3, 7, 11]
    assert frame["sing/x"].tolist() == [1.0, 4.0, 5.0]
    assert frame["epoch"].tolist() == [1, 4, 5]
    assert frame["timestamp"].iloc[1] == pd.Timestamp(400, unit="ms", tz="UTC")


def test_a_run_without_curves_gives_an_empty_frame_of_the_same_columns(store: Store) -> None:
    frame = store.reader(described(store, "sing")).scalars(["sing/x"])
    assert len(frame) == 0
    assert list(frame.columns) == ["epoch", "global_step", "step", "timestamp", "sing/x"]
    assert frame["timestamp"].dt.tz is not None


@pytest.mark.parametrize("prefix", ["", "fold1", "fold:1", "a/b"])
def test_curves_of_lightnings_logger_are_found_under_any_prefix(prefix: str, store: Store) -> None:
    from lightning.pytorch.loggers import MLFlowLogger

    logger = MLFlowLogger(store.experiment, tracking_uri=store.uri, prefix=prefix)
    writer = RunWriter(
        MlflowRun(logger.experiment, str(logger.run_id)), store.folder / "spool", "aux"
    )
    writer.describe({}, {"metric_prefix": prefix})
    writer.write(Findings({"sing/score": 1.0}), epoch=2, step=8)
    values = {"sing.aux/score": 1.0, "monitor.aux/global_step": 8.0, "val_acc": 0.5, "epoch": 2.0}
    logger.log_metrics(values, step=7)
    reader = store.reader(str(logger.run_id), "aux")
    row = reader.scalars(others=["val_acc"]).iloc[0]
    assert (row["epoch"], row["global_step"], row["step"]) == (2, 8, 7)
    assert (row["sing/score"], row["val_acc"]) == (1.0, 0.5)
    assert reader.other_metrics() == ["val_acc"]
    assert list_runs(store.uri, store.experiment)["sing/score"].tolist() == [1.0]


# Runs


def test_runs_with_findings_are_listed_page_by_page(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_queries, "RUNS_PER_PAGE", 2)
    ids = [store.run(run_name=f"run {i}", start_time=i + 1) for i in range(7)]
    for run_id in ids[:6]:
        store.writer(run_id).describe({}, {"model": "resnet18"})
    store.client.delete_run(ids[2])
    store.client.set_terminated(ids[0], "FAILED", end_time=5)
    frame = list_runs(store.uri, store.experiment)
    assert frame["run_name"].tolist() == [f"run {i}" for i in (5, 4, 3, 1, 0)]
    assert set(frame["sing.model"]) == {"resnet18"}
    assert frame["status"].tolist() == ["RUNNING"] * 4 + ["FAILED"]
    assert frame["start_time"].iloc[0] == pd.Timestamp(6, unit="ms", tz="UTC")
    assert frame["end_time"].isna().tolist() == [True] * 4 + [False]
    assert set(frame["run_id"]) <= set(list_runs(store.uri)["run_id"])


def test_no_runs_is_an_empty_frame_with_columns(store: Store) -> None:
    frame = list_runs(store.uri, store.experiment)
    assert len(frame) == 0
    assert {"run_id", "name", "run_name", "status", "start_time"} <= set(frame.columns)


def test_an_unknown_experiment_is_named(store: Store) -> None:
    with pytest.raises(NotFoundError, match=f"no experiment 'typo'.*{store.experiment}"):
        list_runs(store.uri, "typo")


READS: dict[str, Callable[[RunReader], object]] = {
    "config": RunReader.config,
    "validations": RunReader.validations,
    "table": lambda reader: reader.table("classes", 0, 1),
    "scalars": RunReader.scalars,
    "other_metrics": RunReader.other_metrics,
    "thumbnails": lambda reader: reader.thumbnails(["0" * 16]),
    "snapshot": RunReader.snapshot,
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
@pytest.mark.parametrize("run_id", ["0" * 32, "<b>", "../x"])
def test_an_unknown_run_is_named(
    read: Callable[[RunReader], object], run_id: str, store: Store
) -> None:
    with pytest.raises(RunNotFoundError, match=f"no run '{run_id}'"):
        read(store.reader(run_id))


def test_a_deleted_run_says_so(store: Store) -> None:
    run_id = store.run()
    store.client.delete_run(run_id)
    with pytest.raises(RunNotFoundError, match="was deleted"):
        store.reader(run_id).scalars()
    with pytest.raises(RunNotFoundError, match="was deleted"):
        store.reader(run_id).table("classes", 0, 1)


def test_a_missing_file_says_what_exists(store: Store) -> None:
    run_id = store.run()
    reader = store.reader(run_id)
    with pytest.raises(
        ArtifactNotFoundError, match=r"config\.json in sing; the folder holds nothing"
    ):
        reader.config()
    store.writer(run_id).write(one_table(), epoch=0, step=1)
    with pytest.raises(
        ArtifactNotFoundError, match=r"no concepts\.parquet.*holds classes\.parquet"
    ):
        reader.table("concepts", 0, 1)


@pytest.mark.parametrize("table", ["../secret", "a/b", "", "Classes", "classes.parquet", "a\n"])
def test_a_table_name_cannot_leave_the_folder(table: str, store: Store) -> None:
    with pytest.raises(ValueError, match="no table is called"):
        store.reader(store.run()).table(table, 0, 1)


@pytest.mark.parametrize("read", ["config", "table", "thumbnails", "snapshot"])
def test_a_damaged_file_is_a_value_error(read: str, store: Store) -> None:
    run_id = store.run()
    writer = store.writer(run_id)
    writer.describe({}, {})
    writer.write(one_table(), epoch=0, step=1, thumbnails=thumbnails(0))
    eye = torch.eye(2)
    writer.write_snapshot(Snapshot(eye, None, eye, torch.tensor([0, 1]), eye, ("a", "b")))
    for path in store.artifacts.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"cannot be read: .*damaged"):
        READS[read](store.reader(run_id))


# Faults


def block(store: Store, run_id: str) -> Path:
    """A file where the run's artifact folder should be: nothing can be stored there."""
    path = store.artifacts / run_id / "artifacts"
    path.parent.mkdir(parents=True)
    path.write_text("in the way")
    return path


def test_what_mlflow_refuses_waits_and_comes_with_the_next_write(store: Store) -> None:
    run_id = store.run()
    obstacle = block(store, run_id)
    writer = store.writer(run_id)
    with pytest.raises(DeliveryError, match=r"files could not be sent.*wait in"):
        writer.describe({"a": 1}, {"reference": "text"})
    with pytest.raises(DeliveryError) as caught:
        writer.write(one_table(0.0), epoch=0, step=1, thumbnails=thumbnails(0))
    assert caught.value.pending == writer.pending == 6  # config, table, marks, sheet and ids
    obstacle.unlink()
    writer.write(one_table(1.0), epoch=1, step=2, thumbnails=thumbnails(0, 1))
    assert writer.pending == 0
    reader = store.reader(run_id)
    assert reader.config() == {"a": 1}
    assert [reader.table("classes", *at)["score"].item() for at in reader.validations()] == [0, 1]
    assert sorted(ids for _, ids in reader.sheets()) == [[*thumbnails(0)], [*thumbnails(1)]]
    assert not (store.folder / "spool" / run_id / "sing").exists()


def test_the_next_process_of_the_run_delivers(store: Store) -> None:
    run_id = store.run()
    obstacle = block(store, run_id)
    with pytest.raises(DeliveryError):
        store.writer(run_id).write(one_table(), epoch=0, step=1, thumbnails=thumbnails(0))
    obstacle.unlink()
    later = store.writer(run_id)
    assert later.pending == 5
    later.deliver()
    assert later.pending == 0
    assert store.reader(run_id).validations() == [(0, 1)]
    later.deliver()


def test_without_a_server_everything_waits_and_no_password_is_kept(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        port = server.server_address[1]
    client = MlflowClient(f"http://bob:secret@127.0.0.1:{port}")
    writer = RunWriter(MlflowRun(client, "a" * 32), tmp_path)
    environment, drawn, start = dict(os.environ), random.getstate(), time.monotonic()
    with pytest.raises(DeliveryError, match=r"2 files could not be sent.*refused") as caught:
        writer.describe({}, {"reference": "text"})
    with pytest.raises(DeliveryError, match=r"7 files could not be sent.*refused"):
        writer.write(one_table(), epoch=0, step=1, thumbnails=thumbnails(0))
    assert time.monotonic() - start < 20
    assert dict(os.environ) == environment
    assert random.getstate() == drawn
    assert "\n" not in str(caught.value)
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert kept
    assert all(b"secret" not in data for data in [*kept, str(caught.value).encode()])
    about = json.loads(next(tmp_path.rglob("spool.json")).read_text())
    assert (about["run_id"], about["tracking_uri"]) == ("a" * 32, f"http://127.0.0.1:{port}")


def test_an_overloaded_server_is_asked_little_and_waited_for_briefly(tmp_path: Path) -> None:
    with busy_server(health=200) as (uri, asked):
        writer = RunWriter(MlflowRun(MlflowClient(uri), "a" * 32), tmp_path)
        drawn, start = random.getstate(), time.monotonic()
        with pytest.raises(DeliveryError, match=r"4 files could not be sent.*503"):
            writer.write(one_table(), epoch=0, step=1)
        assert time.monotonic() - start < 20
    assert random.getstate() == drawn
    assert asked[0] == "/health"
    assert len(asked) <= 1 + 2 * writer.pending


def test_an_unreachable_store_is_one_error_for_readers() -> None:
    with busy_server(health=200) as (uri, _):
        for read in (lambda: list_runs(uri), RunReader(uri, "a" * 32).scalars):
            with pytest.raises(StoreError, match="cannot be read"):
                read()


class FullDisk(pd.DataFrame):
    """A table that does not fit on the disk."""

    def to_parquet(self, *args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_says_what_was_lost_and_is_emptied(store: Store) -> None:
    run_id = store.run()
    obstacle = block(store, run_id)
    writer = store.writer(run_id)
    with pytest.raises(DeliveryError):
        writer.write(one_table(), epoch=0, step=1)
    obstacle.unlink()
    with pytest.raises(DeliveryError, match=r"tables of epoch 1 were lost.*No space left"):
        writer.write(tables(classes=FullDisk({"x": [1]})), epoch=1, step=2)
    assert writer.pending == 0
    assert store.reader(run_id).validations() == [(0, 1)]


def test_a_spool_that_cannot_be_written_loses_no_tag(store: Store) -> None:
    run_id = store.run()
    writer = store.writer(run_id)
    obstacle = store.folder / "spool"
    obstacle.write_text("in the way")
    with pytest.raises(DeliveryError, match="the settings were lost"):
        writer.describe({}, {"reference": "text"})
    with pytest.raises(DeliveryError, match="the tables of epoch 0 were lost"):
        writer.write(Findings({"sing/x": 1.0}), epoch=0, step=1)
    obstacle.unlink()
    writer.write(Findings({"sing/x": 1.0}), epoch=1, step=2)
    tags = store.client.get_run(run_id).data.tags
    assert (tags["sing.reference"], tags["sing.groups"]) == ("text", "monitor,sing")
