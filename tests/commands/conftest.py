"""A finished run with a snapshot, for the commands that add to it or read it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from sing_monitor.tracking import RunReader
from tests.callbacks import tiny


@dataclass(frozen=True)
class FinishedRun:
    """Where a training left its findings."""

    uri: str
    run_id: str

    @property
    def reader(self) -> RunReader:
        return RunReader(self.uri, self.run_id)


@pytest.fixture(scope="session")
def run_with_snapshot(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """Two epochs that watch the concepts red and striped."""
    folder = tmp_path_factory.mktemp("run_with_snapshot")
    logger = tiny.mlflow_logger(folder)
    monitor = tiny.callback(save_snapshots=True)
    trainer = tiny.trainer(folder, monitor, logger=logger, max_epochs=2, num_sanity_val_steps=0)
    trainer.fit(tiny.Classifier(), tiny.loader(tiny.Blobs(seed=1)), tiny.loader(tiny.Blobs()))
    return FinishedRun(f"sqlite:///{folder / 'mlflow.db'}", str(logger.run_id))
