"""A run that receives a second fit from epoch 0 says so before the first step."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import lightning as L
import pytest
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import MLFlowLogger

from sing_monitor.tracking import RunReader
from tests.helpers import tiny
from tests.helpers.disturbed import said_by_the_monitor


def fit(folder: Path, logger: Any, *callbacks: L.Callback, size: int = 48, **changes: Any) -> Any:
    """One training, and what the monitor said of an earlier one."""
    name = changes.pop("name", None)
    with said_by_the_monitor() as said:
        ckpt_path = changes.pop("ckpt_path", None)
        trainer = tiny.trainer(
            folder,
            tiny.quick_callback(name=name),
            *callbacks,
            logger=logger,
            enable_checkpointing=True,
        )
        trainer.fit_loop.max_epochs = changes.pop("max_epochs", 2)
        if changes.pop("validate", False):
            trainer.validate(tiny.Classifier(), tiny.loader(tiny.Blobs()), verbose=False)
        data = tiny.loader(tiny.Blobs(size, seed=1)), tiny.loader(tiny.Blobs())
        trainer.fit(tiny.Classifier(), *data, ckpt_path=ckpt_path, weights_only=False)
    return trainer, [each for each in said if "of an earlier fit" in each]


@pytest.mark.parametrize("changes", [{}, {"prefix": "fold", "synchronous": False}])
def test_folds_that_share_a_run_are_told_to_take_a_logger_each(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    logger = tiny.mlflow_logger(tmp_path, experiment_name="folds", **changes)
    assert fit(tmp_path, logger)[1] == []
    _, (said,) = fit(tmp_path, logger, size=80)
    assert f"run {logger.run_id} already holds epochs 0 to 1 of an earlier fit" in said

    # The advice, as it stands.
    advice = said.splitlines()[-1]
    for fold in (0, 1):
        made = eval(advice, {"Trainer": L.Trainer, "MLFlowLogger": MLFlowLogger, "fold": fold})
        own = made.logger
        assert fit(tmp_path, own)[1] == []
        assert own.experiment.get_run(own.run_id).info.run_name == f"fold-{fold}"
        reader = RunReader(str(own._tracking_uri), str(own.run_id))
        assert reader.scalars()["epoch"].tolist() == [0, 1]


def test_another_monitor_a_resume_and_a_validation_before_are_no_second_fit(
    tmp_path: Path,
) -> None:
    logger = tiny.mlflow_logger(tmp_path)
    keep = ModelCheckpoint(tmp_path, save_last=True)
    assert fit(tmp_path, logger, keep, validate=True)[1] == []
    assert fit(tmp_path, logger, ckpt_path=str(tmp_path / "last.ckpt"), max_epochs=3)[1] == []
    assert fit(tmp_path, logger, name="aux")[1] == []
    _, (said,) = fit(tmp_path, logger)
    assert re.search(r"holds epochs 0 to 2 of", said)


def test_epochs_that_wait_in_the_spool_count(tmp_path: Path) -> None:
    logger = tiny.mlflow_logger(tmp_path)
    waiting = tmp_path / ".sing_spool" / str(logger.run_id) / "sing" / "scalars"
    waiting.mkdir(parents=True)
    kept = '{"metrics": {"epoch": 0.0, "monitor/global_step": 7.0}, "step": 6, "timestamp": 1, '
    kept += '"witness": "monitor/global_step"}'
    (waiting / "epoch=0000-step=00000007.json").write_text(kept)
    assert len(fit(tmp_path, logger)[1]) == 1


def test_the_warning_comes_before_the_first_step(tmp_path: Path) -> None:
    logger = tiny.mlflow_logger(tmp_path)
    fit(tmp_path, logger)
    seen: list[int] = []

    class Stop(L.Callback):
        def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            seen.append(trainer.global_step)
            raise KeyboardInterrupt

    trainer = tiny.trainer(tmp_path, tiny.quick_callback(), Stop(), logger=logger)
    data = tiny.loader(tiny.Blobs())
    with said_by_the_monitor() as said, pytest.raises(SystemExit):
        trainer.fit(tiny.Classifier(), data, data)
    assert seen == [0]
    assert sum("of an earlier fit" in each for each in said) == 1
