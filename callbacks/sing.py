"""SINGCallback: Lightning callback that measures what a classifier's head ignores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.callbacks import Callback
from torch import nn
from typing_extensions import override

from sing_monitor.callbacks.loggers import how_to_open, log_scalars, say_what_is_not_kept, targets
from sing_monitor.callbacks.neighbors import refuse_namesakes, warn_about_early_stopping
from sing_monitor.callbacks.own_probe import check_own_probe, run_own_probe
from sing_monitor.callbacks.second_fit import warn_about_earlier_epochs
from sing_monitor.callbacks.source import find_source, moment, runs_validation
from sing_monitor.callbacks.spelling import as_misconfiguration, spell
from sing_monitor.errors import as_setup_error
from sing_monitor.keywords import method_with_options
from sing_monitor.lightning_types import overrides
from sing_monitor.messages import info, warn
from sing_monitor.monitor.accuracy import logged_accuracies
from sing_monitor.monitor.check import check
from sing_monitor.monitor.model_capture import ModelCapture
from sing_monitor.monitor.options import Options
from sing_monitor.monitor.session import Session
from sing_monitor.monitor.setup_report import SetupReport
from sing_monitor.monitor.state import MonitorState
from sing_monitor.monitor.summary import summary
from sing_monitor.monitor.validation import Source
from sing_monitor.no_trace import no_trace
from sing_monitor.processes import Processes
from sing_monitor.space.opening import open_space
from sing_monitor.space.semantic_space import SemanticSpace, resolve_space
from sing_monitor.tracking.spool import temporary_folder

if TYPE_CHECKING:
    import lightning.pytorch as pl


class SINGCallback(Callback):
    """Logs, at every validation, what the classifier's head ignores and what that means.

    Features, labels and images are taken from the validation batches that run anyway; the trained
    model is never changed and, unless ``probe`` is given, never run a second time. After a
    validation that has brought no new image, nothing waits for a GPU until the end of the next;
    images that are new there are left out once, counted in ``monitor/skipped``, and embedded in the
    one after. Scalars go through ``log_dict``, so that ``ModelCheckpoint`` and ``EarlyStopping``
    can watch them; tables go to every ``MLFlowLogger``. The README lists all metrics, with unit and
    direction.

    Args:
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
        dataloader_idx: index of the validation loader that is watched.
        probe: a loader of your own, measured instead of the validation batches. It costs one extra
            pass of the model over it for every analyzed epoch, in eval mode and without gradients,
            on every rank the whole loader. With a validation loop it is measured at each
            validation; with none at the end of the training epoch, where averaging callbacks have
            not swapped in their weights. The module's ``forward`` must map images to logits.
        allow_augmented: accept validation images that differ from epoch to epoch.
        n_weights: how many weights of the network are followed from validation to validation,
            beside those of a head of at most 50,000. The last 20 validations of these are kept in
            checkpoints, in 4 bytes each. 0: none.
        save_snapshots: store features and embeddings of the last validation in the run.
        alerts: rules that warn once and mark the run: :class:`sing_monitor.alerts.Alert`, or names
            of :data:`sing_monitor.alerts.DEFAULT_ALERTS`, such as ``["class_hidden"]``;
            ``"default"`` for these two, None for none.
        tracking: where findings go besides the training's own MLflow loggers: a folder such as
            ``"runs/"``, which needs neither a server nor a database, or an MLflow tracking URI. The
            app opens it with ``--tracking-uri``.
        name: for several monitors of one training, each its own: ``name="aux"`` logs
            ``sing.aux/...``.
        on_error: ``"warn"``: a fault costs one epoch's numbers and never the run; ``"raise"`` ends
            the run.

    Raises:
        MisconfigurationException: for an argument that cannot be used; in ``setup`` or in the
            sanity check for a model, a data set or a space that cannot.

    Example::

        >>> from sing_monitor import SINGCallback
        >>> callback = SINGCallback(class_names=["cat", "dog"], every_n_epochs=2)
        >>> # trainer = L.Trainer(
        >>> #     logger=MLFlowLogger(tracking_uri="sqlite:///mlflow.db"), callbacks=[callback]
        >>> # )
    """

    @method_with_options(as_misconfiguration()(Options))
    def __init__(self, options: Options) -> None:
        super().__init__()
        self.options = options
        self._space: SemanticSpace | None = None
        self._state = MonitorState()
        self._session: Session | None = None

    @property
    @override
    def state_key(self) -> str:
        return self._generate_state_key(name=self.options.name)

    @override
    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        # Not in state_dict: Lightning then refuses two callbacks of one name in its own words,
        # which do not say what to do. setup does.
        checkpoint["callbacks"][self.state_key] = vars(self._state).copy()

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name in vars(self._state):
            setattr(self._state, name, state_dict.get(name))

    @override
    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage not in ("fit", "validate"):
            return
        if trainer.barebones:
            warn("SINGCallback does nothing under Trainer(barebones=True).")
            return
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        names = [each.options.name for each in callbacks if isinstance(each, SINGCallback)]
        with as_misconfiguration():
            refuse_namesakes(names, self.options.name)
        warn_about_early_stopping(trainer, self.options.name)
        if stage == "fit":
            if trainer.current_epoch == 0:
                self._state = MonitorState()  # a resumed training loads its state after setup
            if self.options.tracking is None:
                say_what_is_not_kept(trainer)
        with as_misconfiguration():
            if self.options.probe is not None:
                check_own_probe(pl_module, self.options.probe)
                info(
                    "the model runs once more over the loader given as probe= for every analyzed "
                    "epoch, in eval mode and without gradients."
                )
            self._session = self._make_session(trainer)
            self._attach(self._session, pl_module)

    def _make_session(self, trainer: pl.Trainer) -> Session:
        processes = Processes(trainer.world_size)
        self._space = self._space or open_space(self.options.space, processes)
        return Session(
            self.options,
            space=self._space,
            datamodule=getattr(trainer, "datamodule", None),
            state=self._state,
            processes=processes,
            targets=lambda: targets(trainer),
            spool_root=trainer.default_root_dir,
            spell=spell,
            way="lightning",
        )

    def _attach(self, session: Session, pl_module: pl.LightningModule) -> None:
        try:
            session.capture.attach(pl_module)
        except (ValueError, TypeError) as error:
            # Layers that configure_model will make do not exist yet.
            if not overrides(pl_module, "configure_model"):
                raise as_setup_error(error) from error

    @override
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._session is None:
            return
        warn_about_earlier_epochs(trainer, self.options.name)
        if self._measures_training_epochs(trainer):
            self._measure(trainer, pl_module, is_rehearsal=True)
        elif not runs_validation(trainer):
            warn(
                "SINGCallback listens to the validation loop, and none will run: there is no "
                "validation loader, no validation_step, or limit_val_batches=0. Add one, or give "
                "it images of its own: SINGCallback(probe=DataLoader(...))."
            )

    @override
    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start(trainer, pl_module, is_rehearsal=trainer.sanity_checking)

    @override
    def on_validation_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self._session is None:
            return
        # Here, and not at the end, averaging callbacks have swapped in the weights to validate.
        self._collect_own(trainer, pl_module)
        if self._is_watched(dataloader_idx):
            self._session.before_batch(batch)

    @override
    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self._session is not None and self._is_watched(dataloader_idx):
            self._session.after_batch(batch)

    @override
    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._finish(trainer, pl_module)

    @override
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._session is None or trainer.world_size > 1 or self.options.probe is not None:
            return
        # Only when a validation has ended, Lightning has the module's own metrics.
        logged = logged_accuracies(
            trainer.callback_metrics,
            self.options.dataloader_idx,
            several_loaders=len(trainer.num_val_batches) > 1,
        )
        self._session.compare_accuracy(logged)

    @override
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._session is not None and self._measures_training_epochs(trainer):
            self._measure(trainer, pl_module)

    @override
    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        session = self._session
        if session is None or not trainer.is_global_zero:
            return
        session.flush()
        if session.last.scalars:
            tracking = self.options.tracking
            where = how_to_open(trainer, None if tracking is None else str(tracking))
            last = summary(session.last.scalars, session.last.intervals)
            info(f"{last} {where}")
        elif session.validations == 0 and runs_validation(trainer):
            warn(
                "SINGCallback analyzed nothing, because no validation ran before the training "
                "ended. Check check_val_every_n_epoch, val_check_interval and max_epochs."
            )

    @override
    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        self._close("KILLED" if isinstance(exception, KeyboardInterrupt) else "FAILED")

    @override
    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._close("FINISHED")

    def check(self, model: nn.Module, loader: Any) -> SetupReport:
        """Report what would be used on a model and its validation loader, before any training.

        Runs the model on one batch. Weights, modes and random number generators stay as they are.

        Args:
            model: a LightningModule, or any module that maps images to logits.
            loader: the validation data loader.

        Returns:
            The report, which is also logged; its ``image`` is one image as the space will see it.

        Raises:
            MisconfigurationException: with the same sentences as the sanity check.
        """
        with as_misconfiguration():
            try:
                with no_trace():
                    self._space = self._space or resolve_space(self.options.space)
                found = check(self.options, self._space, model, loader)
            except (ValueError, TypeError, RuntimeError) as error:
                raise as_setup_error(error) from error
        picture = found.save_image(Path(temporary_folder()))
        info(f"{found}\n  one image as the space sees it: {picture}")
        return found

    def _is_watched(self, dataloader_idx: int) -> bool:
        return self.options.probe is None and dataloader_idx == self.options.dataloader_idx

    def _measures_training_epochs(self, trainer: pl.Trainer) -> bool:
        """Whether the probe is measured after training epochs, for want of a validation loop."""
        return self.options.probe is not None and not runs_validation(trainer)

    def _measure(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *, is_rehearsal: bool = False
    ) -> None:
        """A whole pass on the user's own probe, outside any validation loop."""
        self._start(trainer, pl_module, is_rehearsal=is_rehearsal)
        self._collect_own(trainer, pl_module)
        self._finish(trainer, pl_module)

    def _start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *, is_rehearsal: bool
    ) -> None:
        if self._session is not None:
            self._session.start(
                pl_module,
                lambda: find_source(trainer, self.options, is_rehearsal=is_rehearsal),
                moment(trainer, is_rehearsal=is_rehearsal),
            )

    def _collect_own(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._session is None or self.options.probe is None:
            return

        def run(capture: ModelCapture, source: Source) -> None:
            adapter = self.options.batch_adapter
            run_own_probe(trainer, pl_module, capture, source, batch_adapter=adapter)

        self._session.collect(run)

    def _finish(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._session is None:
            return
        with as_misconfiguration():
            scalars = self._session.finish()
        if scalars:
            log_scalars(pl_module, scalars, is_shared=trainer.world_size > 1)

    def _close(self, status: str) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close(status)
