"""Monitor: a training under watch whose loop is the user's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar

from torch import nn
from torch.nn.parameter import is_lazy

from sing_monitor.errors import SetupError
from sing_monitor.keywords import function_with_options
from sing_monitor.messages import info, warn
from sing_monitor.monitor.accuracy import logged_accuracies
from sing_monitor.monitor.check import check
from sing_monitor.monitor.plain.completeness import Completeness
from sing_monitor.monitor.plain.moments import Moments
from sing_monitor.monitor.plain.options import MonitorOptions
from sing_monitor.monitor.plain.own_metrics import own_metrics, taken_names
from sing_monitor.monitor.plain.passes import (
    autocast_kinds,
    known_source,
    needed_source,
    run_over,
    undisturbed,
)
from sing_monitor.monitor.plain.place import Place, earlier_training, find_place, how_to_open
from sing_monitor.monitor.plain.resumed import resume
from sing_monitor.monitor.plain.spelling import spell, spelled
from sing_monitor.monitor.plain.unclosed import UnclosedRun
from sing_monitor.monitor.plain.watch import Validation, Watch
from sing_monitor.monitor.plain.wrappers import check_model, own_loader, running_module, way_of
from sing_monitor.monitor.session import Session
from sing_monitor.monitor.setup_report import SetupReport
from sing_monitor.monitor.summary import summary
from sing_monitor.monitor.validation import Moment
from sing_monitor.processes import Processes
from sing_monitor.tracking.spool import temporary_folder

T = TypeVar("T")


class Monitor:
    """Logs, at every validation of a loop of your own, what the classifier's head ignores.

    For plain PyTorch, scripts in the style of timm's, and Lightning Fabric. In the validation loop
    :meth:`epoch` takes the features from the passes that run anyway; :meth:`measure` makes a pass
    of its own. What `Fabric.setup`, DDP and `torch.compile` have wrapped is looked through.

    Every process of a distributed training makes a monitor and calls every method. A fault costs
    one epoch's numbers and a warning, never the training, unless ``on_error="raise"``.

    Args:
        model: maps images to logits: the one that trains, wrapped or not.
        tracking_uri: where a new run is kept: an MLflow tracking URI, or a folder such as
            ``"runs/"``, which needs neither a server nor a database. None, or the address of the
            MLflow run that is active: this one is joined, and not ended.
        experiment: of the new run; None: the tracker's default.
        run_name: of the new run; None: the tracker's choice.
        run_id: of a run that is there already, and is joined; it is not ended.
        loader: the validation loader, which tells the names of the classes, how images were
            normalized and which images they are. None: ``class_names`` and ``pixel_stats`` tell it,
            or it is not known; images in [0, 1] need no ``pixel_stats``.
        alone: whether this process of a distributed training validates alone, as rank 0 does in
            many scripts, and the others make no monitor. By default every process makes one and
            calls every method.
        space: ``"<open_clip model>/<tag or file>"`` or any :class:`SemanticSpace`. None: no
            vision-language model and no download; what needs embeddings is left out, and the head's
            geometry, its drift, the null shares and the collapse are measured.
        head: dotted name of the classifier head; found by itself in most models.
        class_names: C words; by default those of the datamodule or the validation data set, in the
            order that its ``target_transform`` gives them.
        concepts: vocabulary for the concept tables: words, or prompts by name. None: about 60
            everyday concepts; an empty list: none.
        prompt: template for classes, or several that are averaged.
        attribute_prompts: templates for annotated attributes, by name.
        probe_size: the most validation images that are scored. Until a validation has ended, their
            features, ``probe_size`` x m numbers, stay on the model's device.
        pixel_stats: ``(mean, std)`` that the images were normalized with; found by itself for the
            ``Normalize`` of torchvision, albumentations and kornia in a data set's transforms,
            timm's prefetching loader, and images in [0, 1]. Numbers above 1 count in 0..255.
        batch_adapter: turns a batch of another form into a :class:`Batch`, whose ``pictures`` are
            what the space sees where the model sees something else, such as 13 bands.
        groups: name under which a batch holds the group of each image (a key of a mapping, an
            attribute of an object): object, patient, video, source file. Images of a group stay on
            one side of every translator. Needed where an image has near copies among the others.
        ridge: of the translator, relative to the mean variance of the features; ``"auto"`` chooses
            it at the first analyzed epoch and keeps it until it costs more than one standard error
            of R2.
        n_images: how many images, those that moved most, are stored as thumbnails (with their
            nearest neighbors). 0: no picture leaves the process.
        n_maps: of how many probe images the feature maps before the head are kept until a
            validation has ended, to compare them part by part; at most 14 x 14 locations each. 0:
            of none.
        layers: of which modules the rank of the features is followed, by dotted names; True: of up
            to 8 stages of the network, which are found by themselves. Their output is taken in the
            validation pass, of at most 1,024 probe images, averaged over the locations.
        hierarchy: what the classes' likeness is compared with: the superclass of each class, or the
            path of its ancestors from the most general on, by class name; or a CSV file with one
            such path a row. None: WordNet, where the classes are ImageNet's.
        analyses: which analyses run, such as ``["sing", "collapse"]``; None: all that the README
            lists. What none of them needs is not captured: the semantic space serves ``sing`` and
            what builds on it, maps ``similarity`` and ``focus``, weights ``dynamics``.
        invariance: what removing the null space must leave unchanged: ``"logits"``, as in the
            paper, or ``"softmax"``, which ignores a constant added to all logits and so has one
            null dimension more. Scores of the two do not compare.
        cache_dir: folder that keeps embeddings; ``"auto"`` for the user's cache folder, None for
            memory only.
        every_n_epochs: score every n-th epoch; in between all metrics are NaN.
        allow_augmented: accept validation images that differ from epoch to epoch.
        n_weights: how many weights of the network are followed from validation to validation,
            beside those of a head of at most 50,000. The last 20 validations of these are kept in
            checkpoints, in 4 bytes each. 0: none.
        save_snapshots: store features and embeddings of the last validation in the run.
        alerts: rules that warn once and mark the run: :class:`sing_monitor.alerts.Alert`, or names
            of :data:`sing_monitor.alerts.DEFAULT_ALERTS`, such as ``["class_hidden"]``;
            ``"default"`` for these two, None for none.
        name: for several monitors of one training, each its own: ``name="aux"`` logs
            ``sing.aux/...``.
        on_error: ``"warn"``: a fault costs one epoch's numbers and never the run; ``"raise"`` ends
            the run.

    Raises:
        SetupError: for an argument that cannot be used, a model without a head, a server that is
            away.

    Example::

        monitor = Monitor(model, tracking_uri="sqlite:///mlflow.db", loader=val_loader)
        for epoch in range(10):
            train_one_epoch(model)
            model.eval()
            with monitor.epoch(epoch, step=steps) as watch, torch.no_grad():
                for images, labels in val_loader:
                    logits = model(images)
                    watch.add(images, labels)
        monitor.close()
    """

    @function_with_options(MonitorOptions)
    def __init__(self, model: nn.Module, options: MonitorOptions) -> None:
        check_model(model)
        self.options = options
        self._model = model
        self._processes = Processes() if options.alone else Processes.of_torch()
        with spelled():
            self._place = self._processes.first_alone(self._find_place)
            self._session = Session(
                options.with_tracking(self._place.tracking),
                processes=self._processes,
                targets=self._place.targets,
                spell=spell,
                way=way_of(model, options.loader),
                new_run=self._place.new_run,
            )
            # What is not there yet has no shape; the first validation finds it.
            if not any(map(is_lazy, model.parameters())):
                self._session.capture.attach(running_module(model))
        self._moments = Moments()
        self._completeness = Completeness()
        self._unclosed = UnclosedRun()
        self._has_reported = False

    def epoch(
        self,
        epoch: int,
        *,
        step: int | None = None,
        loader: Any = None,
        model: nn.Module | None = None,
        metrics: Mapping[str, Any] | None = None,
    ) -> Watch:
        """Watch one validation of your own loop, in a ``with`` block.

        Args:
            epoch: of the training, from 0. A second validation in one epoch needs a ``step`` of its
                own; an epoch smaller than the last one is refused, for a monitor watches one
                training.
            step: the number of optimizer steps so far, which is where the curves stand in the
                tracker; by default the epoch.
            loader: that the block runs over, if it is another one than that of the monitor.
            model: that the block runs, if it is another one than that of the monitor, such as an
                averaged copy.
            metrics: of your own for this epoch, as for :meth:`Watch.log`.

        Raises:
            SetupError: with ``on_error="raise"``, for an epoch that cannot be watched; at the end
                of the block for any other fault.
        """
        moment = self._next(epoch, step)
        validation = None
        if moment is not None:
            named = self.options.loader if loader is None else loader
            validation = Validation(
                running_module(self._model if model is None else model),
                partial(known_source, named, self._processes.count),
                moment,
                self._processes.count > 1,
                partial(self._begin, moment),
                partial(self._end, moment),
                self._drop,
            )
        return Watch(self._session, self.options, validation, self._own(metrics))

    def measure(
        self,
        loader: Any,
        *,
        epoch: int,
        step: int | None = None,
        model: nn.Module | None = None,
        metrics: Mapping[str, Any] | None = None,
    ) -> dict[str, float]:
        """Run the model over a loader, in a pass of its own, analyze and log.

        The pass runs in eval mode and without gradients; afterwards the model and every random
        number generator are as before. Of several processes each runs its own part of the loader.

        Args:
            loader: of the images to judge by; the same ones every time.
            epoch: of the training, from 0.
            step: as for :meth:`epoch`.
            model: if it is another one than that of the monitor.
            metrics: of your own, which are logged beside ours.

        Returns:
            The metrics by their logged key, NaN where one is undefined; nothing for an epoch that
            was refused.

        Raises:
            SetupError: with ``on_error="raise"``.
        """
        moment = self._next(epoch, step)
        if moment is None or not self._begin(moment):
            return {}
        watched = self._model if model is None else model
        root, count = running_module(watched), self._processes.count
        run = partial(
            run_over,
            model=watched,
            adapter=self.options.batch_adapter,
            autocast=autocast_kinds(root),
            is_shared=count > 1,
        )
        try:
            with undisturbed(root):
                self._session.start(root, partial(needed_source, loader, count), moment)
                self._session.collect(run)
                return self._end(moment, self._own(metrics))
        except BaseException:
            self._drop()
            raise

    def check(self, loader: Any) -> SetupReport:
        """Report what would be used on a validation loader, before any training.

        Runs the model on one batch. Weights, modes and random number generators stay as they are.

        Returns:
            The report, which is also logged; its ``image`` is one image as the space will see it.

        Raises:
            SetupError: with the sentences of the first validation.
        """
        root = running_module(self._model)
        with spelled(), undisturbed(root):
            found = check(self.options, self._session.space, root, own_loader(loader))
        picture = found.save_image(Path(temporary_folder()))
        info(f"{found}\n  one image as the space sees it: {picture}")
        return found

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training needs to go on in the same run; for your own checkpoint."""
        return vars(self._session.state).copy()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken, in the run of that time.

        Raises:
            SetupError: if it is no such state, or comes after a validation in another run.
        """
        state = self._session.state
        resume(state, state_dict)
        self._moments.go_on_after(state.last_epoch)

    @property
    def run_id(self) -> str | None:
        """The run that is written to: in the first process, once something was written."""
        return self._place.run_id or self._session.state.tracking_run

    def close(self, status: Literal["FINISHED", "FAILED", "KILLED"] = "FINISHED") -> None:
        """Take all hooks off the model, deliver what waits, and end the run if it is our own.

        Args:
            status: of the run.
        """
        if self._moments.is_closed:
            return
        self._moments.is_closed = True
        self._unclosed.close()
        self._drop()
        last = self._session.last
        self._session.close(status)
        if status != "FINISHED" or not self._processes.is_first:
            return
        if last.scalars:
            info(f"{summary(last.scalars, last.intervals)} {how_to_open(self._place)}".rstrip())
        elif self._session.validations == 0:
            warn(
                "the monitor analyzed nothing, because there was no validation: call "
                "monitor.epoch(...) or monitor.measure(...) in every epoch."
            )

    def __enter__(self) -> Monitor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Literal[False]:
        if kind is None:
            self.close()
        else:
            self.close("KILLED" if issubclass(kind, KeyboardInterrupt) else "FAILED")
        return False

    def _find_place(self) -> Place:
        return find_place(self.options) if self._processes.is_first else Place()

    def _next(self, epoch: Any, step: Any) -> Moment | None:
        """The moment of a validation; None if it cannot be watched."""
        return self._or_said(partial(self._moments.next, epoch, step))

    def _begin(self, moment: Moment) -> bool:
        """Begin a validation; False if it cannot be watched, which is said once."""
        is_new = self._moments.is_new
        has_begun = bool(self._or_said(partial(self._moments.begin, moment)))
        if has_begun and is_new and self._processes.is_first:
            warning = earlier_training(self._place, self.options.name, moment.epoch)
            if warning is not None:
                self._session.faults.warn_once(warning)
        return has_begun

    def _own(self, metrics: Mapping[str, Any] | None) -> dict[str, float]:
        return self._or_said(partial(own_metrics, metrics)) or {}

    def _or_said(self, do: Callable[[], T]) -> T | None:
        """What a function gives; None where it refuses, which is said once."""
        try:
            return do()
        except SetupError as error:
            self._session.faults.say(error)
            return None

    def _end(self, moment: Moment, metrics: Mapping[str, float]) -> dict[str, float]:
        if self._moments.running is None:  # closed in the block
            return {}
        try:
            with spelled():
                scalars = self._session.finish(metrics)
        finally:
            self._moments.end()
            self._end_with_the_process()
        self._report()
        if lacking := self._completeness.lacking(self._session, moment.epoch):
            self._session.faults.warn_once(lacking)
        if taken := taken_names(metrics, scalars, moment.epoch):
            self._session.faults.say(taken)
        if self._processes.count == 1:
            logged = logged_accuracies(metrics, 0, several_loaders=False)
            self._session.compare_accuracy(logged)
        return scalars

    def _end_with_the_process(self) -> None:
        """End a run of our own then, if nobody closes it before."""
        uri, run_id = self._place.tracking, self._session.state.tracking_run
        if self._processes.is_first and uri is not None and run_id is not None:
            self._unclosed.watch(uri, run_id)

    def _report(self) -> None:
        """Say once what is used: no rehearsal has said it."""
        capture = self._session.capture
        if self._has_reported or not self._processes.is_first or not self._session.last.scalars:
            return
        self._has_reported = True
        with self._session.faults.kept():
            info(str(capture.report(self._session.last.seen)))

    def _drop(self) -> None:
        if self._moments.end():
            self._session.abandon()
