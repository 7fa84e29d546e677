"""What every tracker keeps and gives back; on a real MLflow database and on a plain folder."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from pandas.testing import assert_frame_equal

from sing_monitor.alerts import format_fired
from sing_monitor.findings import Findings
from sing_monitor.snapshot import Snapshot
from sing_monitor.tracking import (
    ArtifactNotFoundError,
    NotFoundError,
    Run,
    RunNotFoundError,
    RunReader,
    RunWriter,
    Store,
    StoreError,
    create_run,
    list_runs,
    mlflow,
    open_store,
)
from tests.helpers.stores.databases import empty_database

TABLE = pd.DataFrame({"class_name": ["Füchsin", "狐", "<b>&'\""], "n": [1, 2, 3]})
HOSTILE = ["", "../../etc/passwd", "a\nb\t", "<script>x</script>", "狐 🦊", "'; DROP TABLE runs;--"]


@dataclass(frozen=True)
class Tracker:
    """A kind of store, empty, with a folder for spools."""

    uri: str
    folder: Path

    @property
    def store(self) -> Store:
        return open_store(self.uri)

    def run(self, name: str | None = None, experiment: str = "digits") -> Run:
        return create_run(self.uri, run_name=name, experiment=experiment)

    def writer(self, run: Run, name: str | None = None) -> RunWriter:
        return RunWriter(run, self.folder / "spool", name)

    def reader(self, run: Run, name: str | None = None) -> RunReader:
        return RunReader(self.uri, run.run_id, name)

    def files(self) -> Iterator[Path]:
        """The files of runs, of any kind but the database."""
        for path in self.folder.rglob("*"):
            if (
                path.suffix != ".lock"
                and path.is_file()
                and "sing" in path.parent.as_posix().removeprefix(str(self.folder))
            ):
                yield path


@pytest.fixture(params=["mlflow", "folder"])
def tracker(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Tracker:
    if request.param == "folder":
        return Tracker(str(tmp_path / "runs"), tmp_path)
    # MLflow puts files beside the working directory where the experiment names no place.
    monkeypatch.chdir(tmp_path)
    # Without a logger beside it, nothing is to be waited for.
    monkeypatch.setattr(mlflow, "PATIENCE_SECONDS", 0.0)
    return Tracker(empty_database(tmp_path / "mlflow.db"), tmp_path)


def thumbnail(number: int) -> tuple[str, NDArray[np.uint8]]:
    rng = np.random.default_rng(number)
    return f"{number:016x}", rng.integers(0, 256, (64, 64, 3), np.uint8)


def snapshot(epoch: int) -> Snapshot:
    return Snapshot(
        weight=torch.eye(2, 3),
        bias=None,
        features=torch.rand(4, 3, generator=torch.Generator().manual_seed(epoch)),
        labels=torch.tensor([0, 1, 1, 0]),
        embeddings=torch.ones(4, 5),
        class_names=("a", "狐"),
        epoch=epoch,
    )


def log(writer: RunWriter, scalars: dict[str, float], epoch: int, step: int | None = None) -> None:
    """Write one validation as a training would that no logger helps."""
    step = 10 * epoch + 9 if step is None else step
    with writer.together():
        writer.describe({"epoch": epoch}, {"reference": "text"})
        writer.write(Findings(scalars, {"classes": TABLE}), epoch=epoch, step=step + 1)
        writer.keep_scalars(scalars, epoch=epoch, step=step + 1, tracker_step=step)


def test_all_that_is_written_comes_back(tracker: Tracker) -> None:
    run = tracker.run("first")
    writer, reader = tracker.writer(run), tracker.reader(run)
    images = dict(map(thumbnail, range(3)))
    writer.describe({"concepts": ["rot", "狐"], "rtol": 1e-3}, {"reference": "text", "model": "r"})
    writer.write(Findings({"sing/x": 1.0}, {"classes": TABLE}), epoch=0, step=10, thumbnails=images)
    writer.write_snapshot(snapshot(0))
    writer.write_tags({"alerts": format_fired({"low": 3})})
    writer.keep_scalars({"sing/x": 1.0}, epoch=0, step=10, tracker_step=9)
    writer.deliver()
    assert writer.pending == 0
    assert reader.config() == {"concepts": ["rot", "狐"], "rtol": 1e-3}
    assert reader.validations() == [(0, 10)]
    assert_frame_equal(reader.table("classes", 0, 10), TABLE)
    assert_frame_equal(
        reader.table("classes", 0, 10, ["n"], ("class_name", "狐")), pd.DataFrame({"n": [2]})
    )
    found = reader.thumbnails(images)
    assert found.keys() == images.keys()
    assert all(np.array_equal(found[key], images[key]) for key in images)
    assert torch.equal(reader.snapshot().features, snapshot(0).features)
    assert reader.alerts() == {"low": 3}
    row = reader.scalars().iloc[0]
    assert (row["epoch"], row["global_step"], row["step"]) == (0, 10, 9)
    assert row["sing/x"] == 1.0
    assert abs(row["timestamp"] - pd.Timestamp.now("UTC")) < pd.Timedelta(minutes=1)
    listed = list_runs(tracker.uri).iloc[0]
    assert (listed["run_id"], listed["run_name"]) == (run.run_id, "first")
    assert (listed["sing.model"], listed["sing/x"]) == ("r", 1.0)


def test_the_frames_of_all_trackers_have_the_same_types(tracker: Tracker) -> None:
    run = tracker.run("typed")
    log(tracker.writer(run), {"sing/x": 1.0}, 0)
    run.finish("FINISHED")
    scalars, runs = tracker.reader(run).scalars(), list_runs(tracker.uri)
    assert list(scalars.columns[:4]) == ["epoch", "global_step", "step", "timestamp"]
    kinds = [scalars[name].dtype.kind for name in scalars]
    assert kinds == ["i", "i", "i", "M", "f", "f"]
    assert list(runs.columns) == [
        *("run_id", "name", "run_name", "experiment", "experiment_id", "status"),
        *("start_time", "end_time", "monitor/global_step"),
        *("sing.groups", "sing.reference", "sing.schema", "sing/x"),
    ]
    assert str(runs["start_time"].dtype).endswith("UTC]")
    assert runs["end_time"][0] >= runs["start_time"][0]


def test_undefined_and_infinite_values_are_read_as_nan(tracker: Tracker) -> None:
    run = tracker.run()
    writer = tracker.writer(run)
    for epoch, value in enumerate([1.0, math.nan, math.inf, -math.inf]):
        log(writer, {"sing/x": value, "head/rank": 4.0}, epoch)
    read = tracker.reader(run).scalars(["sing/x", "head/rank", "sing/never"])
    assert read["sing/x"].isna().tolist() == [False, True, True, True]
    assert read["head/rank"].tolist() == [4.0] * 4
    assert read["sing/never"].isna().all()
    assert math.isnan(list_runs(tracker.uri)["sing/x"][0])


def test_the_newest_value_of_a_step_counts(tracker: Tracker) -> None:
    run = tracker.run()
    for shift in (0.0, 10.0):
        later = tracker.writer(run)
        for epoch in range(2):
            log(later, {"sing/x": epoch + shift}, epoch)
    reader = tracker.reader(run)
    assert reader.scalars()["sing/x"].tolist() == [10.0, 11.0]
    assert reader.scalars()["epoch"].tolist() == [0, 1]
    assert reader.config() == {"epoch": 0}, "a resumed run keeps its first config"
    assert list_runs(tracker.uri)["sing/x"].tolist() == [11.0]


def test_scalars_are_sent_once(tracker: Tracker) -> None:
    run = tracker.run()
    log(tracker.writer(run), {"sing/x": 1.0}, 0)
    since = 0
    assert run.has_scalar("monitor/global_step", 10.0, since)
    assert not run.has_scalar("monitor/global_step", 10.0, 4_000_000_000_000)
    assert not run.has_scalar("monitor/global_step", 11.0, since)
    assert not run.has_scalar("sing/unheard_of", 10.0, since)
    assert len(tracker.store.histories([run.run_id], ["sing/x"])) == 1


def test_other_metrics_of_the_run_are_told_apart(tracker: Tracker) -> None:
    run = tracker.run()
    log(tracker.writer(run), {"sing/x": 1.0}, 0)
    run.put_scalars({"val_acc": 0.5}, 9, 1)
    reader = tracker.reader(run)
    assert reader.other_metrics() == ["val_acc"]
    assert reader.scalars(others=["val_acc"])["val_acc"].tolist() == [0.5]


def test_what_a_training_logs_of_its_place_is_no_metric(tracker: Tracker) -> None:
    run = tracker.run()
    log(tracker.writer(run), {"sing/x": 1.0}, 0)
    places = dict.fromkeys(("epoch", "global_step", "step", "timestamp", "run_id"), 7.0)
    run.put_scalars({**places, "val_acc": 0.5}, 9, 1)
    assert tracker.reader(run).other_metrics() == ["val_acc"]


def test_a_run_without_curves_gives_an_empty_frame(tracker: Tracker) -> None:
    run = tracker.run()
    tracker.writer(run).describe({}, {})
    for frame in (tracker.reader(run).scalars(["sing/x"]), tracker.reader(run).scalars([])):
        assert len(frame) == 0
        assert list(frame.columns[:4]) == ["epoch", "global_step", "step", "timestamp"]
        assert frame["timestamp"].dt.tz is not None
    assert tracker.reader(run).validations() == []
    assert tracker.reader(run).thumbnails(["0" * 16]) == {}


def test_several_monitors_of_one_run_do_not_meet(tracker: Tracker) -> None:
    run = tracker.run()
    for name, value in ((None, 1.0), ("aux", 2.0)):
        log(tracker.writer(run, name), {"sing/x": value}, 0)
    for name, value in ((None, 1.0), ("aux", 2.0)):
        assert tracker.reader(run, name).scalars()["sing/x"].tolist() == [value]
        assert tracker.reader(run, name).validations() == [(0, 10)]
        assert tracker.reader(run, name).other_metrics() == []
    found = list_runs(tracker.uri)
    assert found["name"].tolist() == ["aux", None]
    assert found["sing/x"].tolist() == [2.0, 1.0]


READS: dict[str, Callable[[RunReader], object]] = {
    "config": RunReader.config,
    "validations": RunReader.validations,
    "table": lambda reader: reader.table("classes", 0, 10),
    "scalars": RunReader.scalars,
    "other_metrics": RunReader.other_metrics,
    "thumbnails": lambda reader: reader.thumbnails(["0" * 16]),
    "snapshot": RunReader.snapshot,
    "alerts": RunReader.alerts,
}


def test_an_unknown_run_is_named(tracker: Tracker) -> None:
    tracker.run()
    for run_id in ("0" * 32, "<b>", "../x", "..", "", "a\0b", "/etc"):
        for read in READS.values():
            with pytest.raises(RunNotFoundError, match=r"has no run .*may have been deleted"):
                read(RunReader(tracker.uri, run_id))
        for open_run in (tracker.store.open_run, tracker.store.resume_run):
            with pytest.raises(RunNotFoundError):
                open_run(run_id)


def test_a_missing_file_says_what_exists(tracker: Tracker) -> None:
    run = tracker.run()
    with pytest.raises(ArtifactNotFoundError, match=r"no config\.json in sing; .* holds nothing"):
        tracker.reader(run).config()
    log(tracker.writer(run), {"sing/x": 1.0}, 0)
    with pytest.raises(ArtifactNotFoundError, match=r"no concepts\.parquet.*classes\.parquet"):
        tracker.reader(run).table("concepts", 0, 10)
    with pytest.raises(ArtifactNotFoundError, match=r"no snapshot\.safetensors"):
        tracker.reader(run).snapshot()


def test_runs_are_listed_newest_first_and_by_experiment(tracker: Tracker) -> None:
    runs = [tracker.run(f"run {number}", ("one", "two")[number % 2]) for number in range(4)]
    for run in runs[1:]:
        tracker.writer(run).describe({}, {"model": "resnet18"})
    runs[3].finish("FAILED")
    runs[1].finish("FINISHED")
    found = list_runs(tracker.uri)
    # No monitor wrote to the first.
    assert sorted(found["run_name"]) == ["run 1", "run 2", "run 3"]
    assert found["start_time"].is_monotonic_decreasing
    status = dict(zip(found["run_name"], found["status"], strict=True))
    assert status == {"run 1": "FINISHED", "run 2": "RUNNING", "run 3": "FAILED"}
    assert found.set_index("run_name")["end_time"].isna()["run 2"]
    assert list_runs(tracker.uri, "one")["run_name"].tolist() == ["run 2"]
    with pytest.raises(NotFoundError, match=r"no experiment 'typo'; it has .*one"):
        list_runs(tracker.uri, "typo")


def test_a_store_without_runs_is_an_empty_frame_with_columns(tracker: Tracker) -> None:
    tracker.run()
    frame = list_runs(tracker.uri)
    assert len(frame) == 0
    assert {"run_id", "name", "run_name", "status", "start_time"} <= set(frame.columns)


def test_a_finished_run_is_taken_up_again(tracker: Tracker) -> None:
    run = tracker.run("again")
    log(tracker.writer(run), {"sing/x": 1.0}, 0)
    run.finish("KILLED")
    later = create_run(tracker.uri, run_id=run.run_id)
    assert later.run_id == run.run_id
    assert tracker.store.run(run.run_id).status == "RUNNING"
    log(tracker.writer(later), {"sing/x": 2.0}, 1)
    later.finish("FINISHED")
    found = list_runs(tracker.uri)
    assert (found["status"].tolist(), found["run_name"].tolist()) == (["FINISHED"], ["again"])
    assert tracker.reader(later).scalars()["sing/x"].tolist() == [1.0, 2.0]


def test_opening_a_run_leaves_its_status(tracker: Tracker) -> None:
    run = tracker.run()
    run.finish("FINISHED")
    tracker.writer(tracker.store.open_run(run.run_id)).describe({}, {})
    assert list_runs(tracker.uri)["status"].tolist() == ["FINISHED"]


def test_hostile_names_and_tags_are_only_text(tracker: Tracker) -> None:
    for text in HOSTILE:
        run = tracker.run(f"name{text}", experiment=f"experiment{text}")
        writer = tracker.writer(run)
        writer.describe({"prompt": text}, {"model": f"model{text}", "space": "x" * 5000})
        found = list_runs(tracker.uri, f"experiment{text}").iloc[0]
        assert found["run_name"] == f"name{text}"
        assert found["sing.model"] == f"model{text}"
        assert found["sing.space"] == "x" * 5000
        assert tracker.reader(run).config() == {"prompt": text}
    made = {path.name for path in tracker.folder.iterdir()}
    assert made <= {"mlflow.db", "mlruns", "runs", "spool"}


def test_a_damaged_file_is_an_error_that_names_it(tracker: Tracker) -> None:
    run = tracker.run()
    writer = tracker.writer(run)
    log(writer, {"sing/x": 1.0}, 0)
    writer.write(Findings(), epoch=0, step=10, thumbnails=dict([thumbnail(0)]))
    writer.write_snapshot(snapshot(0))
    damaged = list(tracker.files())
    assert len(damaged) == 7
    for path in damaged:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for read in ("config", "table", "thumbnails", "snapshot"):
        with pytest.raises(ValueError, match=r"of run .* cannot be read: .*damaged"):
            READS[read](tracker.reader(run))


def test_what_the_store_refuses_waits_and_comes_with_the_next_write(tracker: Tracker) -> None:
    run = tracker.run()
    writer = tracker.writer(run)
    log(writer, {"sing/x": 1.0}, 0)
    (folder,) = (path for path in tracker.folder.rglob("epoch=0000-*") if path.is_dir())
    obstacle = folder.with_name("epoch=0001-step=00000020")
    obstacle.write_text("in the way")
    with pytest.raises(OSError, match=r"2 files could not be sent to .*They wait in"):
        log(writer, {"sing/x": 2.0}, 1)
    assert writer.pending == 2  # a table and the mark after it
    reader = tracker.reader(run)
    assert (reader.validations(), reader.incomplete()) == ([(0, 10)], [(1, 20)])
    obstacle.unlink()
    # Another process delivers it.
    tracker.writer(tracker.store.open_run(run.run_id)).deliver()
    assert (reader.validations(), reader.incomplete()) == ([(0, 10), (1, 20)], [])
    assert tracker.reader(run).scalars()["sing/x"].tolist() == [1.0, 2.0]


def test_a_validation_whose_tables_do_not_all_fit_is_incomplete(tracker: Tracker) -> None:
    class TooLarge(pd.DataFrame):
        def to_parquet(self, *args: object, **kwargs: object) -> None:
            raise OSError("No space left on device")

    run = tracker.run()
    writer, reader = tracker.writer(run), tracker.reader(run)
    both = {"classes": TABLE, "concepts": TooLarge(TABLE)}
    with pytest.raises(OSError, match="were lost"):
        writer.write(Findings({"sing/x": 1.0}, both), epoch=0, step=10)
    assert (reader.validations(), reader.incomplete()) == ([], [(0, 10)])
    # The same again, as after a resume.
    writer.write(Findings({"sing/x": 1.0}, {**both, "concepts": TABLE}), epoch=0, step=10)
    assert (reader.validations(), reader.incomplete()) == ([(0, 10)], [])
    with pytest.raises(OSError, match="were lost"):
        writer.add_tables({"concepts": TooLarge(TABLE)}, epoch=0, step=10)
    assert (reader.validations(), reader.incomplete()) == ([], [(0, 10)])


def test_tables_of_earlier_versions_need_no_marks(tracker: Tracker, tmp_path: Path) -> None:
    run = tracker.run()
    tracker.writer(run).describe({}, {})
    for epoch in range(2):
        (tmp_path / "classes.parquet").unlink(missing_ok=True)
        TABLE.to_parquet(tmp_path / "classes.parquet")
        folder = f"sing/epoch={epoch:04d}-step={epoch + 1:08d}"
        run.put_files(folder, [tmp_path / "classes.parquet"])
    log(tracker.writer(run), {"sing/x": 1.0}, 2)
    reader = tracker.reader(run)
    assert (reader.validations(), reader.incomplete()) == ([(0, 1), (1, 2), (2, 30)], [])


def test_a_store_that_is_not_there_is_not_made_by_reading(tracker: Tracker, tmp_path: Path) -> None:
    elsewhere = tracker.uri.replace(tmp_path.as_posix(), (tmp_path / "nowhere").as_posix())
    for read in (lambda: list_runs(elsewhere), RunReader(elsewhere, "a").scalars):
        with pytest.raises(StoreError, match="there is no"):
            read()
    assert not (tmp_path / "nowhere").exists()
