"""Publisher: findings on their way to the runs of one training."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sing_monitor.alerts import format_fired
from sing_monitor.messages import info, warn
from sing_monitor.monitor.options import Options
from sing_monitor.monitor.state import MonitorState
from sing_monitor.monitor.validation import Moment
from sing_monitor.tracking.addresses import redact, shown_address
from sing_monitor.tracking.errors import RunNotFoundError
from sing_monitor.tracking.mlflow_access import is_server
from sing_monitor.tracking.spool import BusyError, DeliveryError, spool_place

if TYPE_CHECKING:
    import numpy as np

    from sing_monitor.findings import Findings
    from sing_monitor.snapshot import Snapshot
    from sing_monitor.tracking import Run, RunWriter


@dataclass(frozen=True)
class Target:
    """One run that findings go to.

    Args:
        key: tells it from other targets.
        open: gives the run; called once, when there is something to write.
        metric_prefix: of the training's logger, before every metric's name.
        logged_step: the step at which a logger of the training logs the scalars, which the monitor
            then keeps until they are seen in the run. None: the monitor sends them itself.
    """

    key: Hashable
    open: Callable[[], Run]
    metric_prefix: str = ""
    logged_step: int | None = None


@dataclass(frozen=True)
class NewRun:
    """The run that the option ``tracking`` makes.

    Args:
        experiment: the group of runs that it belongs to; None: the tracker's default.
        run_name: None: the tracker's choice.
    """

    experiment: str | None = None
    run_name: str | None = None


@dataclass(frozen=True)
class Record:
    """What an analyzed validation leaves besides its scalars.

    Args:
        findings: hold the tables.
        thumbnails: pictures by image id.
        snapshot: None where it is not to be stored.
    """

    findings: Findings
    thumbnails: Mapping[str, np.ndarray]
    snapshot: Snapshot | None


class Publisher:
    """Writer of findings to several runs. Used in the first process alone; never raises.

    Args:
        options: of the user.
        state: of the training; remembers the monitor's own run.
        describe: gives the content of ``sing/config.json`` and of the ``sing.*`` tags; called when
            the first thing is written.
        targets: gives the runs besides the monitor's own.
        spool_root: folder for files that a store has not taken yet.
        new_run: the run that the option ``tracking`` makes; None: one without a name.
    """

    def __init__(
        self,
        options: Options,
        state: MonitorState,
        describe: Callable[[], tuple[Mapping[str, Any], Mapping[str, str]]],
        targets: Callable[[], Sequence[Target]],
        spool_root: Path | str,
        new_run: NewRun | None = None,
    ) -> None:
        self._options = options
        self._new_run = new_run or NewRun()
        self._state = state
        self._describe_run = describe
        self._given_targets = targets
        self._spool_root = spool_root
        self._own: Run | None = None
        self._writers: dict[Hashable, RunWriter] = {}
        self._behind: set[Hashable] = set()  # targets whose store does not take what waits
        self._said: set[str] = set()
        self._lost = 0
        self._spool_dir: Path | None = None

    def publish(
        self,
        moment: Moment,
        scalars: Mapping[str, float],
        record: Record | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Write one validation to every run; what fails stays in the local spool.

        The scalars are kept first: whoever dies on the way leaves no tables without them.

        Args:
            moment: of the validation.
            scalars: value by catalogue key; none where nothing is understood yet.
            record: what else there is of it; None where nothing was analyzed.
            metrics: of the training's own, by name.
        """
        for target in self._targets():
            with self._reported(target.key):
                writer = self._writer(target)
                writer.keep_scalars(
                    scalars,
                    epoch=moment.epoch,
                    step=moment.step,
                    tracker_step=moment.step if target.logged_step is None else target.logged_step,
                    metric_prefix=target.metric_prefix,
                    by_logger=target.logged_step is not None,
                    others=metrics or {},
                )
                # Alone, they wait for the logger that brings them.
                is_brought = target.logged_step is not None and record is None
                if is_brought and writer.is_described:
                    continue
                with writer.together():
                    if scalars:
                        self._describe(writer, target, moment)
                    if record is not None:
                        self._write(writer, moment, record)
                self._say_that_all_arrived(target.key)

    def _write(self, writer: RunWriter, moment: Moment, record: Record) -> None:
        writer.write(
            record.findings, epoch=moment.epoch, step=moment.step, thumbnails=record.thumbnails
        )
        if record.snapshot is not None:
            writer.write_snapshot(record.snapshot)
        if self._state.fired:
            writer.write_tags({"alerts": format_fired(self._state.fired)})

    def flush(self) -> None:
        """Deliver what is still in the spool, and report what stays there."""
        writers, self._writers = self._writers, {}
        for key, writer in writers.items():
            with self._reported(key):
                writer.deliver(last=True)
                self._say_that_all_arrived(key)
            if writer.pending:
                info(
                    f"{writer.pending} files have not reached their store. "
                    f"`{self._sync_command()}` delivers them."
                )
                if key in self._behind - {_OWN} and is_server(writer.address):
                    info(_LOGGER_TRIES.format(process=os.getpid()))
            writer.close()
        lost, self._lost = self._lost, 0
        if lost:
            info(f"validations whose tables were lost: {lost}.")

    def finish(self, status: str) -> None:
        """End the monitor's own run: ``FINISHED``, ``FAILED`` or ``KILLED``."""
        own, self._own = self._own, None
        if own is not None:
            try:
                own.finish(status)
            # Every kind of store has exceptions of its own.
            except Exception as error:
                warn(redact(str(error)) or type(error).__name__)

    def _targets(self) -> list[Target]:
        given = list(self._given_targets())
        if self._options.tracking is None:
            return given
        return [*given, Target(_OWN, partial(self._own_run, str(self._options.tracking)))]

    def _own_run(self, uri: str) -> Run:
        """The run at ``tracking``; that of a resumed training is continued."""
        from sing_monitor.tracking import create_run

        if self._own is None:
            new = partial(create_run, uri, **vars(self._new_run))
            try:
                self._own = new(run_id=self._state.tracking_run)
            except RunNotFoundError as error:
                warn(f"{error} The resumed training gets a new run.")
                self._own = new()
            self._state.tracking_run = self._own.run_id
        return self._own

    def _writer(self, target: Target) -> RunWriter:
        from sing_monitor.tracking import RunWriter

        if target.key not in self._writers:
            self._writers[target.key] = RunWriter(
                target.open(), self._spool(), name=self._options.name
            )
        return self._writers[target.key]

    def _spool(self) -> Path:
        """Folder of the spools; warns once where it does not lie in the training's own folder."""
        if self._spool_dir is None:
            self._spool_dir, reason = spool_place(self._spool_root)
            if reason is not None:
                root = shown_address(str(self._spool_root))
                warn(
                    f"the folder {root!r} {reason}, so files that the store has not "
                    f"taken yet wait in {self._spool_dir}. After a crash, "
                    f"`{self._sync_command()}` delivers it."
                )
        return self._spool_dir

    def _sync_command(self) -> str:
        return f"sing-monitor sync {shlex.quote(str(self._spool_dir))}"

    def _describe(self, writer: RunWriter, target: Target, moment: Moment) -> None:
        if not writer.is_described:
            config, tags = self._describe_run()
            tags = {**tags, "metric_prefix": target.metric_prefix}
            writer.describe(config, tags, since=moment.epoch)

    @contextmanager
    def _reported(self, key: Hashable) -> Iterator[None]:
        """Turn faults into warnings: a dead server or a full disk is said once, not each epoch."""
        try:
            yield
        except Exception as error:
            reason = redact(str(error)) or type(error).__name__
            if isinstance(error, DeliveryError) and not error.is_loss:
                if key not in self._behind:
                    self._behind.add(key)
                    end = f"What waits at the end, `{self._sync_command()}` delivers."
                    self._warn(reason, f"{reason} {end}")
            elif isinstance(error, OSError):
                self._lost += isinstance(error, DeliveryError)
                self._warn("busy" if isinstance(error, BusyError) else "disk", reason)
            else:
                self._warn(reason, reason)

    def _say_that_all_arrived(self, key: Hashable) -> None:
        if key in self._behind:
            self._behind.remove(key)
            info("what waited for its store has been delivered.")

    def _warn(self, topic: str, reason: str) -> None:
        if topic not in self._said:
            self._said.add(topic)
            warn(f"findings could not be written: {reason} Training goes on.")


# Key of the monitor's own run among the targets.
_OWN = "tracking"
_LOGGER_TRIES = (
    "what the training's own logger still holds, MLflow goes on trying to send, ten batches at a "
    "time and by default for minutes each, and this process does not end before that. `kill "
    "{process}` ends it and loses what only the logger holds, nothing of the monitor's. "
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES=1 and MLFLOW_HTTP_REQUEST_TIMEOUT=20 in the environment let "
    "MLflow give up sooner."
)
