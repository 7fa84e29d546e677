"""Folders of runs: what lies where, who may write at once, and what is no folder of runs."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sing_monitor.findings import Findings
from sing_monitor.tracking import (
    DeliveryError,
    FolderRun,
    NoStoreError,
    RunReader,
    RunWriter,
    StoreError,
    create_run,
    list_runs,
    open_store,
)

ROOT = Path(__file__).parents[2]
FOUND = Findings({"sing/x": 1.0}, {"classes": pd.DataFrame({"score": [1.5]})})


def write(run: Any, epochs: range) -> None:
    """Write validations as a training would."""
    writer = RunWriter(run)
    for epoch in epochs:
        with writer.together():
            writer.describe({}, {"reference": "text"})
            writer.write(FOUND, epoch=epoch, step=epoch)
            writer.keep_scalars(FOUND.scalars, epoch=epoch, step=epoch, tracker_step=epoch)


def write_many(root: str, name: str, epochs: int) -> None:
    """What one process does of several that share a folder."""
    run = create_run(root, run_name=name)
    write(run, range(epochs))
    run.finish("FINISHED")


def test_the_layout_is_the_documented_one(tmp_path: Path) -> None:
    run = create_run(tmp_path / "runs", run_name="ResNet 18 / seed=0", experiment="digits")
    write(run, range(1))
    run.finish("FINISHED")
    assert run.run_id.startswith("ResNet-18-seed-0-")
    folder = tmp_path / "runs" / run.run_id
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {re.sub(r"\.\d{19}\.", ".N.", path) for path in files} == {
        *("run.json", "tags.json", "scalars.parquet", "sing/config.json"),
        "sing/epoch=0000-step=00000000/classes.parquet",
        "sing/epoch=0000-step=00000000.N.begun.json",
        "sing/epoch=0000-step=00000000.N.complete.json",
    }
    about = json.loads((folder / "run.json").read_text())
    assert about.keys() == {"run_name", "experiment", "status", "start_time", "end_time"}
    points = pd.read_parquet(folder / "scalars.parquet")
    assert list(points.columns) == ["metric", "step", "timestamp", "value"]
    assert sorted(points["metric"]) == ["epoch", "monitor/global_step", "sing/x"]
    beside = [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    assert {path.name for path in beside if folder not in path.parents} == {"sing-monitor.json"}


def test_a_run_can_be_copied_to_another_folder(tmp_path: Path) -> None:
    run = create_run(tmp_path / "one")
    write(run, range(2))
    create_run(tmp_path / "two")
    (tmp_path / "one" / run.run_id).rename(tmp_path / "two" / "renamed")
    assert list_runs(str(tmp_path / "two"))["run_id"].tolist() == ["renamed"]
    assert RunReader(str(tmp_path / "two"), "renamed").scalars()["epoch"].tolist() == [0, 1]


def test_an_address_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = create_run("runs/")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    write(run, range(1))
    monkeypatch.chdir(tmp_path)
    assert len(list_runs("runs")) == 1
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_processes_that_write_different_runs_do_not_disturb_each_other(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")  # it imports nothing anew
    names = ["one", "two", "three"]
    processes = [
        context.Process(target=write_many, args=(str(tmp_path / "runs"), name, 10))
        for name in names
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    found = list_runs(str(tmp_path / "runs"))
    assert sorted(found["run_name"]) == sorted(names)
    assert set(found["status"]) == {"FINISHED"}
    for run_id in found["run_id"]:
        reader = RunReader(str(tmp_path / "runs"), run_id)
        assert reader.scalars()["epoch"].tolist() == list(range(10))
        assert len(reader.validations()) == 10


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_a_killed_process_leaves_a_run_that_can_be_read_and_gone_on_with(tmp_path: Path) -> None:
    code = (
        "import sys; from tests.tracking.test_folder import write_many; "
        "write_many(sys.argv[1], 'killed', 10_000)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "runs")], cwd=ROOT)
    try:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.glob("runs/*/sing/epoch=*/*"))) < 5:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    row = list_runs(str(tmp_path / "runs")).iloc[0]
    assert row["status"] == "RUNNING"
    reader = RunReader(str(tmp_path / "runs"), row["run_id"])
    before = reader.scalars()["epoch"].tolist()
    assert before == list(range(len(before)))
    assert len(before) >= 3
    write(create_run(tmp_path / "runs", run_id=row["run_id"]), range(20_000, 20_001))
    after = reader.scalars()["epoch"].tolist()
    # What the killed process had put on its way has come, too.
    assert after[: len(before)] == before
    assert after[-1] == 20_000
    assert len(reader.validations()) >= len(before) + 1


class FullDisk(pd.DataFrame):
    """A table that does not fit on the disk."""

    def to_parquet(self, *args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    run = create_run(tmp_path / "runs")
    with pytest.raises(
        DeliveryError, match=r"tables of epoch 1 were lost.*No space left"
    ) as caught:
        RunWriter(run).write(Findings({}, {"classes": FullDisk()}), epoch=1, step=2)
    assert caught.value.is_loss
    write(run, range(1))
    assert RunReader(str(tmp_path / "runs"), run.run_id).validations() == [(0, 0)]


@pytest.mark.parametrize("name", ["run.json", "tags.json", "scalars.parquet"])
def test_a_damaged_file_is_a_store_error_that_names_it(name: str, tmp_path: Path) -> None:
    run = create_run(tmp_path / "runs")
    write(run, range(1))
    path = tmp_path / "runs" / run.run_id / name
    whole = path.read_bytes()
    uri = str(tmp_path / "runs")
    for half in (whole[: len(whole) // 2], b"", b"[1, 2]"):
        path.write_bytes(half)
        for read in (lambda: list_runs(uri), RunReader(uri, run.run_id).scalars):
            with pytest.raises(StoreError, match=rf"{name} cannot be read: .*damaged"):
                read()
    # A damaged file is not written over: it may be mended.
    if name != "run.json":
        with pytest.raises(DeliveryError, match=f"{name} cannot be read"):
            write(FolderRun(tmp_path / "runs", run.run_id), range(1, 2))
        path.write_bytes(whole)
        RunWriter(run).deliver()
        assert RunReader(uri, run.run_id).scalars()["epoch"].tolist() == [0, 1]


def test_what_is_no_folder_of_runs_is_said(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no runs here")
    (tmp_path / "empty").mkdir()
    for path, said in (
        (tmp_path, "is no folder of runs: it has no sing-monitor.json, and no MLflow store"),
        (tmp_path / "notes.txt", "is a file; give a folder of runs"),
        (tmp_path / "nowhere", "there is no folder"),
    ):
        with pytest.raises(StoreError, match=said):
            list_runs(str(path))
    assert len(list_runs(str(tmp_path / "empty"))) == 0
    with pytest.raises(StoreError, match=r"notes\.txt cannot be written"):
        create_run(tmp_path / "notes.txt")
    # A folder that holds other things becomes a folder of runs with its first run.
    with pytest.raises(NoStoreError):
        list_runs(str(tmp_path))
    write(create_run(tmp_path), range(1))
    assert len(list_runs(str(tmp_path))) == 1
    assert (tmp_path / "notes.txt").read_text() == "no runs here"


@pytest.mark.parametrize(
    ("uri", "kind"),
    [
        ("sqlite:///mlflow.db", "MlflowStore"),
        ("http://127.0.0.1:5000", "MlflowStore"),
        ("file:./mlruns", "MlflowStore"),
        ("foo://bar", "MlflowStore"),
        ("databricks", "MlflowStore"),
        ("runs", "FolderStore"),
        ("runs/", "FolderStore"),
        ("/data/runs", "FolderStore"),
        ("~/runs", "FolderStore"),
        ("./a:b", "FolderStore"),
        ("C:/runs", "FolderStore"),
        (r"C:\runs", "FolderStore"),
    ],
)
def test_an_address_tells_its_kind_of_store(uri: str, kind: str) -> None:
    assert type(open_store(uri)).__name__ == kind


def test_a_folder_that_mlflow_laid_out_is_mlflows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = str(tmp_path / "mlruns")
    run_id = MlflowClient(uri).create_run("0").info.run_id
    store = open_store(uri)
    assert store.place == f"MLflow at {uri}"
    writer = RunWriter(store.open_run(run_id), tmp_path / "spool")
    writer.describe({"a": 1}, {"model": "r"})
    writer.write(FOUND, epoch=0, step=1)
    assert list_runs(uri)["sing.model"].tolist() == ["r"]
    assert RunReader(uri, run_id).validations() == [(0, 1)]
    assert RunReader(uri, run_id).config() == {"a": 1}


_WITHOUT_MLFLOW = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("mlflow", "sqlalchemy"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked())
from sing_monitor.commands.cli import main
from sing_monitor.tracking import RunReader, RunWriter, list_runs
from tests.tracking.test_folder import write_many

write_many("runs", "first", 2)
(run_id,) = list_runs("runs")["run_id"]
reader = RunReader("runs", run_id)
assert reader.scalars()["epoch"].tolist() == [0, 1]
assert reader.table("classes", 1, 1)["score"].tolist() == [1.5]
assert main(["sync", "runs"]) == 0
assert main(["concepts", "no-such-run", "--file", __file__, "--tracking-uri", "runs"]) == 1
assert "mlflow" not in sys.modules
"""


def test_a_folder_needs_no_mlflow(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(_WITHOUT_MLFLOW)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env=environment,
        check=False,
        timeout=120,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Nothing waits" in done.stdout
    assert "the folder runs has no run of the id or name 'no-such-run'" in done.stderr
