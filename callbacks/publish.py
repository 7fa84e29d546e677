"""Where findings go besides the scalars: tables, pictures and config, to every MLFlowLogger."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.loggers import MLFlowLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from sing_monitor.alerts import format_fired

if TYPE_CHECKING:
    import lightning.pytorch as pl
    import numpy as np

    from sing_monitor.findings import Findings
    from sing_monitor.snapshot import Snapshot
    from sing_monitor.tracking import RunWriter

SPOOL = ".sing_spool"
_NAMED = 3


class Publisher:
    """Writes findings to the MLflow runs of a trainer. Runs on rank 0 only; never raises.

    Args:
        name: of the callback; folders and tags follow it.
        config: what ``sing/config.json`` says of the run.
        tags: what the run's ``sing.*`` tags say.
    """

    def __init__(
        self, name: str | None, config: Mapping[str, Any], tags: Mapping[str, str]
    ) -> None:
        self._name = name
        self._config = config
        self._tags = tags
        self._writers: dict[int, RunWriter] = {}
        self._warned: set[str] = set()

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
            try:
                writer = self._writer(trainer, logger)
                writer.write(findings, epoch=epoch, step=step, thumbnails=thumbnails)
                if snapshot is not None:
                    writer.write_snapshot(snapshot)
                if fired:
                    writer.write_tags({"alerts": format_fired(fired)})
            except Exception as error:
                self._warn(str(error) or type(error).__name__)

    def flush(self) -> None:
        """Try once more to deliver what is still in the spool."""
        for writer in self._writers.values():
            try:
                writer.deliver()
            except Exception as error:
                self._warn(str(error) or type(error).__name__)

    def _writer(self, trainer: pl.Trainer, logger: MLFlowLogger) -> RunWriter:
        from sing_monitor.tracking import RunWriter

        if id(logger) not in self._writers:
            client, run_id = logger.experiment, str(logger.run_id)
            spool = Path(trainer.default_root_dir) / SPOOL
            writer = RunWriter(client, run_id, spool, name=self._name)
            writer.describe(self._config, {**self._tags, "metric_prefix": logger._prefix})
            self._writers[id(logger)] = writer
        return self._writers[id(logger)]

    def _warn(self, reason: str) -> None:
        if reason not in self._warned:
            self._warned.add(reason)
            rank_zero_warn(
                f"SINGCallback could not write its tables to MLflow: {reason} They are kept in "
                f"the folder {SPOOL} and written at the next chance; training goes on."
            )


def mlflow_loggers(trainer: pl.Trainer) -> list[MLFlowLogger]:
    """The trainer's MLflow loggers; none under ``fast_dev_run``."""
    return [logger for logger in trainer.loggers if isinstance(logger, MLFlowLogger)]


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
        sentence += f"; {retained:.0%} of the class's zero-shot accuracy is retained"
    return f"{sentence}."


def named(classes: Sequence[str]) -> str:
    """A few names, and how many more there are.

    Example::

        >>> named(["cat"]), named(["cat", "dog", "ship", "tree", "car"])
        ("class 'cat'", "classes 'cat', 'dog', 'ship' and 2 more")
    """
    names = ", ".join(repr(name) for name in classes[:_NAMED])
    more = f" and {len(classes) - _NAMED} more" if len(classes) > _NAMED else ""
    return f"{'class' if len(classes) == 1 else 'classes'} {names}{more}"


def how_to_open(trainer: pl.Trainer) -> str:
    """The commands that show the runs, or why there is nothing to show."""
    from sing_monitor.tracking import redact

    loggers = mlflow_loggers(trainer)
    if not loggers:
        return "Log to MLflow to keep curves and tables: Trainer(logger=MLFlowLogger(...))."
    uri = redact(str(loggers[0]._tracking_uri))
    return (
        f"Compare runs: mlflow ui --backend-store-uri {uri}. "
        f"See the invariants evolve: streamlit run app/main.py -- --tracking-uri {uri}"
    )
