"""SINGCallback: what a classifier's head ignores, measured while the model trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn
from torch import nn
from torch.utils.data import DataLoader
from typing_extensions import override

from sing_monitor.alerts import Alert
from sing_monitor.callbacks.source import check_own_probe
from sing_monitor.callbacks.spelling import as_misconfiguration, for_callback
from sing_monitor.callbacks.trainer import (
    open_space,
    refuse_namesakes,
    warn_about_early_stopping,
)
from sing_monitor.capture.head_tap import no_trace
from sing_monitor.extra_pass.lightning_modules import overrides
from sing_monitor.head.geometry import Invariance
from sing_monitor.inputs.prompts import Prompts
from sing_monitor.monitor.alerting import usable_alerts
from sing_monitor.monitor.check import check
from sing_monitor.monitor.model_capture import Watch
from sing_monitor.monitor.monitor import MonitoredRun
from sing_monitor.monitor.options import Settings, cache_folder
from sing_monitor.monitor.publishing import say_what_is_not_kept
from sing_monitor.monitor.setup_report import SetupReport
from sing_monitor.monitor.state import Memory
from sing_monitor.space.semantic_space import DEFAULT_SPACE, SemanticSpace, resolve_space
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
        space: ``"<open_clip model>/<tag or file>"`` or any :class:`SemanticSpace`.
        head: dotted name of the classifier head; found by itself in most models.
        class_names: C words; by default those of the datamodule or the validation data set, in the
            order that its ``target_transform`` gives them.
        concepts: vocabulary for the concept tables: words, or prompts by name. None: about 60
            everyday concepts; an empty list: none.
        prompt: template for classes, or several that are averaged.
        attribute_prompts: templates for annotated attributes, by name.
        probe_size: the most validation images that are scored. Until a validation has ended, their
            features, ``probe_size`` x m numbers, stay on the model's device.
        every_n_epochs: score every n-th epoch; in between all metrics are NaN.
        dataloader_idx: which validation loader is watched.
        probe: a loader of your own, measured instead of the validation batches. It costs one
            extra pass of the model over it for every analysed epoch, in eval mode and without
            gradients, on every rank the whole loader. With a validation loop it is measured at
            each validation; with none at the end of the training epoch, where averaging callbacks
            have not swapped in their weights. The module's ``forward`` must map images to logits.
        pixel_stats: ``(mean, std)`` that the images were normalised with; found by itself for the
            ``Normalize`` of torchvision, albumentations and kornia in a data set's transforms,
            timm's prefetching loader, and images in [0, 1]. Numbers above 1 count in 0..255.
        batch_adapter: turns a batch of another form into a :class:`Batch`, whose ``pictures`` are
            what the space sees where the model sees something else, such as 13 bands.
        ridge: of the translator, relative to the mean variance of the features; ``"auto"``
            chooses it at the first analysed epoch and keeps it.
        n_images: how many images, those that moved most, are stored as thumbnails (with their
            nearest neighbours). 0: no picture leaves the process.
        invariance: what removing the null space must leave unchanged: ``"logits"``, as in the
            paper, or ``"softmax"``, which ignores a constant added to all logits and so has one
            null dimension more. Scores of the two do not compare.
        allow_augmented: accept validation images that differ from epoch to epoch.
        cache_dir: where embeddings are kept; ``"auto"`` for the user's cache folder, None for
            memory only.
        save_snapshots: store features and embeddings of the last validation in the run.
        alerts: rules that warn once and mark the run: :class:`sing_monitor.alerts.Alert`, or names
            of :data:`sing_monitor.alerts.DEFAULT_ALERTS`, such as ``["leaking_class"]``;
            ``"default"`` for these three, None for none.
        name: for several callbacks in one trainer, each its own: ``name="aux"`` logs
            ``sing.aux/...``.
        on_error: ``"warn"``: a fault costs one epoch's numbers and never the run; ``"raise"``.

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

    def __init__(
        self,
        # Any: to jsonargparse a class without annotations is no SemanticSpace.
        space: str | SemanticSpace | Any = DEFAULT_SPACE,
        *,
        head: str | None = None,
        class_names: Sequence[str] | Mapping[str, int] | None = None,
        concepts: Mapping[str, str | Sequence[str]] | Sequence[str] | None = None,
        prompt: str | Sequence[str] = "an image of a {}",
        attribute_prompts: Mapping[str, str] | None = None,
        probe_size: int = 10_000,
        every_n_epochs: int = 1,
        dataloader_idx: int = 0,
        # Of DataLoader[Any] jsonargparse accepts no init_args.
        probe: DataLoader | None = None,  # type: ignore[type-arg]
        pixel_stats: tuple[Any, Any] | None = None,
        batch_adapter: Callable[[Any], Any] | None = None,
        ridge: float | Literal["auto"] = "auto",
        n_images: int = 64,
        invariance: Invariance = "logits",
        allow_augmented: bool = False,
        cache_dir: str | PathLike[str] | None = "auto",
        save_snapshots: bool = False,
        alerts: Sequence[str | Alert] | Literal["default"] | None = "default",
        name: str | None = None,
        on_error: Literal["warn", "raise"] = "warn",
    ) -> None:
        super().__init__()
        with as_misconfiguration():
            self.settings = Settings(
                space=space,
                head=head,
                class_names=class_names,
                prompts=Prompts(prompt, concepts, attribute_prompts or {}),
                probe_size=probe_size,
                every_n_epochs=every_n_epochs,
                dataloader_idx=dataloader_idx,
                probe=probe,
                pixel_stats=pixel_stats,
                batch_adapter=batch_adapter,
                ridge=ridge,
                n_images=n_images,
                invariance=invariance,
                allow_augmented=allow_augmented,
                cache_dir=cache_folder(cache_dir),
                save_snapshots=save_snapshots,
                alerts=usable_alerts(alerts),
                name=name,
                on_error=on_error,
            )
        self._space: SemanticSpace | None = None
        self._memory = Memory()
        self._run: MonitoredRun | None = None

    @property
    @override
    def state_key(self) -> str:
        return self._generate_state_key(name=self.settings.name)

    @override
    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        # Not in state_dict: Lightning then refuses two callbacks of one name in its own words,
        # which do not say what to do. setup does.
        checkpoint["callbacks"][self.state_key] = vars(self._memory).copy()

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name in vars(self._memory):
            setattr(self._memory, name, state_dict.get(name))

    @override
    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage not in ("fit", "validate"):
            return
        if trainer.barebones:
            rank_zero_warn("SINGCallback does nothing under Trainer(barebones=True).")
            return
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        names = [each.settings.name for each in callbacks if isinstance(each, SINGCallback)]
        with as_misconfiguration():
            refuse_namesakes(names, self.settings.name)
        warn_about_early_stopping(trainer, self.settings.name)
        if stage == "fit" and trainer.current_epoch == 0:
            self._memory = Memory()  # a new training; a resumed one loads its state after setup
        if stage == "fit":
            say_what_is_not_kept(trainer)
        if self.settings.probe is not None:
            with as_misconfiguration():
                check_own_probe(pl_module, self.settings.probe)
            rank_zero_info(
                "SINGCallback: the model runs once more over the loader given as probe= for every "
                "analysed epoch, in eval mode and without gradients."
            )
        with no_trace():
            self._space = open_space(trainer, self._space or self.settings.space)
            watch = Watch(self.settings, self._space, getattr(trainer, "datamodule", None))
        try:
            watch.attach(pl_module)
        except (ValueError, TypeError) as error:
            # Layers that configure_model will make do not exist yet.
            if not overrides(pl_module, "configure_model"):
                raise MisconfigurationException(for_callback(error)) from error
        self._run = MonitoredRun(self.settings, watch, self._memory)

    @override
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._run is not None:
            self._run.begin_training(trainer, pl_module)

    @override
    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._run is not None:
            self._run.start(trainer, pl_module, is_rehearsal=trainer.sanity_checking)

    @override
    def on_validation_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self._run is not None:
            self._run.before_batch(trainer, pl_module, batch, dataloader_idx)

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
        if self._run is not None:
            self._run.after_batch(trainer, batch, dataloader_idx)

    @override
    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._run is not None:
            self._run.end(trainer, pl_module)

    @override
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._run is not None:
            self._run.compare_accuracy(trainer)

    @override
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._run is not None and self._run.measures_training_epochs(trainer):
            self._run.measure(trainer, pl_module)

    @override
    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._run is not None and trainer.is_global_zero:
            self._run.say_what_was_found(trainer)

    @override
    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        self._release()

    @override
    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._release()

    def check(self, model: nn.Module, loader: Any) -> SetupReport:
        """Say what would be used on a model and its validation loader, before any training.

        Runs the model on one batch. Weights, modes and random number generators stay as they are.

        Args:
            model: a LightningModule, or any module that maps images to logits.
            loader: the validation data loader.

        Returns:
            The report, which is also logged; its ``image`` is one image as the space will see it.

        Raises:
            MisconfigurationException: with the same sentences as the sanity check.
        """
        try:
            with no_trace():
                self._space = self._space or resolve_space(self.settings.space)
            found = check(self.settings, self._space, model, loader)
        except (ValueError, TypeError, RuntimeError) as error:
            raise MisconfigurationException(for_callback(error)) from error
        picture = found.save_image(temporary_folder())
        rank_zero_info(f"{found}\n  one image as the space sees it: {picture}")
        return found

    def _release(self) -> None:
        if self._run is not None:
            self._run.release()
        self._run = None
