"""One run that most tests of the callback look at."""

from __future__ import annotations

from dataclasses import dataclass

import lightning as L
import pytest

from sing_monitor import SINGCallback
from sing_monitor.tracking import RunReader
from tests.helpers import tiny


@dataclass(frozen=True)
class Run:
    """A finished training and where its findings lie."""

    trainer: L.Trainer
    callback: SINGCallback
    model: tiny.Classifier
    reader: RunReader
    uri: str


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Three epochs with every default that can be found and stages, logged to a real store."""
    folder = tmp_path_factory.mktemp("finished_run")
    callback, model = tiny.callback(layers=True), tiny.Classifier()
    logger = tiny.mlflow_logger(folder)
    trainer = tiny.trainer(folder, callback, logger=logger, max_epochs=3)
    trainer.fit(model, tiny.loader(tiny.Blobs(seed=1)), tiny.loader(tiny.Blobs()))
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    return Run(trainer, callback, model, RunReader(uri, str(logger.run_id)), uri)
