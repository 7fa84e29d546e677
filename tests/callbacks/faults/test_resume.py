"""A training that was interrupted and resumed leaves the curves of one that was not."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning as L
import pandas as pd
import pytest
from lightning.pytorch.loggers import MLFlowLogger
from torch import Tensor, nn

from sing_monitor.tracking import RunReader
from tests.helpers import tiny


class SameBatches(tiny.Blobs):
    """Every batch holds the same images: after a resume Lightning starts the loader anew."""

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return super().__getitem__(index % 16)


class PowerCut(Exception):
    """Ends a run."""


class SaveAndStop(L.Callback):
    """Saves a checkpoint in one hook at one global step, and later ends the run."""

    def __init__(self, path: Path, hook: str, step: int) -> None:
        self.path = path
        self.step = step
        setattr(self, hook, self._save)

    def _save(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.path.exists() and trainer.current_epoch == 2:
            raise PowerCut


def fit(folder: Path, logger: MLFlowLogger, *callbacks: L.Callback, **changes: Any) -> RunReader:
    model = tiny.Classifier()
    model.network[5] = nn.Identity()  # dropout would draw differently after a resume
    trainer = tiny.trainer(
        folder, tiny.callback(layers=True), *callbacks, logger=logger, max_epochs=4
    )
    train, validation = SameBatches(64, seed=1), tiny.Blobs()
    with suppress(PowerCut):
        trainer.fit(model, tiny.loader(train), tiny.loader(validation), **changes)
    return RunReader(str(logger._tracking_uri), str(logger.run_id))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> RunReader:
    folder = tmp_path_factory.mktemp("undisturbed")
    return fit(folder, tiny.mlflow_logger(folder))


@pytest.mark.parametrize(
    ("hook", "step"),
    [
        ("on_train_epoch_end", 8),
        ("on_train_batch_end", 6),
        # From here Lightning's batch counter, which is MLflow's step, goes on one too high.
        ("on_train_batch_start", 6),
    ],
)
def test_curves_continue_as_if_nothing_had_happened(
    hook: str, step: int, undisturbed: RunReader, tmp_path: Path
) -> None:
    logger, path = tiny.mlflow_logger(tmp_path), tmp_path / "saved.ckpt"
    fit(tmp_path, logger, SaveAndStop(path, hook, step))
    assert path.exists()
    uri = logger._tracking_uri
    again = MLFlowLogger(tracking_uri=uri, run_id=logger.run_id)
    reader = fit(tmp_path, again, ckpt_path=path)
    assert reader.run_id == logger.run_id
    assert reader.validations() == undisturbed.validations() == [(0, 4), (1, 8), (2, 12), (3, 16)]
    # Seconds differ, and so may MLflow's step.
    apart = ["step", "timestamp", "monitor/seconds"]
    curves, expected = (run.scalars().drop(columns=apart) for run in (reader, undisturbed))
    assert len(expected) == 4
    assert expected["layers/rank_drop"].notna().all()
    pd.testing.assert_frame_equal(curves, expected, rtol=1e-5, atol=1e-6)
