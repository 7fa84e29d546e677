"""The first law: training is bit-identical with and without the monitor."""

from __future__ import annotations

import copy
import pickle
import random
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from torch import Tensor

from sing_monitor import SINGCallback
from tests.helpers import tiny


class Recorder(L.Callback):
    """What training leaves behind, epoch by epoch."""

    def __init__(self) -> None:
        self.states: list[dict[str, Any]] = []

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.states.append(
            {
                "weights": copy.deepcopy(pl_module.state_dict()),
                "optimizer": copy.deepcopy(trainer.optimizers[0].state_dict()),
                "torch": torch.get_rng_state(),
                "numpy": np.random.get_state()[1].copy(),  # noqa: NPY002
                "python": random.getstate(),
                "modes": [module.training for module in pl_module.modules()],
                "gradients": [p.requires_grad for p in pl_module.parameters()],
            }
        )


def train(
    folder: Path, *callbacks: L.Callback, validated: bool = True
) -> tuple[list[dict[str, Any]], list[Tensor]]:
    """Dropout, augmentation and shuffling all draw; a frozen layer must stay frozen."""
    L.seed_everything(7, verbose=False)
    recorder, model = Recorder(), tiny.Classifier()
    model.network[0].bias.requires_grad_(False)
    batches: list[Tensor] = []
    model.network[0].register_forward_pre_hook(
        lambda layer, args: batches.append(args[0].clone()) if layer.training else None
    )
    tiny.trainer(folder, *callbacks, recorder, max_epochs=3).fit(
        model,
        tiny.loader(tiny.Blobs(seed=1, augment=True), shuffle=True),
        tiny.loader(tiny.Blobs(size=60)) if validated else None,
    )
    return recorder.states, batches


def assert_equal(one: Any, other: Any) -> None:
    if isinstance(one, (Tensor, np.ndarray)):
        assert np.array_equal(np.asarray(one), np.asarray(other))
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal(one[key], other[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_equal(a, b)
    else:
        assert one == other


def assert_no_hooks(model: torch.nn.Module) -> None:
    assert not any(part._forward_pre_hooks or part._forward_hooks for part in model.modules())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return train(tmp_path_factory.mktemp("undisturbed"))


def test_training_is_bit_identical_with_a_clip_model_built_inside_the_run(
    undisturbed: Any, clip_space: str, tmp_path: Path
) -> None:
    callback = SINGCallback(clip_space, cache_dir=tmp_path / "cache", layers=True, on_error="raise")
    drops: list[float] = []

    class Reader(L.Callback):
        def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            if not trainer.sanity_checking:
                drops.append(float(trainer.callback_metrics["layers/rank_drop"]))

    states, batches = train(tmp_path, callback, Reader())
    assert_equal(states, undisturbed[0])
    assert_equal(batches, undisturbed[1])
    assert len(drops) == 3
    assert all(0 < drop < 16 for drop in drops)
    followed = callback._state.weights
    assert followed is not None
    assert len(followed["values"]) == 3


def test_training_is_bit_identical_with_a_probe_of_the_users_own(
    undisturbed: Any, tmp_path: Path
) -> None:
    def callback() -> SINGCallback:
        augmented = tiny.loader(tiny.Blobs(augment=True), shuffle=True)
        return tiny.callback(probe=augmented, allow_augmented=True)

    assert_equal(train(tmp_path, callback()), undisturbed)
    unvalidated = train(tmp_path, callback(), validated=False)
    assert_equal(unvalidated, train(tmp_path, validated=False))


def test_training_is_bit_identical_when_the_monitor_fails(undisturbed: Any, tmp_path: Path) -> None:
    class Broken(tiny.HashSpace):
        def encode_images(self, images: Tensor) -> Tensor:
            super().encode_images(images)
            np.random.rand(3)  # noqa: NPY002
            random.random()
            if self.images > 40:
                raise RuntimeError("the space broke")
            return torch.ones(len(images), self.dim) / 3

    with pytest.warns(UserWarning, match="the space broke"):
        states, batches = train(tmp_path, tiny.callback(space=Broken(), on_error="warn"))
    assert_equal(states, undisturbed[0])
    assert_equal(batches, undisturbed[1])


def test_the_recorder_sees_a_difference(undisturbed: Any, tmp_path: Path) -> None:
    class Drawing(L.Callback):
        def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            torch.rand(1)

    states, _ = train(tmp_path, Drawing())
    with pytest.raises(AssertionError):
        assert_equal(states, undisturbed[0])


def test_no_hook_is_left_behind(finished_run: Any) -> None:
    assert_no_hooks(finished_run.model)


def test_copies_and_pickles_of_a_watched_model_do_not_hold_the_callback(tmp_path: Path) -> None:
    copies: list[Any] = []

    class Copier(L.Callback):
        def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            network = pl_module.network  # type: ignore[attr-defined]
            copies.extend([copy.deepcopy(network), pickle.loads(pickle.dumps(network))])  # noqa: S301

    callback = tiny.callback()
    run = tiny.trainer(tmp_path, callback, Copier(), max_epochs=1)
    run.fit(tiny.Classifier(), tiny.loader(tiny.Blobs(seed=1)), tiny.loader(tiny.Blobs()))
    samples = float(run.callback_metrics["monitor/samples"])
    assert samples == 48
    for network in copies:
        network.eval()(torch.rand(2, 3, tiny.SIDE, tiny.SIDE))
    assert len(pickle.dumps(copies[0])) < 2 * len(pickle.dumps(tiny.Classifier().network))
