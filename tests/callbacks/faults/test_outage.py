"""The MLflow server goes away during a training."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
from lightning.pytorch.loggers import MLFlowLogger
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from sing_monitor.commands.cli import main
from sing_monitor.tracking import RunReader
from tests.helpers import tiny
from tests.helpers.disturbed import At, assert_same_weights, fit, said_by_the_monitor
from tests.helpers.stores.servers import MlflowServer


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Lightning logs is given up within an outage, as it is after minutes by default."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")


def test_sync_delivers_what_a_training_could_not_that_the_server_has_ended(
    mlflow_server: MlflowServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logger = MLFlowLogger("outage", tracking_uri=mlflow_server.uri)
    outage = At(epoch_1=mlflow_server.kill)
    trainer = tiny.trainer(tmp_path, tiny.quick_callback(on_error="warn"), outage, logger=logger)
    data = tiny.loader(tiny.Blobs())
    with (
        caplog.at_level("INFO"),
        said_by_the_monitor() as said,
        pytest.raises(MlflowException),  # Lightning's own
    ):
        trainer.fit(tiny.Classifier(), data, data)
    assert f"`kill {os.getpid()}` ends it" in caplog.text
    (warning,) = said
    assert "sing-monitor sync" in warning
    assert main(["sync", str(tmp_path)]) == 1
    mlflow_server.start()
    assert main(["sync", str(tmp_path)]) == 0
    reader = RunReader(mlflow_server.uri, str(logger.run_id))
    assert reader.scalars()["epoch"].tolist() == [0, 1]
    assert reader.scalars()["sing/image_score"].map(math.isfinite).all()
    assert [epoch for epoch, _ in reader.validations()] == [0, 1]


def test_a_server_that_dies_and_comes_back_misses_nothing(
    mlflow_server: MlflowServer, tmp_path: Path
) -> None:
    uri = mlflow_server.uri
    logger = MLFlowLogger("outage", tracking_uri=uri, synchronous=False, prefix="fold1")
    outage = At(epoch_2=mlflow_server.kill, epoch_4=mlflow_server.start)
    callback = tiny.quick_callback(on_error="warn")
    done = fit(tmp_path / "watched", callback, outage, logger=logger, max_epochs=6)

    (warning,) = done.warnings
    assert "could not be written" in warning
    assert "refused" in warning
    reader = RunReader(uri, str(logger.run_id))
    scalars = reader.scalars(others=["val_loss"])
    assert scalars["epoch"].tolist() == [0, 1, 2, 3, 4, 5]
    assert scalars["monitor/global_step"].tolist() == [3, 6, 9, 12, 15, 18]
    assert scalars["step"].tolist() == [2, 5, 8, 11, 14, 17]
    assert scalars["sing/image_score"].map(math.isfinite).all()
    assert set(scalars["monitor/skipped"]) == {0}
    # What nobody kept is gone: the outage was a real one.
    assert scalars["val_loss"].isna().tolist()[2:4] == [True, True]
    assert [epoch for epoch, _ in reader.validations()] == [0, 1, 2, 3, 4, 5]
    points = MlflowClient(uri).get_metric_history(reader.run_id, "fold1-sing/image_score")
    assert len(points) == 6
    assert not [path for path in tmp_path.rglob(".sing_spool/**/*") if path.is_file()]
    assert_same_weights(done, fit(tmp_path / "alone", max_epochs=6))
