"""Weights from validation to validation: resumed, between analyses, and where they fail."""

from __future__ import annotations

import math
from copy import deepcopy
from io import BytesIO
from typing import Any

import pytest
import torch
from torch import nn

from sing_monitor.monitor import Options, Session
from sing_monitor.monitor.state import MonitorState
from tests.helpers import tiny


def options(**changes: Any) -> Options:
    return Options(**{"space": None, "cache_dir": None, "n_maps": 0, **changes})


def moved(model: nn.Module, epoch: int) -> nn.Module:
    """The model with the weights of an epoch: two curves and some noise."""
    draw = torch.Generator().manual_seed(epoch)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=draw)
            parameter.copy_(0.2 * parameter + math.sin(epoch) + 0.1 * epoch + 0.3 * noise)
    return model


def dynamics(scalars: dict[str, float]) -> dict[str, float]:
    return {key: value for key, value in scalars.items() if key.startswith("dynamics/")}


def measured(monitor: Session, model: nn.Module, epochs: range) -> list[dict[str, float]]:
    images = tiny.loader(tiny.Blobs(24))
    return [
        dynamics(monitor.measure(moved(model, epoch), images, epoch=epoch, step=3 * epoch))
        for epoch in epochs
    ]


def test_a_training_that_is_resumed_in_the_middle_gives_the_same() -> None:
    model, chosen = tiny.Classifier().network, options(on_error="raise")
    first = Session(chosen)
    measured(first, model, range(9))
    checkpoint, weights = BytesIO(), deepcopy(model.state_dict())
    torch.save(vars(first.state), checkpoint)
    whole = measured(first, model, range(9, 12))
    checkpoint.seek(0)
    state = MonitorState(**torch.load(checkpoint, weights_only=True))
    model.load_state_dict(weights)
    resumed = measured(Session(chosen, state=state), model, range(9, 12))
    assert resumed == whole
    assert all(math.isfinite(value) for scalars in whole for value in scalars.values())
    assert [scalars["dynamics/window"] for scalars in whole] == [10, 11, 12]


def test_validations_that_are_not_analyzed_are_read_as_well() -> None:
    model, monitor = tiny.Classifier().network, Session(options(every_n_epochs=2))
    found = measured(monitor, model, range(4))
    assert [each["dynamics/window"] for each in found] == pytest.approx(
        [1, math.nan, 3, math.nan], nan_ok=True
    )
    assert monitor.state.weights is not None
    assert monitor.state.weights["places"][:, 0].tolist() == [0, 1, 2, 3]


def test_an_analysis_gives_the_same_whether_the_one_before_was_made_or_not() -> None:
    each, some = (
        measured(Session(options(every_n_epochs=n)), tiny.Classifier().network, range(13))
        for n in (1, 4)
    )
    for epoch in (8, 12):
        assert math.isfinite(each[epoch]["dynamics/stability"])
        assert some[epoch] == each[epoch]


def test_without_weights_nothing_is_read_or_logged() -> None:
    monitor = Session(options(n_weights=0))
    (found,) = measured(monitor, tiny.Classifier().network, range(1))
    assert found == {}
    assert monitor.state.weights is None


def test_weights_that_cannot_be_read_cost_nothing_else() -> None:
    class Unreadable(nn.Module):
        """A parameter of two numbers a byte, which torch cannot index."""

        def __init__(self) -> None:
            super().__init__()
            self.network = tiny.Classifier().network
            packed = torch.empty(3, dtype=torch.float4_e2m1fn_x2)
            self.packed = nn.Parameter(packed, requires_grad=False)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.network(images)

    monitor, images = Session(options()), tiny.loader(tiny.Blobs(24))
    with pytest.warns(UserWarning, match=r"the weights are not followed, dynamics/\* is NaN"):
        scalars = monitor.measure(Unreadable(), images, epoch=0, step=1)
    assert scalars["head/rank"] == 4
    assert all(math.isnan(value) for value in dynamics(scalars).values())
    again = monitor.measure(Unreadable(), images, epoch=1, step=2)
    assert again["head/rank"] == 4
    assert monitor.state.weights is None
