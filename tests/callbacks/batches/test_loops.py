"""Every kind of loop that Lightning runs around a validation."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from tests.helpers import tiny
from tests.helpers.witness import Witness

EVERY_EPOCH = [(0, 4), (1, 8)]

# Trainer arguments, the callback's, (epoch, global step) of the scored validations, samples.
LOOPS: dict[str, tuple[dict[str, Any], dict[str, Any], list[tuple[int, int]], int]] = {
    "no sanity check": ({"num_sanity_val_steps": 0}, {}, EVERY_EPOCH, 48),
    "a full sanity check": ({"num_sanity_val_steps": -1}, {}, EVERY_EPOCH, 48),
    "twice an epoch": ({"val_check_interval": 0.5}, {}, [(0, 2), (0, 4), (1, 6), (1, 8)], 48),
    "twice every second epoch": (
        {"val_check_interval": 0.5, "max_epochs": 3},
        {"every_n_epochs": 2},
        [(0, 2), (0, 4), (2, 10), (2, 12)],
        48,
    ),
    "every third step": (
        {"val_check_interval": 3, "check_val_every_n_epoch": None},
        {},
        [(0, 3), (1, 6)],
        48,
    ),
    "every second epoch": (
        {"check_val_every_n_epoch": 2, "max_epochs": 4},
        {},
        [(1, 8), (3, 16)],
        48,
    ),
    "two batches": ({"limit_val_batches": 2}, {}, EVERY_EPOCH, 32),
    "a third of the batches": ({"limit_val_batches": 0.34}, {}, EVERY_EPOCH, 16),
    "accumulated gradients": ({"accumulate_grad_batches": 3}, {}, [(0, 2), (1, 4)], 48),
    "an overfitted batch": ({"overfit_batches": 1}, {}, [(0, 1), (1, 2)], 16),
    "a limited training": ({"limit_train_batches": 1, "max_steps": 1}, {}, [(0, 1)], 48),
}


@pytest.mark.parametrize("loop", LOOPS)
def test_every_validation_is_scored_on_the_batches_that_run(loop: str, tmp_path: Path) -> None:
    changes, arguments, scored, samples = LOOPS[loop]
    data = tiny.Blobs()
    witness = Witness(data.images[:samples])
    trainer = tiny.trainer(tmp_path, tiny.quick_callback(**arguments), witness, **changes)
    trainer.fit(tiny.Classifier(), tiny.loader(tiny.Blobs(64, seed=1)), tiny.loader(data))
    assert witness.scored == scored
    assert witness.curve("monitor/global_step") == [step for _, step in witness.places]
    for metrics, energy in zip(witness.logged, witness.true_energy, strict=True):
        if math.isfinite(metrics["sing/image_score"]):
            assert metrics["monitor/samples"] == samples
            assert metrics["head/null_energy"] == pytest.approx(energy, rel=1e-5)
    drift = witness.curve("head/drift")
    # The sanity check's head is no predecessor.
    assert math.isnan(drift[0])
    assert all(
        0 < value < 1
        for value, place in zip(drift, witness.places, strict=True)
        if place in scored[1:]
    )


def test_the_chosen_one_of_several_loaders_is_scored(tmp_path: Path) -> None:
    small, large = tiny.Blobs(20), tiny.Blobs(40, seed=3)
    for index, data in enumerate((small, large)):
        witness = Witness(data.images)
        trainer = tiny.trainer(
            tmp_path, tiny.quick_callback(dataloader_idx=index), witness, max_epochs=1
        )
        loaders = [tiny.loader(small), tiny.loader(large)]
        trainer.fit(SeveralLoaders(), tiny.loader(tiny.Blobs(seed=1)), loaders)
        assert witness.curve("monitor/samples") == [len(data)]
        assert witness.curve("head/null_energy") == pytest.approx(witness.true_energy, rel=1e-5)


class SeveralLoaders(tiny.Classifier):
    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        super().validation_step(batch, batch_idx)


def test_fast_dev_run_goes_through_everything(tmp_path: Path) -> None:
    witness = Witness()
    trainer = tiny.trainer(
        tmp_path,
        tiny.quick_callback(),
        witness,
        logger=tiny.mlflow_logger(tmp_path),
        fast_dev_run=2,
    )
    data = tiny.loader(tiny.Blobs())
    trainer.fit(tiny.Classifier(), data, data)
    assert witness.scored == [(0, 2)]
    assert witness.curve("monitor/samples") == [32]
    assert not (tmp_path / "artifacts").exists()


def test_fast_dev_run_shortens_a_probe_of_the_users_own(tmp_path: Path) -> None:
    trainer = tiny.trainer(
        tmp_path, tiny.quick_callback(probe=tiny.loader(tiny.Blobs())), fast_dev_run=1
    )
    trainer.fit(tiny.Classifier(), tiny.loader(tiny.Blobs(seed=1)))
    assert trainer.callback_metrics["monitor/samples"] == 16


@pytest.mark.parametrize("changes", [{"limit_val_batches": 0}, {"barebones": True}], ids=str)
def test_where_nothing_can_be_scored_one_warning_says_so(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    folder: dict[str, Any] = {"default_root_dir": tmp_path, "accelerator": "cpu", "max_epochs": 2}
    trainer = L.Trainer(callbacks=[tiny.quick_callback()], **folder, **changes)
    data = tiny.loader(tiny.Blobs())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(tiny.Classifier(), data, data)
    ours = [str(warning.message) for warning in caught if "sing-monitor" in str(warning.message)]
    assert len(ours) == 1
    assert ("probe=DataLoader" in ours[0]) != ("barebones" in ours[0])
    assert trainer.current_epoch == 2


def test_a_training_that_ends_before_its_first_validation_is_told_so(tmp_path: Path) -> None:
    trainer = tiny.trainer(tmp_path, tiny.quick_callback(), check_val_every_n_epoch=5)
    data = tiny.loader(tiny.Blobs())
    with pytest.warns(UserWarning, match="no validation ran before the training ended"):
        trainer.fit(tiny.Classifier(), data, data)


@pytest.mark.parametrize("inference_mode", [True, False])
def test_validate_scores_the_same_in_inference_mode_and_without(
    inference_mode: bool, tmp_path: Path
) -> None:
    model, witness = tiny.Classifier(), Witness()
    trainer = tiny.trainer(tmp_path, tiny.quick_callback(), witness, inference_mode=inference_mode)
    trainer.validate(model, tiny.loader(tiny.Blobs()), verbose=False)
    assert witness.curve("head/null_energy") == pytest.approx(witness.true_energy, rel=1e-5)
    # What the monitor keeps must not spoil a training that follows.
    trainer.fit(model, tiny.loader(tiny.Blobs(seed=1)), tiny.loader(tiny.Blobs()))
    assert torch.tensor(witness.curve("sing/image_score")).isfinite().all()
    assert witness.curve("monitor/stage") == [1, 0, 0]
