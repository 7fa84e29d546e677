"""One call of fit or validate under the monitor: passes, faults, and what is logged."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn
from torch import nn

from sing_monitor.callbacks.source import Source, find_source, run_own_probe, runs_validation
from sing_monitor.callbacks.spelling import for_callback
from sing_monitor.capture.probe import Account, probe_threshold
from sing_monitor.errors import Option, SetupError
from sing_monitor.extra_pass.lightning_modules import is_setup_fault
from sing_monitor.findings import complete, named_key
from sing_monitor.monitor.accuracy import difference, logged_accuracies
from sing_monitor.monitor.alerting import raise_alerts
from sing_monitor.monitor.analysis import Analysis
from sing_monitor.monitor.exchange import Outcome, Share, broadcast, gather
from sing_monitor.monitor.faults import Faults
from sing_monitor.monitor.model_capture import UNKNOWN_SHARE, Watch
from sing_monitor.monitor.options import Settings
from sing_monitor.monitor.publishing import Publisher, how_to_open, log_scalars, summary
from sing_monitor.monitor.remarks import remarks
from sing_monitor.monitor.second_fit import warn_about_earlier_epochs
from sing_monitor.monitor.state import Memory

if TYPE_CHECKING:
    import lightning.pytorch as pl

    from sing_monitor.findings import Findings
    from sing_monitor.snapshot import Snapshot


class MonitoredRun:
    """Takes a trainer's validations one after the other.

    Args:
        settings: what the user asked for.
        watch: on the model.
        memory: what survives a resume; updated in place.
    """

    def __init__(self, settings: Settings, watch: Watch, memory: Memory) -> None:
        self._settings = settings
        self._watch = watch
        self._memory = memory
        self._publisher = Publisher(settings.name, self._describe)
        self._faults = Faults(settings.on_error)
        self._is_due = False
        self._is_rehearsal = False
        self._source: Source | None = None
        self._is_collected = False  # the user's own probe, in this pass
        self._started = 0  # validations, the sanity check apart
        self._passes = 0  # of these, those that were analysed
        self._images: int | None = None
        self._seen = 0  # images of the last pass
        self._informed: set[str] = set()
        self._seconds = 0.0
        self._last: Mapping[str, float] = {}
        # In this pass, where all validation images are scored.
        self._accuracy: float | None = None
        self._attributes = tuple(settings.prompts.attributes)

    def begin_training(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Where no validation loop will run: rehearse on the user's own probe, or warn.

        Warns as well of a run that holds another training already.
        """
        warn_about_earlier_epochs(trainer, self._settings.name)
        if self.measures_training_epochs(trainer):
            self.measure(trainer, pl_module, is_rehearsal=True)
        elif not runs_validation(trainer):
            rank_zero_warn(
                "SINGCallback listens to the validation loop, and none will run: there is no "
                "validation loader, no validation_step, or limit_val_batches=0. Add one, or give "
                "it images of its own: SINGCallback(probe=DataLoader(...))."
            )

    def measures_training_epochs(self, trainer: pl.Trainer) -> bool:
        """Whether the probe is measured after training epochs, for want of a validation loop."""
        return self._settings.probe is not None and not runs_validation(trainer)

    def measure(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *, is_rehearsal: bool = False
    ) -> None:
        """A whole pass on the user's own probe, outside any validation loop."""
        self.start(trainer, pl_module, is_rehearsal=is_rehearsal)
        self._collect_own(trainer, pl_module)
        self.end(trainer, pl_module)

    def start(self, trainer: pl.Trainer, model: nn.Module, *, is_rehearsal: bool = False) -> None:
        """Begin a validation."""
        self._faults.start_pass()
        self._is_collected = False
        self._is_rehearsal = is_rehearsal
        self._started += not is_rehearsal
        self._is_due = not self._faults.is_off and self._is_epoch_due(trainer)
        if self._is_due:
            with self._timed(), self._faults.kept():
                self._start_pass(trainer, model)

    def before_batch(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, dataloader_idx: int
    ) -> None:
        """Read a batch, and listen to the head; before the first, run the user's own probe.

        There, and not at the end, averaging callbacks have swapped in the weights to validate.
        """
        self._collect_own(trainer, pl_module)
        if self._is_listening(dataloader_idx):
            with self._timed(), self._faults.kept():
                # Before the step, which may change the batch.
                self._watch.read(batch)
        if self._is_listening(dataloader_idx):
            with self._faults.kept():
                self._watch.head_watch.open()

    def after_batch(self, trainer: pl.Trainer, batch: Any, dataloader_idx: int) -> None:
        """Take the features of a batch."""
        if self._is_listening(dataloader_idx):
            with self._timed(), self._faults.kept():
                self._watch.add(batch)
                self._refuse_augmented()

    def end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Analyse and log.

        Raises:
            MisconfigurationException: for a fault in the sanity check, or with
                ``on_error="raise"``; on every rank.
        """
        outcome = self._conclude(trainer) if self._is_due else Outcome()
        if not self._is_rehearsal:
            self._log(trainer, pl_module, outcome.scalars)

    def compare_accuracy(self, trainer: pl.Trainer) -> None:
        """Warn where the module logs another accuracy of the same images than the head has.

        When a validation has ended: only then Lightning has the module's own metrics.
        """
        ours, self._accuracy = self._accuracy, None
        if ours is None or trainer.world_size > 1 or self._settings.probe is not None:
            return
        logged = logged_accuracies(
            trainer.callback_metrics,
            self._settings.dataloader_idx,
            several_loaders=len(trainer.num_val_batches) > 1,
        )
        sentence = difference(ours, logged)
        if sentence is not None:
            self._faults.warn_once(sentence)

    def say_what_was_found(self, trainer: pl.Trainer) -> None:
        """One line at the end of fit, and a last try to deliver what MLflow did not take."""
        self._publisher.flush()
        if self._last:
            rank_zero_info(f"SINGCallback: {summary(self._last)} {how_to_open(trainer)}")
        elif self._started == 0 and runs_validation(trainer):
            rank_zero_warn(
                "SINGCallback analysed nothing, because no validation ran before the training "
                "ended. Check check_val_every_n_epoch, val_check_interval and max_epochs."
            )

    def release(self) -> None:
        """Take the hook off the model, and try a last time to deliver what MLflow has not."""
        self._watch.release()
        self._publisher.flush()

    def _is_epoch_due(self, trainer: pl.Trainer) -> bool:
        if self._is_rehearsal or not _is_fitting(trainer) or self._memory.last_epoch is None:
            return True
        passed = trainer.current_epoch - self._memory.last_epoch
        return passed == 0 or passed >= self._settings.every_n_epochs

    def _is_listening(self, dataloader_idx: int) -> bool:
        is_ours = self._settings.probe is None and dataloader_idx == self._settings.dataloader_idx
        return self._is_due and is_ours and self._faults.current is None

    @contextmanager
    def _timed(self) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self._seconds += time.perf_counter() - started

    def _start_pass(self, trainer: pl.Trainer, model: nn.Module) -> None:
        source = find_source(trainer, self._settings, is_rehearsal=self._is_rehearsal)
        self._source, self._images = source, source.images
        if self._memory.threshold is None:
            self._memory.threshold = probe_threshold(self._images, self._settings.probe_size)
        self._watch.start(
            model,
            source.loader,
            threshold=self._memory.threshold,
            images=source.in_this_pass,
            batches=source.batches,
            order=source.order,
        )

    def _collect_own(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Run the user's own probe, once a pass."""
        is_wanted = self._settings.probe is not None and self._is_due and not self._is_collected
        if not is_wanted or self._faults.current is not None or self._source is None:
            return
        self._is_collected = True
        with self._timed(), self._faults.kept():
            run_own_probe(trainer, pl_module, self._watch, self._source, self._settings)
            self._refuse_augmented()

    @property
    def _expected_images(self) -> int:
        known = self._seen or self._settings.probe_size if self._images is None else self._images
        return min(known, self._settings.probe_size)

    def _refuse_augmented(self) -> None:
        if self._settings.allow_augmented or self._is_rehearsal or self._passes != 1:
            return
        unknown = self._watch.embedder.unknown * (self._source.ranks if self._source else 1)
        if unknown > UNKNOWN_SHARE * self._expected_images:
            raise SetupError(
                f"{unknown} of about {self._expected_images} probe images were not seen "
                "before: the validation set changes from pass to pass (random augmentation, or "
                "shuffling with limit_val_batches), so epochs cannot be compared. Validate on "
                "fixed images, or pass ",
                Option("allow_augmented", "True"),
                " to embed anew each time.",
            )

    def _conclude(self, trainer: pl.Trainer) -> Outcome:
        """End a pass. Every rank takes part in every exchange, whatever went wrong before."""
        with self._timed():
            shares = gather(trainer, self._share(trainer))
            outcome, findings, snapshot = Outcome(), None, None
            if trainer.is_global_zero:
                outcome, findings, snapshot = self._analysis(trainer).run(self._watch, shares)
                seen = max((share.attributes for share in shares), key=len)
                outcome = replace(outcome, attributes=seen or self._attributes)
            outcome = broadcast(trainer, outcome)
            self._attributes = outcome.attributes
            if outcome.threshold is not None:
                self._memory.threshold = outcome.threshold
            self._seen = self._seen if outcome.seen is None else outcome.seen
            self._raise_alerts(trainer, outcome)
            pictures = gather(trainer, self._watch.embedder.pictures(outcome.wanted))
            if findings is not None:
                self._publish(trainer, findings, snapshot, pictures)
            self._remember(trainer, outcome)
        return outcome

    def _raise_alerts(self, trainer: pl.Trainer, outcome: Outcome) -> None:
        if outcome.scalars and outcome.failure is None and _is_fitting(trainer):
            raise_alerts(
                self._settings.alerts,
                self._memory,
                epoch=trainer.current_epoch,
                scalars=outcome.scalars,
            )

    def _share(self, trainer: pl.Trainer) -> Share:
        rows = None
        with self._faults.kept():
            if self._faults.current is None:
                rows = self._watch.finish()
            else:
                self._watch.abandon()
        account = self._watch.account
        if self._settings.probe is not None and not trainer.is_global_zero:
            rows, account = None, Account()  # every rank has run the whole probe
        fault = self._faults.current
        if fault is None:
            return Share(
                rows,
                expected=self._expected_images,
                attributes=self._watch.attributes,
                account=account,
            )
        return Share(
            failure=for_callback(fault),
            is_setup_fault=is_setup_fault(fault),
            expected=self._expected_images,
            attributes=self._watch.attributes,
        )

    def _analysis(self, trainer: pl.Trainer) -> Analysis:
        memory, ridge = self._memory, self._settings.ridge
        if ridge == "auto" and memory.ridge is not None:
            ridge = memory.ridge
        return Analysis(
            epoch=trainer.current_epoch,
            step=trainer.global_step,
            ridge=ridge,
            previous_weight=memory.head_weight if _is_fitting(trainer) else None,
            n_images=self._settings.n_images,
            invariance=self._settings.invariance,
            images=self._images,
            probe_size=self._settings.probe_size,
            is_rehearsal=self._is_rehearsal,
        )

    def _publish(
        self,
        trainer: pl.Trainer,
        findings: Findings,
        snapshot: Snapshot | None,
        pictures: Sequence[Mapping[str, Any]],
    ) -> None:
        self._publisher.publish(
            trainer,
            findings,
            epoch=trainer.current_epoch,
            step=trainer.global_step,
            thumbnails={key: value for part in pictures for key, value in part.items()},
            snapshot=snapshot if self._settings.save_snapshots else None,
            fired=self._memory.fired or {},
        )

    def _describe(self) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        images = self._seen if self._images is None else self._images
        return self._watch.describe(threshold=self._memory.threshold or 0, images=images)

    def _remember(self, trainer: pl.Trainer, outcome: Outcome) -> None:
        if outcome.failure is not None:
            self._faults.complain(
                outcome.failure,
                epoch=trainer.current_epoch,
                is_setup_fault=outcome.is_setup_fault,
                is_rehearsal=self._is_rehearsal,
            )
            return
        self._faults.pass_went_well()
        if self._is_rehearsal:
            return
        for reason, context in remarks(outcome, trainer.current_epoch):
            self._faults.warn_once(reason, context)
        for info in set(outcome.infos) - self._informed:
            self._informed.add(info)
            rank_zero_info(f"SINGCallback: {info}")
        # Where a batch was lost, its images are new in the next pass, though none has changed.
        self._passes += outcome.scalars["monitor/skipped"] == 0
        self._last = outcome.scalars
        if outcome.scalars["monitor/samples"] == outcome.seen:
            self._accuracy = outcome.scalars["monitor/accuracy"]
        if _is_fitting(trainer):
            self._memory.last_epoch = trainer.current_epoch
            self._memory.head_weight = self._watch.weight
            if math.isfinite(outcome.scalars["translator/ridge"]):
                self._memory.ridge = outcome.scalars["translator/ridge"]

    def _log(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, scalars: Mapping[str, float]
    ) -> None:
        from sing_monitor.analyses import CATALOGUE

        own = {
            "monitor/seconds": self._seconds,
            "monitor/global_step": float(trainer.global_step),
            "monitor/stage": 0.0 if _is_fitting(trainer) else 1.0,
        }
        self._seconds = 0.0
        values = complete({**scalars, **own}, CATALOGUE, self._attributes)
        # Before the first batch is understood there is nothing to say of the run.
        if trainer.is_global_zero and self._watch.is_settled:
            with self._timed():
                self._publisher.keep_scalars(trainer, values)
        log_scalars(
            pl_module,
            {named_key(key, self._settings.name): value for key, value in values.items()},
            is_shared=trainer.world_size > 1,
        )


def _is_fitting(trainer: pl.Trainer) -> bool:
    """Whether this validation belongs to the history of a training."""
    return trainer.state.fn == TrainerFn.FITTING
