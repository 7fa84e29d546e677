"""Loggers of a trainer: the runs that findings go to, and the scalars of a module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, cast

import torch

from sing_monitor.lightning_types import is_lightning
from sing_monitor.messages import info
from sing_monitor.monitor.publishing import Target
from sing_monitor.monitor.summary import how_to_look

if TYPE_CHECKING:
    import lightning.pytorch as pl
    from lightning.pytorch.loggers import MLFlowLogger

    from sing_monitor.tracking import Run

_WITH_MLFLOW = 'Trainer(logger=MLFlowLogger(tracking_uri="sqlite:///mlflow.db"))'
_WITH_FOLDER = 'SINGCallback(tracking="runs/")'


def targets(trainer: pl.Trainer) -> list[Target]:
    """The runs of the trainer's MLflow loggers."""
    return [
        Target(
            id(logger),
            cast("Callable[[], Run]", partial(_run_of, logger)),
            metric_prefix(logger),
            _logged_step(trainer),
        )
        for logger in mlflow_loggers(trainer)
    ]


def mlflow_loggers(trainer: pl.Trainer) -> list[MLFlowLogger]:
    """The trainer's MLflow loggers; none under ``fast_dev_run``."""
    found = [each for each in trainer.loggers if is_lightning(each, "MLFlowLogger")]
    return cast("list[MLFlowLogger]", found)


# MLFlowLogger has no public name for its arguments, and the trainer none for the step that it logs.


def tracking_uri(logger: MLFlowLogger) -> str:
    """The ``tracking_uri`` of a logger."""
    return str(logger._tracking_uri)


def experiment_name(logger: MLFlowLogger) -> str:
    """The ``experiment_name`` of a logger."""
    return str(logger._experiment_name)


def metric_prefix(logger: MLFlowLogger) -> str:
    """The ``prefix`` of a logger."""
    return logger._prefix


def _logged_step(trainer: pl.Trainer) -> int:
    return int(trainer.fit_loop.epoch_loop._batches_that_stepped)


def _run_of(logger: MLFlowLogger) -> Run:
    from sing_monitor.tracking import MlflowRun

    return MlflowRun(logger.experiment, str(logger.run_id))


def log_scalars(
    pl_module: pl.LightningModule, values: Mapping[str, float], *, is_shared: bool
) -> None:
    """Log by name, so that callbacks can watch them; with ``is_shared`` on every rank at once."""
    device = pl_module.device
    # Lightning keeps what it is given: float32 would round a large global_step.
    dtype = torch.float32 if device.type == "mps" else torch.float64
    pl_module.log_dict(
        {key: torch.tensor(value, dtype=dtype, device=device) for key, value in values.items()},
        sync_dist=is_shared,
        # Of one value each, so both give it as it is; for a mean Lightning counts the images, too.
        reduce_fx="mean" if is_shared else "sum",
    )


def say_what_is_not_kept(trainer: pl.Trainer) -> None:
    """Say, before a training, that tables and pictures go to MLflow and to no other logger."""
    if mlflow_loggers(trainer) or trainer.fast_dev_run:  # type: ignore[attr-defined]
        return
    others = ", ".join(type(logger).__name__ for logger in trainer.loggers)
    kept = f"only the scalars are kept, by {others}" if others else "nothing is kept"
    info(
        f"without an MLFlowLogger {kept}. Tables and pictures, which the app shows, need one: "
        f"{_WITH_MLFLOW}; or, without MLflow, a folder: {_WITH_FOLDER}."
    )


def how_to_open(trainer: pl.Trainer, tracking: str | None) -> str:
    """The commands that show the runs, or why there is nothing to show.

    Args:
        trainer: that has trained.
        tracking: where the monitor keeps a run of its own, or None.
    """
    loggers = mlflow_loggers(trainer)
    if loggers:
        return how_to_look(tracking_uri(loggers[0]), with_mlflow=True)
    if tracking is not None:
        return how_to_look(tracking)
    kept = "tables and pictures" if trainer.loggers else "curves and tables"
    return f"To keep {kept}, log to MLflow: {_WITH_MLFLOW}; or to a folder: {_WITH_FOLDER}."
