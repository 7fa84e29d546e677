"""``sing-monitor sync``: what waits in spools reaches its runs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric

from sing_monitor.commands.cli import main
from sing_monitor.findings import Findings
from sing_monitor.tracking import DeliveryError, MlflowRun, RunReader, RunWriter, create_run
from sing_monitor.tracking.spool import ABOUT
from tests.helpers.stores.databases import empty_database
from tests.helpers.stores.servers import free_port

FOUND = Findings(
    {"sing/image_score": 7.0, "sing/retention": float("nan")},
    {"classes": pd.DataFrame({"score": [1.5]})},
)


@dataclass(frozen=True)
class Training:
    """A folder in which a training ran that could not deliver its files."""

    folder: Path
    name: str
    run_ids: list[str] = field(default_factory=list)

    @property
    def database(self) -> Path:
        return self.folder / self.name

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(f"sqlite:///{self.database}")

    def reader(self, run: int) -> RunReader:
        return RunReader(str(self.client.tracking_uri), self.run_ids[run])

    def clear(self) -> None:
        """Take away what is in the way of the artifacts."""
        (self.folder / "artifacts").unlink()

    def waiting(self, run: int = 0) -> list[str]:
        folder = self.folder / ".sing_spool" / self.run_ids[run]
        names = (path.name for path in folder.rglob("*.json*") if path.name != ABOUT)
        tables = (path.name for path in folder.rglob("*.parquet"))
        return sorted(re.sub(r"\.\d{19}\.", ".N.", name) for name in (*names, *tables))


@pytest.fixture
def training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Training:
    """Two runs at a relative tracking URI; a file is in the way of their artifacts."""
    folder = tmp_path / "training"
    folder.mkdir()
    # MLflow keeps a store for each URI it has seen, relative or not, so this one must be new.
    made = Training(folder, f"{tmp_path.name}.db")
    empty_database(made.database)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    client = MlflowClient(f"sqlite:///{made.database.name}")
    experiment = client.create_experiment("e", (folder / "artifacts").as_uri())
    Path("artifacts").write_text("in the way")
    for _ in range(2):
        made.run_ids.append(client.create_run(experiment).info.run_id)
        writer = RunWriter(MlflowRun(client, made.run_ids[-1]), folder / ".sing_spool")
        writer.keep_scalars(FOUND.scalars, epoch=4, step=15, tracker_step=14)
        with pytest.raises(DeliveryError):
            writer.describe({"a": 1}, {})
        with pytest.raises(DeliveryError):
            writer.write(FOUND, epoch=4, step=15)
    monkeypatch.chdir(tmp_path)
    return made


ARTIFACTS = [
    "classes.parquet",
    "config.json",
    "epoch=0004-step=00000015.N.begun.json",
    "epoch=0004-step=00000015.N.complete.json",
]
EVERYTHING = [*ARTIFACTS, "epoch=0004-step=00000015.json"]


def test_everything_arrives_from_another_folder(
    training: Training, capsys: pytest.CaptureFixture[str]
) -> None:
    assert training.waiting() == EVERYTHING
    training.clear()
    assert main(["sync", str(training.folder)]) == 0
    said = capsys.readouterr().out
    for run, run_id in enumerate(training.run_ids):
        assert run_id in said
        reader = training.reader(run)
        assert reader.config() == {"a": 1}
        assert reader.table("classes", 4, 15)["score"].tolist() == [1.5]
        row = reader.scalars().iloc[0]
        assert (row["epoch"], row["global_step"], row["step"]) == (4, 15, 14)
        assert row["sing/image_score"] == 7.0
    assert said.count("5 files delivered to sqlite:////") == 2
    assert not (training.folder / ".sing_spool" / training.run_ids[0] / "sing").exists()
    assert main(["sync", str(training.folder / ".sing_spool")]) == 0
    assert "Nothing waits" in capsys.readouterr().out


def test_what_cannot_be_delivered_waits_and_is_named(
    training: Training, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sync", str(training.folder)]) == 1
    said = capsys.readouterr().out
    assert said.count("1 file delivered, 4 wait") == 2
    assert "artifacts" in said
    assert training.waiting() == ARTIFACTS
    assert len(training.reader(0).scalars()) == 1


def test_scalars_that_the_logger_brought_are_not_logged_again(training: Training) -> None:
    client, (one, other) = training.client, training.run_ids
    old, new = 1, 4_000_000_000_000
    for run_id, timestamp in ((one, new), (other, old)):
        client.log_batch(
            run_id,
            [
                Metric("monitor/global_step", 15.0, timestamp, 14),
                Metric("sing/image_score", 7.0, timestamp, 14),
            ],
        )
    training.clear()
    assert main(["sync", str(training.folder)]) == 0
    counts = [len(client.get_metric_history(r, "sing/image_score")) for r in training.run_ids]
    # The other point is that of an earlier process, before the run was resumed.
    assert counts == [1, 2]


def test_a_missing_database_is_named_and_not_made(
    training: Training, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = training.folder.parent / "elsewhere.db"
    training.database.rename(elsewhere)
    training.clear()
    assert main(["sync", str(training.folder)]) == 1
    assert f"no MLflow database {training.database}" in capsys.readouterr().out
    assert not training.database.exists()
    assert training.waiting() == EVERYTHING
    assert main(["sync", "--tracking-uri", f"sqlite:///{elsewhere}", str(training.folder)]) == 0
    assert training.waiting() == training.waiting(1) == []


def test_one_bad_spool_keeps_no_other_one_back(
    training: Training, capsys: pytest.CaptureFixture[str]
) -> None:
    training.clear()
    (training.folder / ".sing_spool" / training.run_ids[0] / "sing" / ABOUT).write_text("{")
    assert main(["sync", str(training.folder)]) == 1
    assert "spool.json cannot be read" in capsys.readouterr().out
    assert training.waiting(0) == EVERYTHING
    assert training.waiting(1) == []


def test_a_deleted_run_is_named(training: Training, capsys: pytest.CaptureFixture[str]) -> None:
    training.client.delete_run(training.run_ids[0])
    training.clear()
    assert main(["sync", str(training.folder)]) == 1
    said = capsys.readouterr().out
    assert training.run_ids[0] in said
    assert "deleted" in said
    assert training.waiting(1) == []


def test_a_dead_server_is_said_without_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = f"http://bob:hunter2@127.0.0.1:{free_port()}"
    writer = RunWriter(MlflowRun(MlflowClient(uri), "a" * 32), tmp_path)
    with pytest.raises(DeliveryError):
        writer.write(FOUND, epoch=0, step=1)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert main(["sync", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert "4 wait" in said.out
    assert "refused" in said.out
    assert "hunter2" not in said.out + said.err


def test_what_waits_for_a_run_in_a_folder_is_delivered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = create_run(tmp_path / "runs")
    obstacle = tmp_path / "runs" / run.run_id / "sing"
    obstacle.write_text("in the way")
    writer = RunWriter(run)
    writer.keep_scalars(FOUND.scalars, epoch=4, step=15, tracker_step=14)
    with pytest.raises(DeliveryError):
        writer.write(FOUND, epoch=4, step=15)
    assert main(["sync", str(tmp_path / "runs")]) == 1
    assert "0 files delivered, 3 wait" in capsys.readouterr().out
    obstacle.unlink()
    assert main(["sync", str(tmp_path / "runs")]) == 0
    assert f"3 files delivered to {tmp_path / 'runs'}." in capsys.readouterr().out
    reader = RunReader(str(tmp_path / "runs"), run.run_id)
    assert reader.validations() == [(4, 15)]
    assert reader.scalars()["sing/image_score"].tolist() == [7.0]


def test_folders_without_a_spool(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sync", str(tmp_path)]) == 0
    assert "Nothing waits" in capsys.readouterr().out
    assert main(["sync", str(tmp_path / "typo")]) == 1
    assert "no folder" in capsys.readouterr().err
