"""One extra pass: a model runs over a loader, and the probe is collected. No trainer is needed."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

import torch
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.model_helpers import is_overridden
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import nn
from torch.utils.data import DataLoader

from sing_monitor.callbacks.batches import unpack_batch
from sing_monitor.callbacks.capture import no_trace
from sing_monitor.callbacks.watch import Watch
from sing_monitor.forward import eval_mode

# A pass that takes longer than this many seconds gets a progress bar.
_PATIENCE = 5.0


def collect_probe(
    watch: Watch,
    model: nn.Module,
    loader: DataLoader[Any],
    *,
    forward: Callable[[Any], object],
    prepare: Callable[[Any], Any] | None = None,
    batches: int | None = None,
    is_shared: bool = False,
) -> None:
    """Run a model over a loader, in eval mode and without gradients, and collect the probe.

    Afterwards the modes of all modules and every random number generator are as they were, also
    when the pass fails. Between ``watch.start(model, loader, ...)`` and ``watch.finish()``.

    Args:
        watch: on the model, started on the loader.
        model: the model.
        loader: of batches that :func:`unpack_batch` or the watch's ``batch_adapter`` reads.
        forward: takes a prepared batch through the model, and so calls the head once.
        prepare: puts a batch where the model is; by default on its device.
        batches: how many to run; None: all.
        is_shared: other processes take part in every forward pass, as where weights are sharded;
            a fault then comes up at the end, because they would wait for this one forever.

    Raises:
        MisconfigurationException: if a batch cannot be read.
        ValueError: if the head's calls do not fit the batch.
    """
    from tqdm.auto import tqdm

    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    bar = tqdm(
        desc="SING: probe",
        unit="batch",
        leave=False,
        delay=_PATIENCE,
        disable=getattr(rank_zero_only, "rank", 0) != 0,
    )
    failure: Exception | None = None
    with no_trace(), eval_mode(model), bar:
        for raw_batch in islice(loader, batches):
            batch = (
                move_data_to_device(raw_batch, device) if prepare is None else prepare(raw_batch)
            )
            with watch.listening():
                forward(batch)
            try:
                if failure is None:
                    watch.add(batch)
            except Exception as error:
                if not is_shared:
                    raise
                failure = error
            bar.update()
    if failure is not None:
        raise failure


def forward_images(
    model: nn.Module, adapter: Callable[[Any], Any] | None
) -> Callable[[Any], object]:
    """How to take a batch through a model outside a trainer.

    Args:
        model: maps images to logits; a LightningModule without ``forward`` takes its validation
            step.
        adapter: the user's ``batch_adapter``.
    """
    if isinstance(model, LightningModule) and not is_overridden("forward", model, LightningModule):
        return lambda batch: model.validation_step(batch, 0)
    return lambda batch: model(unpack_batch(batch, adapter).images)
