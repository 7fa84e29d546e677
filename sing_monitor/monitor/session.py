"""Session: one training under watch, whatever runs it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from sing_monitor.capture.probe import Account, probe_threshold
from sing_monitor.errors import Option, as_setup_error
from sing_monitor.extra_pass.collect import collect_probe, forward_images
from sing_monitor.findings import complete, named_key
from sing_monitor.lightning_types import is_setup_fault
from sing_monitor.messages import info
from sing_monitor.monitor.accuracy import difference
from sing_monitor.monitor.alerting import raise_alerts
from sing_monitor.monitor.exchange import Outcome, Share
from sing_monitor.monitor.faults import Faults
from sing_monitor.monitor.first_process import ProbeAnalysis
from sing_monitor.monitor.model_capture import ModelCapture
from sing_monitor.monitor.options import Options
from sing_monitor.monitor.publishing import NewRun, Publisher, Record, Target
from sing_monitor.monitor.remarks import refuse_changed, remarks
from sing_monitor.monitor.state import MonitorState
from sing_monitor.monitor.validation import Moment, Source
from sing_monitor.monitor.weight_history import WeightHistory
from sing_monitor.processes import Processes
from sing_monitor.space.opening import open_space
from sing_monitor.space.semantic_space import SemanticSpace


class Session:
    """One training under watch: takes its validations one after the other.

    A loop that validates on its own calls :meth:`start`, then :meth:`before_batch` and
    :meth:`after_batch` around every forward pass, then :meth:`finish`. Where a batch is known only
    after its pass, :meth:`listen` takes the place of :meth:`before_batch`. A loop without a
    validation calls :meth:`measure`, which runs the model over a loader. :meth:`close` ends the
    training.

    Every process of a distributed training calls every method but :meth:`abandon`. A fault never
    leaves a method but :meth:`finish` and :meth:`measure`, and these only in a rehearsal or with
    ``on_error="raise"``.

    Args:
        options: of the user.
        space: opened before; None: opened here, in the first process before the others.
        datamodule: may name the classes and hold an image processor, or None.
        state: of a training that is resumed; updated in place.
        processes: that share the training; None: all of torch's default group.
        targets: gives the runs that findings go to besides ``options.tracking``.
        spool_root: folder for files that a store has not taken yet.
        spell: writes an option as the users of an adapter do.
        way: name of the adapter, which the tag ``sing.way`` of a run tells.
        new_run: experiment and name of the run that ``options.tracking`` makes.

    Raises:
        SetupError: if the space cannot be had.
    """

    def __init__(
        self,
        options: Options,
        *,
        space: SemanticSpace | None = None,
        datamodule: object = None,
        state: MonitorState | None = None,
        processes: Processes | None = None,
        targets: Callable[[], Sequence[Target]] = tuple,
        spool_root: Path | str = ".",
        spell: Callable[[Option], str] = str,
        way: str = "",
        new_run: NewRun | None = None,
    ) -> None:
        self._processes = Processes.of_torch() if processes is None else processes
        self.state = MonitorState() if state is None else state
        self.space = open_space(options.space, self._processes) if space is None else space
        self.capture = ModelCapture(options, self.space, datamodule)
        self.validations = 0  # those that began, rehearsals apart
        self.last = Outcome()  # of the last validation that went well, rehearsals apart
        followed = options.n_weights if self._processes.is_first else 0
        self._options = options
        self._way = way
        self._publisher = Publisher(
            options, self.state, self._describe, targets, spool_root, new_run
        )
        self.faults = Faults(options.on_error, spell)
        self._weights = WeightHistory(followed, self.capture.head_watch, self.state, self.faults)
        self._moment = Moment(0, 0)
        self._is_due = False
        self._source: Source | None = None
        self._is_collected = False  # an extra pass, in this validation
        self._passes = 0  # validations that were analyzed and lost no image
        self._seen = 0  # images of the last pass
        self._informed: set[str] = set()
        self._seconds = 0.0
        self._accuracy: float | None = None  # of this validation, if all its images are scored
        self._attributes = tuple(options.prompts.attributes)

    def measure(self, model: nn.Module, loader: Any, *, epoch: int, step: int) -> dict[str, float]:
        """Run a model over a loader, analyze and log.

        The pass runs in eval mode and without gradients; afterwards the model and every random
        number generator are as before.

        Args:
            model: maps images to logits.
            loader: of the images to judge by; the same ones every time.
            epoch: of the training, from 0.
            step: the number of optimizer steps so far.

        Returns:
            The metrics by their logged key, NaN where one is undefined.

        Raises:
            SetupError: with ``on_error="raise"``.
        """
        self.start(
            model, lambda: Source.of_loader(loader, self._processes.count), Moment(epoch, step)
        )

        def run(capture: ModelCapture, source: Source) -> None:
            with forward_images(model, self._options.batch_adapter) as forward:
                collect_probe(capture, model, source.loader, forward=forward)

        self.collect(run)
        return self.finish()

    def start(self, model: nn.Module, source: Callable[[], Source], moment: Moment) -> None:
        """Begin a validation.

        Args:
            model: the model under watch.
            source: gives the batches of the validation; may raise a SetupError.
            moment: of the validation.
        """
        self.faults.start_pass()
        self._moment, self._is_collected = moment, False
        self._weights.start(model, moment)
        self.validations += not moment.is_rehearsal
        is_due = self.state.is_due(moment, self._options.every_n_epochs)
        self._is_due = is_due and not self.faults.is_off
        if self._is_due:
            with self._timed(), self.faults.kept(of_model=True):
                self._start_pass(model, source())

    def before_batch(self, batch: Any) -> None:
        """Read a batch before the step, which may change it, and listen to the head."""
        self._read_weights()
        if self.is_listening:
            with self._timed(), self.faults.kept():
                self.capture.read(batch)
        self.listen()

    def listen(self) -> None:
        """Listen to the head, until :meth:`after_batch`."""
        if self.is_listening:
            with self.faults.kept():
                self.capture.open()

    def after_batch(self, batch: Any) -> None:
        """Take the features of a batch."""
        if self.is_listening:
            with self._timed(), self.faults.kept():
                self.capture.add(batch)
                self._refuse_augmented()
        self._read_weights()

    def lose_batch(self, batch: Any, reason: Exception) -> None:
        """Go without a batch whose features cannot be told, and count its images."""
        if self.is_listening:
            with self._timed(), self.faults.kept():
                self.capture.lose(batch, reason)

    def fail(self, error: Exception) -> None:
        """Go without the validation that goes on; :meth:`finish` says why."""
        with self.faults.kept():
            self.capture.close()
            raise self.faults.current or error

    def abandon(self) -> None:
        """End a validation, keep nothing of it, and wait for no other process."""
        self._is_due = False
        self._weights.abandon()
        with self.faults.kept():
            self.capture.abandon()

    def collect(self, run: Callable[[ModelCapture, Source], None]) -> None:
        """Run an extra pass of the model, once a validation.

        Args:
            run: takes the model over the source and collects the probe.
        """
        self._read_weights()
        if self.is_listening and not self._is_collected and self._source is not None:
            self._is_collected = True
            with self._timed(), self.faults.kept():
                run(self.capture, self._source)
                self._refuse_augmented()
        self._read_weights()

    def finish(self, metrics: Mapping[str, float] | None = None) -> dict[str, float]:
        """End a validation: analyze, store tables, keep the scalars.

        Args:
            metrics: of the training's own, by the names that they get beside ours.

        Returns:
            The metrics by their logged key, the same keys every time and in every process, NaN
            where one is undefined; nothing after a rehearsal.

        Raises:
            SetupError: for a fault in a rehearsal, or with ``on_error="raise"``; in every process.
        """
        with self._timed():
            self._weights.finish()
        outcome, record = self._conclude() if self._is_due else (Outcome(), None)
        return {} if self._moment.is_rehearsal else self._log(outcome.scalars, record, metrics)

    def compare_accuracy(self, logged: Mapping[str, float]) -> None:
        """Warn where a training logs another accuracy of the same images than the head has.

        Args:
            logged: accuracies that the training has logged for the last validation.
        """
        ours, self._accuracy = self._accuracy, None
        sentence = None if ours is None else difference(ours, logged)
        if sentence is not None:
            self.faults.warn_once(sentence)

    def flush(self) -> None:
        """Try to deliver what a store has not taken, and report what still waits."""
        self._publisher.flush()

    def close(self, status: str = "FINISHED") -> None:
        """Take all hooks off the model, deliver what waits, and end the monitor's own run.

        Args:
            status: ``FINISHED``, ``FAILED`` or ``KILLED``.
        """
        self.capture.release()
        self._publisher.flush()
        self._publisher.finish(status)

    @property
    def is_listening(self) -> bool:
        """Whether the validation that goes on is analyzed, and has had no fault so far."""
        return self._is_due and self.faults.current is None

    @contextmanager
    def _timed(self) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self._seconds += time.perf_counter() - started

    def _read_weights(self) -> None:
        with self._timed():
            self._weights.read()

    def _start_pass(self, model: nn.Module, source: Source) -> None:
        self._source = source
        if self.state.threshold is None:
            self.state.threshold = probe_threshold(source.images, self._options.probe_size)
        self.capture.start(
            model,
            source.loader,
            threshold=self.state.threshold,
            images=source.in_this_pass,
            batches=source.batches,
            order=source.order,
        )

    @property
    def images(self) -> int | None:
        """How many images a full pass has; None where that is not certain."""
        return None if self._source is None else self._source.images

    @property
    def _expected_images(self) -> int | None:
        """Images of the probe in a full pass: as planned, or as many as before; None: unknown."""
        known = (self._seen or None) if self.images is None else self.images
        return None if known is None else min(known, self._options.probe_size)

    def _refuse_augmented(self) -> None:
        if self._options.allow_augmented or self._moment.is_rehearsal or self._passes != 1:
            return
        ranks = self._source.ranks if self._source else 1
        # A pass that is longer than the one before has new images though none has changed.
        longer = 0 if self.images else max(self.capture.seen * ranks - self._seen, 0)
        refuse_changed(self.capture.embedder.others * ranks - longer, self._expected_images or 0)

    def _conclude(self) -> tuple[Outcome, Record | None]:
        """End a pass. Every process takes part in every exchange, whatever went wrong before."""
        with self._timed():
            shares = self._processes.gather(self._share())
            outcome, findings, snapshot = Outcome(), None, None
            if shares:
                outcome, findings, snapshot = self._analysis().run(self.capture, shares)
                seen = max((share.attributes for share in shares), key=len)
                outcome = replace(outcome, attributes=seen or self._attributes)
            outcome = self._processes.broadcast(outcome)
            self._attributes = outcome.attributes
            if outcome.threshold is not None:
                self.state.threshold = outcome.threshold
            self.capture.taps.share(outcome.map_ids)
            self._seen = self._seen if outcome.seen is None else outcome.seen
            if outcome.scalars and outcome.failure is None and self._moment.is_training:
                rules, epoch = self._options.alert_rules, self._moment.epoch
                raise_alerts(rules, self.state, epoch=epoch, outcome=outcome)
            pictures = self._processes.gather(self.capture.embedder.pictures(outcome.wanted))
            self._remember(outcome)
        if findings is None:
            return outcome, None
        thumbnails = {key: value for part in pictures for key, value in part.items()}
        kept = snapshot if self._options.save_snapshots else None
        return outcome, Record(findings, thumbnails, kept)

    def _share(self) -> Share:
        rows = None
        with self.faults.kept():
            if self.faults.current is None:
                rows = self.capture.finish()
            else:
                self.capture.abandon()
        account = self.capture.account.spelled(self.faults.spell)
        if self._options.probe is not None and not self._processes.is_first:
            rows, account = None, Account()  # every process has run the whole probe
        fault = self.faults.current
        share = Share(expected=self._expected_images, attributes=self.capture.attributes)
        if fault is None:
            return replace(share, rows=rows, account=account)
        return replace(share, failure=as_setup_error(fault), is_setup_fault=is_setup_fault(fault))

    def _analysis(self) -> ProbeAnalysis:
        return ProbeAnalysis.next(
            self._options, self.state, self._moment, self.images, self._weights.trajectory
        )

    def _describe(self) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        images = self._seen if self.images is None else self.images
        config, tags = self.capture.describe(threshold=self.state.threshold or 0, images=images)
        way = {"way": self._way} if self._way else {}
        return {**config, **way}, {**tags, **way}

    def _remember(self, outcome: Outcome) -> None:
        moment = self._moment
        if outcome.failure is not None:
            self.faults.complain(
                outcome.failure,
                epoch=moment.epoch,
                is_setup_fault=outcome.is_setup_fault,
                is_rehearsal=moment.is_rehearsal,
            )
            return
        if moment.is_rehearsal:
            return
        self.faults.pass_went_well()
        for reason, context in remarks(outcome, moment.epoch):
            self.faults.warn_once(reason, context)
        for line in {*outcome.infos, *self._weights.remarks} - self._informed:
            self._informed.add(line)
            info(line)
        # What a pass left out is new in the next one, though no image has changed.
        is_whole = (outcome.seen or 0) >= (self.images or 0)
        self._passes += is_whole and outcome.scalars["monitor/skipped"] == 0
        self.last = outcome
        if outcome.scalars["monitor/samples"] == outcome.seen:
            self._accuracy = outcome.scalars["monitor/accuracy"]
        if moment.is_training:
            self.state.remember(moment.epoch, outcome, self.capture.weight)

    def _log(
        self,
        scalars: Mapping[str, float],
        record: Record | None,
        metrics: Mapping[str, float] | None,
    ) -> dict[str, float]:
        from sing_monitor.analyses import catalogue_of

        own = {
            "monitor/seconds": self._seconds,
            "monitor/global_step": float(self._moment.step),
            "monitor/stage": 0.0 if self._moment.is_training else 1.0,
        }
        self._seconds = 0.0
        specs = catalogue_of(self._options.captured, self._options.analyses)
        values = complete({**scalars, **own}, specs, self._attributes)
        # Before the first batch is understood there is nothing to say of the run.
        known = values if self.capture.is_settled else {}
        if self._processes.is_first and (known or metrics):
            with self._timed():
                self._publisher.publish(self._moment, known, record, metrics)
        return {named_key(key, self._options.name): value for key, value in values.items()}
