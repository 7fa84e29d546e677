"""Batches of a trainer: its validation loop, or a loader of the user's own."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from lightning.pytorch.trainer.states import TrainerFn

from sing_monitor.inputs.loaders import ImageOrder, find_image_order, pick_loader, planned_images
from sing_monitor.monitor.options import Options
from sing_monitor.monitor.validation import Moment, Source

if TYPE_CHECKING:
    import lightning.pytorch as pl

_REHEARSED = 2  # batches, as Lightning's num_sanity_val_steps


def moment(trainer: pl.Trainer, *, is_rehearsal: bool) -> Moment:
    """The moment of the validation that begins."""
    is_training = trainer.state.fn == TrainerFn.FITTING
    return Moment(trainer.current_epoch, trainer.global_step, is_training, is_rehearsal)


def runs_validation(trainer: pl.Trainer) -> bool:
    """Whether fit runs a validation loop; Lightning counts one over an empty list of loaders."""
    batches = trainer.num_val_batches
    is_empty = sum(batches) == 0 if batches else trainer.val_dataloaders in ([], (), {})
    return trainer.enable_validation and not is_empty


def find_source(trainer: pl.Trainer, options: Options, *, is_rehearsal: bool) -> Source:
    """The batches of the pass that begins.

    Raises:
        SetupError: if there is no such loader.
    """
    if options.probe is None:
        index = options.dataloader_idx
        loader, ranks = pick_loader(trainer.val_dataloaders, index), trainer.world_size
        full = trainer.num_val_batches[index]
        rehearsed = trainer.num_sanity_val_batches[index] if is_rehearsal else full
    else:
        loader, ranks = options.probe, 1
        full = trainer.fast_dev_run or math.inf  # type: ignore[attr-defined]
        rehearsed = min(full, _REHEARSED)
    batches = rehearsed if is_rehearsal else full
    images, in_this_pass = (planned_images(loader, each, ranks) for each in (full, batches))
    order = find_image_order(loader)
    if options.probe is None and not _one_after_the_other(trainer):
        order = ImageOrder("each batch comes of several loaders at once")
        images = in_this_pass = None
    return Source(loader, images, batches, in_this_pass, ranks, order)


def _one_after_the_other(trainer: pl.Trainer) -> bool:
    """Whether a batch of the validation loop comes of one loader, as Lightning does by default."""
    in_fit = trainer.state.fn == TrainerFn.FITTING
    loop: Any = trainer.fit_loop.epoch_loop.val_loop if in_fit else trainer.validate_loop
    combined = getattr(loop, "_combined_loader", None)
    return getattr(combined, "_mode", "sequential") == "sequential"
