"""A loop of one's own trains bit-identically with and without the monitor."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sing_monitor import Monitor
from tests.helpers import tiny
from tests.helpers.loops import images, monitor, validate

Watching = Callable[[nn.Module], Monitor]


class Broken(tiny.HashSpace):
    """Draws random numbers, and then fails."""

    def encode_images(self, images: Tensor) -> Tensor:
        np.random.rand(3)  # noqa: NPY002
        random.random()
        torch.rand(3)
        raise RuntimeError("the space broke")


def train(watching: Watching | None = None, *, by_itself: bool = False) -> list[dict[str, Any]]:
    """What two epochs leave behind; dropout, augmentation and shuffling all draw.

    Args:
        watching: makes the monitor of a model.
        by_itself: whether the monitor makes a pass of its own.
    """
    torch.manual_seed(7)
    random.seed(7)
    np.random.seed(7)  # noqa: NPY002
    model, states = tiny.Classifier().network, []
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    training = tiny.loader(tiny.Blobs(seed=1, augment=True), shuffle=True)
    watched = None if watching is None else watching(model)
    for epoch in range(2):
        model.train()
        for inputs, labels in training:
            optimizer.zero_grad()
            cross_entropy(model(inputs), labels).backward()
            optimizer.step()
        model.eval()
        if watched is None or by_itself:
            with torch.no_grad():
                validate(model, images(), None)
        if watched is not None and by_itself:
            watched.measure(tiny.loader(tiny.Blobs(), shuffle=True), epoch=epoch)
        elif watched is not None:
            with watched.epoch(epoch) as watch, torch.no_grad():
                validate(model, images(), watch)
        states.append(
            {
                **copy.deepcopy(model.state_dict()),
                **{str(i): p.grad.clone() for i, p in enumerate(model.parameters())},
                "torch": torch.get_rng_state(),
                "numpy": torch.tensor(np.random.get_state()[1]),  # noqa: NPY002
                "python": torch.tensor(random.getstate()[1]),
                "modes": torch.tensor([module.training for module in model.modules()]),
            }
        )
    if watched is not None:
        watched.close()
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in model.modules())
    return states


def differences(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> list[str]:
    return [
        f"{name} in epoch {epoch}"
        for epoch, (first, second) in enumerate(zip(one, other, strict=True))
        for name in first
        if not torch.equal(first[name], second[name])
    ]


@pytest.fixture(scope="module")
def undisturbed() -> list[dict[str, Any]]:
    return train()


@pytest.mark.parametrize("by_itself", [False, True])
def test_training_is_bit_identical(by_itself: bool, undisturbed: list[dict[str, Any]]) -> None:
    assert not differences(train(monitor, by_itself=by_itself), undisturbed)


def test_training_is_bit_identical_when_the_monitor_fails(
    undisturbed: list[dict[str, Any]],
) -> None:
    def failing(model: nn.Module) -> Monitor:
        return monitor(model, space=Broken(), on_error="warn")

    with pytest.warns(UserWarning, match="the space broke"):
        states = train(failing)
    assert not differences(states, undisturbed)


def test_a_difference_is_seen(undisturbed: list[dict[str, Any]]) -> None:
    def drawing(model: nn.Module) -> Monitor:
        torch.rand(1)
        return monitor(model)

    assert "0.weight in epoch 0" in differences(train(drawing), undisturbed)
