"""The loggers that people combine with the callback; the server has tests of its own."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from mlflow import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sing_monitor.analyses import CATALOGUE
from sing_monitor.findings import expand
from sing_monitor.tracking import RunReader, list_runs
from tests.helpers import tiny
from tests.helpers.disturbed import Training, assert_same_weights, fit

KEYS = list(expand(CATALOGUE))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Training:
    """The same training without monitor and loggers."""
    return fit(tmp_path_factory.mktemp("undisturbed"), max_epochs=3)


@pytest.fixture
def fluent_uri() -> Iterator[None]:
    """Lightning's logger changes MLflow's global tracking URI; this puts it back."""
    before = mlflow.get_tracking_uri()
    yield
    mlflow.set_tracking_uri(before)


@pytest.mark.usefixtures("fluent_uri")
def test_other_loggers_get_the_scalars_and_a_users_own_run_nothing(
    undisturbed: Training, tmp_path: Path
) -> None:
    logger = tiny.mlflow_logger(tmp_path, synchronous=False, prefix="fold1")
    table, board = CSVLogger(tmp_path / "csv"), TensorBoardLogger(tmp_path / "tensorboard")
    mlflow.set_tracking_uri(logger._tracking_uri)
    with mlflow.start_run() as own:
        mlflow.log_metric("mine", 1.0)
        done = fit(
            tmp_path, tiny.callback(layers=True), logger=[table, board, logger], max_epochs=3
        )
        assert mlflow.active_run().info.run_id == own.info.run_id
        mlflow.log_metric("mine", 2.0)
    assert done.warnings == []
    assert_same_weights(done, undisturbed)

    client, run_id = MlflowClient(logger._tracking_uri), str(logger.run_id)
    reader = RunReader(logger._tracking_uri, run_id)
    scalars = reader.scalars()
    assert set(KEYS) <= set(scalars.columns)
    assert scalars["epoch"].tolist() == [0, 1, 2]
    assert len(client.get_metric_history(run_id, "fold1-sing/image_score")) == 3
    assert [epoch for epoch, _ in reader.validations()] == [0, 1, 2]

    with (Path(table.log_dir) / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["sing/image_score"]]
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2]
    drawn = curves_in_tensorboard(board)
    for key in KEYS:
        written = [float(row[key]) for row in rows]
        assert written == pytest.approx(scalars[key].tolist(), nan_ok=True), key
        assert drawn[key] == pytest.approx(scalars[key].tolist(), rel=1e-6, nan_ok=True), key

    untouched = client.get_run(own.info.run_id)
    assert untouched.info.run_id != run_id
    assert set(untouched.data.metrics) == {"mine"}
    assert not [tag for tag in untouched.data.tags if tag.startswith("sing")]
    assert client.list_artifacts(own.info.run_id) == []


def curves_in_tensorboard(logger: TensorBoardLogger) -> dict[str, list[float]]:
    """What TensorBoard draws, in single precision."""
    events = EventAccumulator(logger.log_dir)
    events.Reload()
    keys = events.Tags()["scalars"]
    return {key: [event.value for event in events.Scalars(key)] for key in keys}


def test_tensorboard_alone_gets_the_scalars_and_is_said_to_get_no_more(
    undisturbed: Training, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logger = TensorBoardLogger(tmp_path / "tensorboard")
    done = fit(tmp_path, tiny.callback(), logger=logger, max_epochs=3)
    assert done.warnings == []
    assert_same_weights(done, undisturbed)
    drawn = curves_in_tensorboard(logger)
    scores = drawn["sing/image_score"]
    assert [math.isfinite(score) for score in scores] == [True] * 3
    assert drawn["monitor/global_step"] == [3, 6, 9]
    assert scores[-1] == pytest.approx(float(done.trainer.callback_metrics["sing/image_score"]))
    before, after = (text for text in caplog.messages if "MLFlowLogger(" in text)
    assert "only the scalars are kept, by TensorBoardLogger" in before
    assert "To keep tables and pictures, log to MLflow" in after
    assert not (tmp_path / ".sing_spool").exists()


@pytest.mark.usefixtures("fluent_uri")
def test_autolog_beside_the_logger_changes_nothing(undisturbed: Training, tmp_path: Path) -> None:
    logger = tiny.mlflow_logger(tmp_path)
    mlflow.set_tracking_uri(logger._tracking_uri)
    mlflow.pytorch.autolog(log_models=False, checkpoint=False)
    try:
        done = fit(tmp_path, tiny.callback(), logger=logger, max_epochs=3)
    finally:
        mlflow.pytorch.autolog(disable=True)
    assert done.warnings == []
    assert_same_weights(done, undisturbed)
    client, run_id = MlflowClient(logger._tracking_uri), str(logger.run_id)
    points = client.get_metric_history(run_id, "sing/image_score")
    assert [math.isfinite(point.value) for point in points] == [True] * 3
    # Autolog has made runs of its own, one for each Lightning that is loaded; none is ours.
    of_autolog = {run.info.run_id for run in client.search_runs(["0"])}
    assert of_autolog
    assert run_id not in of_autolog
    assert list_runs(logger._tracking_uri)["run_id"].tolist() == [run_id]
    reader = RunReader(logger._tracking_uri, run_id)
    assert [epoch for epoch, _ in reader.validations()] == [0, 1, 2]
