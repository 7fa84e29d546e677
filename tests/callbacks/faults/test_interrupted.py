"""Whatever ends a run, and wherever: no hook stays, and the module and the callback work again."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor

from tests.callbacks.test_untouched import assert_no_hooks
from tests.helpers import tiny


class Breaks(tiny.Classifier):
    """Raises at one place, the second time it gets there."""

    def __init__(self, place: str, error: BaseException) -> None:
        super().__init__()
        self.place: str | None = place
        self.error = error
        self.visits = 0

    def _visit(self, place: str) -> None:
        self.visits += place == self.place
        if place == self.place and self.visits == 2:
            self.place = None
            raise self.error

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        # The head has been called: what it saw is in the monitor's hands.
        self._visit("sanity check" if self.trainer.sanity_checking else "forward")
        return logits

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self._visit("training_step")
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        super().validation_step(batch, batch_idx)
        if not self.trainer.sanity_checking:
            self._visit("validation_step")

    def on_validation_epoch_end(self) -> None:
        self._visit("on_validation_epoch_end")

    def on_before_zero_grad(self, optimizer: torch.optim.Optimizer) -> None:
        self._visit("on_before_zero_grad")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        self.visits += self.place == "configure_optimizers"  # called once a fit
        self._visit("configure_optimizers")
        return super().configure_optimizers()


PLACES = (
    "configure_optimizers",
    "sanity check",
    "forward",
    "training_step",
    "on_before_zero_grad",
    "validation_step",
    "on_validation_epoch_end",
)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("error", [ValueError("stop"), KeyboardInterrupt()], ids=repr)
def test_a_run_that_is_broken_off_leaves_nothing_behind(
    error: BaseException, place: str, tmp_path: Path
) -> None:
    model, callback = Breaks(place, error), tiny.quick_callback()
    train, validation = tiny.loader(tiny.Blobs(seed=1)), tiny.loader(tiny.Blobs())
    with pytest.raises((ValueError, SystemExit, KeyboardInterrupt)):
        tiny.trainer(tmp_path, callback).fit(model, train, validation)
    assert model.place is None
    assert_no_hooks(model)
    assert_no_hooks(pickle.loads(pickle.dumps(model)))  # noqa: S301
    again = tiny.trainer(tmp_path, callback, max_epochs=1)
    again.fit(model, train, validation)
    assert again.callback_metrics["sing/image_score"].isfinite()
    assert_no_hooks(model)


def test_a_fault_in_the_setup_of_another_callback_leaves_no_hook(tmp_path: Path) -> None:
    class Faulty(L.Callback):
        def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
            raise ValueError("stop")

    model, data = tiny.Classifier(), tiny.loader(tiny.Blobs())
    with pytest.raises(ValueError, match="stop"):
        tiny.trainer(tmp_path, tiny.quick_callback(), Faulty()).fit(model, data, data)
    assert_no_hooks(model)
