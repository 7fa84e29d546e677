"""Second fit: a warning where a run holds the epochs of an earlier training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sing_monitor.callbacks.loggers import experiment_name, mlflow_loggers, tracking_uri
from sing_monitor.messages import warn
from sing_monitor.no_trace import no_trace
from sing_monitor.tracking import shown_address
from sing_monitor.tracking.layout import Layout
from sing_monitor.tracking.reader import training_epochs
from sing_monitor.tracking.spool import spool_place

if TYPE_CHECKING:
    from pathlib import Path

    import lightning.pytorch as pl
    from lightning.pytorch.loggers import MLFlowLogger


def warn_about_earlier_epochs(trainer: pl.Trainer, name: str | None) -> None:
    """Say, on rank 0 and before the first step, that a run holds epochs of an earlier fit.

    A resumed fit does not start at epoch 0 and step 0, and ``validate`` before ``fit`` leaves no
    epochs of a training, so neither is warned of.

    Args:
        trainer: about to train.
        name: of the callback.
    """
    if not trainer.is_global_zero or trainer.current_epoch or trainer.global_step:
        return
    for logger in mlflow_loggers(trainer):
        with no_trace():
            epochs = _earlier_epochs(logger, name, spool_place(trainer.default_root_dir)[0])
        if epochs:
            warn(_sentence(logger, epochs))


def _earlier_epochs(logger: MLFlowLogger, name: str | None, spool_dir: Path) -> list[int]:
    """Epochs of trainings that the run holds, or that wait for it on this disk."""
    run_id = str(logger.run_id)
    waiting = spool_dir / run_id / Layout(name).folder / "scalars"
    epochs = {int(path.stem[len("epoch=") :].partition("-")[0]) for path in _files(waiting)}
    epochs |= training_epochs(tracking_uri(logger), run_id, name)
    return sorted(epochs)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("epoch=*-step=*.json"))


def _sentence(logger: MLFlowLogger, epochs: list[int]) -> str:
    held = f"epoch {epochs[0]}" if len(epochs) == 1 else f"epochs {epochs[0]} to {epochs[-1]}"
    uri = shown_address(tracking_uri(logger))
    return (
        f"the MLflow run {logger.run_id} already holds {held} of an earlier fit, and "
        "this fit starts at epoch 0 again. In one run their curves mix, and tables of the same "
        "epoch and step are replaced. Give each fit a run of its own; for folds, one logger per "
        "fold:\n"
        f"Trainer(logger=MLFlowLogger(experiment_name={experiment_name(logger)!r}, "
        f'run_name=f"fold-{{fold}}", tracking_uri={uri!r}))'
    )
