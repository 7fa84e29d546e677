"""Own probe: the module runs over a loader of the user's own, as a validation loop would."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lightning.pytorch.trainer.states import RunningStage
from torch.utils.data import DistributedSampler

from sing_monitor.errors import Option, SetupError
from sing_monitor.extra_pass.collect import collect_probe, feeding
from sing_monitor.lightning_types import before_transfer, overrides
from sing_monitor.monitor.model_capture import ModelCapture
from sing_monitor.monitor.validation import Source

if TYPE_CHECKING:
    import lightning.pytorch as pl


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
    capture: ModelCapture,
    source: Source,
    *,
    batch_adapter: Callable[[Any], Any] | None,
) -> None:
    """Run the module over the user's own probe as a validation loop would.

    Batches go through the same hooks and the same precision. Every rank runs the whole probe:
    sharded models need all ranks in every forward pass, and a probe needs no sampler then.
    """

    def prepare(batch: Any) -> Any:
        batch = trainer.precision_plugin.convert_input(batch)
        batch = before_transfer(pl_module, batch)
        return trainer.strategy.batch_to_device(batch)

    feed = feeding(pl_module, batch_adapter)

    def forward(batch: Any) -> object:
        with trainer.precision_plugin.val_step_context():
            return feed(batch)

    batches = None if math.isinf(source.batches) else int(source.batches)
    with _validating(trainer):
        collect_probe(
            capture,
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
