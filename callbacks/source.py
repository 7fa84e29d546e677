"""Where the probe comes from: the validation loop that runs anyway, or a loader of its own."""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightning.pytorch.trainer.states import RunningStage, TrainerFn
from torch.utils.data import DistributedSampler

from sing_monitor.errors import Option, SetupError
from sing_monitor.extra_pass.collect import collect_probe, feeding
from sing_monitor.extra_pass.lightning_modules import overrides
from sing_monitor.inputs.loaders import ImageOrder, find_image_order, pick_loader, planned_images
from sing_monitor.monitor.model_capture import Watch
from sing_monitor.monitor.options import Settings

if TYPE_CHECKING:
    import lightning.pytorch as pl

_REHEARSED = 2  # batches, as Lightning's num_sanity_val_steps


@dataclass(frozen=True)
class Source:
    """The batches of one pass.

    Args:
        loader: the validation loader, or the user's own.
        images: how many a full pass sees, on all ranks together; None where it is not known.
        batches: how many batches a rank runs in this pass.
        in_this_pass: how many images that makes, on all ranks together, or None.
        ranks: how many ranks share the images; of its own probe each sees all.
        order: of the images in the data set.
    """

    loader: Any
    images: int | None
    batches: float
    in_this_pass: int | None
    ranks: int
    order: ImageOrder


def runs_validation(trainer: pl.Trainer) -> bool:
    """Whether fit runs a validation loop; Lightning counts one over an empty list of loaders."""
    batches = trainer.num_val_batches
    is_empty = sum(batches) == 0 if batches else trainer.val_dataloaders in ([], (), {})
    return trainer.enable_validation and not is_empty


def find_source(trainer: pl.Trainer, settings: Settings, *, is_rehearsal: bool) -> Source:
    """The batches of the pass that begins.

    Raises:
        SetupError: if there is no such loader.
    """
    if settings.probe is None:
        index = settings.dataloader_idx
        loader, ranks = pick_loader(trainer.val_dataloaders, index), trainer.world_size
        full = trainer.num_val_batches[index]
        rehearsed = trainer.num_sanity_val_batches[index] if is_rehearsal else full
    else:
        loader, ranks = settings.probe, 1
        full = trainer.fast_dev_run or math.inf  # type: ignore[attr-defined]
        rehearsed = min(full, _REHEARSED)
    batches = rehearsed if is_rehearsal else full
    images, in_this_pass = (planned_images(loader, each, ranks) for each in (full, batches))
    order = find_image_order(loader)
    if settings.probe is None and not _one_after_the_other(trainer):
        order = ImageOrder("each batch comes of several loaders at once")
        images = in_this_pass = None
    return Source(loader, images, batches, in_this_pass, ranks, order)


def _one_after_the_other(trainer: pl.Trainer) -> bool:
    """Whether a batch of the validation loop comes of one loader, as Lightning does by default."""
    in_fit = trainer.state.fn == TrainerFn.FITTING
    loop: Any = trainer.fit_loop.epoch_loop.val_loop if in_fit else trainer.validate_loop
    combined = getattr(loop, "_combined_loader", None)
    return getattr(combined, "_mode", "sequential") == "sequential"


def check_own_probe(pl_module: pl.LightningModule, probe: Any) -> None:
    """Refuse a module that maps no images to logits by itself, and a probe that is shared out.

    ``validation_step`` cannot take the place of ``forward``: it logs, and its metrics would be
    those of two data sets.

    Raises:
        SetupError: naming the fix.
    """
    if isinstance(getattr(probe, "sampler", None), DistributedSampler):
        raise SetupError(
            Option("probe"),
            " has a DistributedSampler, but every rank runs the whole probe: with shares, that of "
            "rank 0 alone would count. Leave the sampler out.",
        )
    if not overrides(pl_module, "forward"):
        raise SetupError(
            Option("probe"),
            f" runs the module itself on images, and {type(pl_module).__name__} has no forward. "
            "Add one, such as `def forward(self, images): return self.model(images)`.",
        )


def run_own_probe(
    trainer: pl.Trainer,
    pl_module: pl.LightningModule,
    watch: Watch,
    source: Source,
    settings: Settings,
) -> None:
    """Run the module over the user's own probe as a validation loop would.

    Batches go through the same hooks and the same precision. Every rank runs the whole probe:
    sharded models need all ranks in every forward pass, and a probe needs no sampler then.
    """

    def prepare(batch: Any) -> Any:
        batch = trainer.precision_plugin.convert_input(batch)
        batch = pl_module._on_before_batch_transfer(batch, dataloader_idx=0)
        return trainer.strategy.batch_to_device(batch)

    feed = feeding(pl_module, settings.batch_adapter)

    def forward(batch: Any) -> object:
        with trainer.precision_plugin.val_step_context():
            return feed(batch)

    batches = None if math.isinf(source.batches) else int(source.batches)
    with _validating(trainer):
        collect_probe(
            watch,
            pl_module,
            source.loader,
            forward=forward,
            prepare=prepare,
            batches=batches,
            is_shared=trainer.world_size > 1,
        )


@contextmanager
def _validating(trainer: pl.Trainer) -> Generator[None, None, None]:
    """Let hooks that augment ``if self.trainer.training`` know that this is no training."""
    stage, trainer.state.stage = trainer.state.stage, RunningStage.VALIDATING
    try:
        yield
    finally:
        trainer.state.stage = stage
