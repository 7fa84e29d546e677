"""Where findings go besides the scalars: tables, pictures and config, to every MLFlowLogger."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn

from sing_monitor.alerts import format_fired
from sing_monitor.extra_pass.lightning_modules import is_lightning
from sing_monitor.tracking.errors import redact
from sing_monitor.tracking.spool import DeliveryError, spool_place

if TYPE_CHECKING:
    import lightning.pytorch as pl
    import numpy as np
    from lightning.pytorch.loggers import MLFlowLogger

    from sing_monitor.findings import Findings
    from sing_monitor.snapshot import Snapshot
    from sing_monitor.tracking import RunWriter

_MOST = 0.5
_WITH_MLFLOW = 'Trainer(logger=MLFlowLogger(tracking_uri="sqlite:///mlflow.db"))'


class Publisher:
    """Writes findings to the MLflow runs of a trainer. Runs on rank 0 only; never raises.

    Args:
        name: of the callback; folders and tags follow it.
        describe: gives what ``sing/config.json`` and the ``sing.*`` tags say of the run; called
            when the first thing is written.
    """

    def __init__(
        self,
        name: str | None,
        describe: Callable[[], tuple[Mapping[str, Any], Mapping[str, str]]],
    ) -> None:
        self._name = name
        self._describe_run = describe
        self._writers: dict[int, RunWriter] = {}
        self._behind: set[int] = set()  # loggers whose store does not take what waits
        self._said: set[str] = set()
        self._lost = 0
        self._spool_dir: Path | None = None

    def publish(
        self,
        trainer: pl.Trainer,
        findings: Findings,
        *,
        epoch: int,
        step: int,
        thumbnails: Mapping[str, np.ndarray],
        snapshot: Snapshot | None,
        fired: Mapping[str, int],
    ) -> None:
        """Write the tables of one validation to every run; what fails stays in the local spool."""
        for logger in mlflow_loggers(trainer):
            with self._reported(id(logger)):
                writer = self._writer(trainer, logger)
                with writer.together():
                    self._describe(writer, logger)
                    writer.write(findings, epoch=epoch, step=step, thumbnails=thumbnails)
                    if snapshot is not None:
                        writer.write_snapshot(snapshot)
                    if fired:
                        writer.write_tags({"alerts": format_fired(fired)})
                self._say_that_all_arrived(id(logger))

    def keep_scalars(self, trainer: pl.Trainer, scalars: Mapping[str, float]) -> None:
        """Keep what Lightning is about to log: a logger with a thread of its own may lose it."""
        # The step of Lightning's own LearningRateMonitor; no public name leads there.
        tracker_step = trainer.fit_loop.epoch_loop._batches_that_stepped
        for logger in mlflow_loggers(trainer):
            with self._reported(id(logger)):
                writer = self._writer(trainer, logger)
                writer.keep_scalars(
                    scalars,
                    epoch=trainer.current_epoch,
                    step=trainer.global_step,
                    tracker_step=tracker_step,
                    metric_prefix=logger._prefix,
                )
                self._describe(writer, logger)

    def flush(self) -> None:
        """Deliver what is still in the spool, and say what stays there."""
        writers, self._writers = self._writers, {}
        for key, writer in writers.items():
            with self._reported(key):
                writer.deliver(last=True)
                self._say_that_all_arrived(key)
            if writer.pending:
                rank_zero_info(
                    f"SINGCallback: {writer.pending} files have not reached MLflow. "
                    f"`{self._sync_command()}` delivers them."
                )
        lost, self._lost = self._lost, 0
        if lost:
            rank_zero_info(f"SINGCallback: validations whose tables were lost: {lost}.")

    def _writer(self, trainer: pl.Trainer, logger: MLFlowLogger) -> RunWriter:
        from sing_monitor.tracking import MlflowRun, RunWriter

        if id(logger) not in self._writers:
            run = MlflowRun(logger.experiment, str(logger.run_id))
            self._writers[id(logger)] = RunWriter(run, self._spool(trainer), name=self._name)
        return self._writers[id(logger)]

    def _spool(self, trainer: pl.Trainer) -> Path:
        """Where spools are kept; says once where that is not in the trainer's own folder."""
        if self._spool_dir is None:
            root = trainer.default_root_dir
            self._spool_dir, reason = spool_place(root)
            if reason is not None:
                rank_zero_warn(
                    f"SINGCallback: default_root_dir={redact(str(root))!r} {reason}, so what "
                    f"MLflow has not taken yet waits in {self._spool_dir}. After a crash, "
                    f"`{self._sync_command()}` delivers it."
                )
        return self._spool_dir

    def _sync_command(self) -> str:
        return f"sing-monitor sync {shlex.quote(str(self._spool_dir))}"

    def _describe(self, writer: RunWriter, logger: MLFlowLogger) -> None:
        if not writer.is_described:
            config, tags = self._describe_run()
            writer.describe(config, {**tags, "metric_prefix": logger._prefix})

    @contextmanager
    def _reported(self, key: int) -> Iterator[None]:
        """Turn faults into warnings: a dead server or a full disk is said once, not each epoch."""
        try:
            yield
        except Exception as error:
            reason = str(error) or type(error).__name__
            if isinstance(error, DeliveryError) and not error.is_loss:
                if key not in self._behind:
                    self._behind.add(key)
                    end = f"What waits at the end, `{self._sync_command()}` delivers."
                    self._warn(reason, f"{reason} {end}")
            elif isinstance(error, OSError):
                self._lost += isinstance(error, DeliveryError)
                self._warn("disk", reason)
            else:
                self._warn(reason, reason)

    def _say_that_all_arrived(self, key: int) -> None:
        if key in self._behind:
            self._behind.remove(key)
            rank_zero_info("SINGCallback: what waited for MLflow has been delivered.")

    def _warn(self, topic: str, reason: str) -> None:
        if topic not in self._said:
            self._said.add(topic)
            rank_zero_warn(f"SINGCallback could not write to MLflow: {reason} Training goes on.")


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
    )


def mlflow_loggers(trainer: pl.Trainer) -> list[MLFlowLogger]:
    """The trainer's MLflow loggers; none under ``fast_dev_run``."""
    found = [each for each in trainer.loggers if is_lightning(each, "MLFlowLogger")]
    return cast("list[MLFlowLogger]", found)


def summary(scalars: Mapping[str, float]) -> str:
    """The headline of one validation, in a sentence."""

    def degrees(key: str) -> str:
        return f"{scalars[key]:.1f}°"

    sentence = (
        f"removing what the head cannot see moves meaning by "
        f"{degrees('sing/image_score_centered')} (a random subspace of that size: "
        f"{degrees('sing/image_score_random')}), "
        f"{degrees('sing/attribute_score_centered')} of it toward the class"
    )
    retained = scalars["sing/retention"]
    if math.isfinite(retained):
        share = f"{retained:.0%}" if retained > 0 else "none"
        sentence += f"; {share} of the class's zero-shot accuracy is retained"
    outside = scalars["support/outside_centered"]
    if outside > _MOST:
        sentence += (
            f". But {outside:.0%} of the images are translated out of support, so these numbers "
            "say more of the translator than of the head"
        )
    return f"{sentence}."


def say_what_is_not_kept(trainer: pl.Trainer) -> None:
    """Say, before a training, that tables and pictures go to MLflow and to no other logger."""
    if mlflow_loggers(trainer) or trainer.fast_dev_run:  # type: ignore[attr-defined]
        return
    others = ", ".join(type(logger).__name__ for logger in trainer.loggers)
    kept = f"only the scalars are kept, by {others}" if others else "nothing is kept"
    rank_zero_info(
        f"SINGCallback: without an MLFlowLogger {kept}. Tables and pictures, which the app shows, "
        f"need one: {_WITH_MLFLOW}."
    )


def how_to_open(trainer: pl.Trainer) -> str:
    """The commands that show the runs, or why there is nothing to show."""
    loggers = mlflow_loggers(trainer)
    if not loggers:
        kept = "tables and pictures" if trainer.loggers else "curves and tables"
        return f"Log to MLflow to keep {kept}: {_WITH_MLFLOW}."
    uri = redact(str(loggers[0]._tracking_uri))
    return (
        f"Compare runs: mlflow ui --backend-store-uri {uri}. "
        f"See the invariants evolve: sing-monitor app --tracking-uri {uri}"
    )
