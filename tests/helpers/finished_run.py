"""A finished run with a snapshot and checkpoints, for what looks at it again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lightning.pytorch.callbacks import ModelCheckpoint

from sing_monitor.tracking import RunReader
from tests.helpers import tiny


@dataclass(frozen=True)
class FinishedRun:
    """Where a training left its findings."""

    uri: str
    run_id: str
    checkpoints: Path

    @property
    def reader(self) -> RunReader:
        return RunReader(self.uri, self.run_id)


def train(folder: Path) -> FinishedRun:
    """Three epochs that watch the concepts red and striped."""
    logger = tiny.mlflow_logger(folder)
    monitor = tiny.callback(save_snapshots=True)
    saver = ModelCheckpoint(folder / "checkpoints", save_top_k=-1, save_last=True)
    trainer = tiny.trainer(
        folder,
        monitor,
        saver,
        logger=logger,
        max_epochs=3,
        num_sanity_val_steps=0,
        enable_checkpointing=True,
    )
    trainer.fit(tiny.Classifier(), tiny.loader(tiny.Blobs(seed=1)), tiny.loader(tiny.Blobs()))
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    return FinishedRun(uri, str(logger.run_id), folder / "checkpoints")
