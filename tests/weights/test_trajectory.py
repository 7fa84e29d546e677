"""Trajectories: which weights move, the sample of them, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from sing_monitor.weights.sample import spread
from sing_monitor.weights.trajectory import Trajectory
from tests.helpers import normal


def trajectory(**changes: Any) -> Trajectory:
    """Ten weights of one layer, ninety of another, at five validations."""
    layer = torch.tensor([0] * 10 + [1] * 90)
    given = {
        "epochs": torch.arange(5),
        "values": normal(100, 5, seed=0),
        "layers": ("stem", "fc"),
        "layer_index": layer,
        "is_head": layer == 1,
    }
    return Trajectory(**{**given, **changes})


def test_constant_and_infinite_weights_do_not_move() -> None:
    values = normal(100, 5, seed=0)
    values[3], values[4, 1], values[5, 2], values[6, :4] = 2.0, math.nan, math.inf, 0.0
    moves = trajectory(values=values).moves
    assert (~moves).nonzero()[:, 0].tolist() == [3, 4, 5]


def test_the_last_validations() -> None:
    last = trajectory().last(2)
    assert last.epochs.tolist() == [3, 4]
    assert torch.equal(last.values, trajectory().values[:, 3:])
    assert trajectory().last(9).epochs.tolist() == [0, 1, 2, 3, 4]


def test_a_sample_is_spread_over_the_layers() -> None:
    rows = trajectory().sample(20)
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert [int((rows < 10).sum()), int((rows >= 10).sum())] == spread([10, 90], 20)
    assert trajectory().sample(500).tolist() == list(range(100))


def test_a_sample_stays_as_far_as_its_weights_move() -> None:
    before = trajectory().sample(20).tolist()
    values = trajectory().values.clone()
    still = before[-1]
    values[still] = 1.0
    after = trajectory(values=values).sample(20).tolist()
    assert still not in after
    assert len(set(before) - set(after)) == 1
    assert trajectory(values=torch.ones(100, 5)).sample(20).tolist() == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"values": torch.ones(100)}, r"must be \(N, T\) floating point"),
        ({"values": torch.ones(100, 5, dtype=torch.int64)}, "floating point; got .*int64"),
        ({"epochs": torch.arange(4)}, r"epochs of 100 weights at 5 validations must be \(5,\)"),
        ({"epochs": torch.arange(5.0)}, "torch.int64; got .*float32"),
        ({"layer_index": torch.zeros(99, dtype=torch.int64)}, r"layer_index .* must be \(100,\)"),
        ({"is_head": torch.zeros(100, dtype=torch.int64)}, "is_head .* torch.bool; got"),
        ({"layers": ("stem",)}, "within 0 to 0, for there are 1 layers; got 0 to 1"),
    ],
)
def test_other_shapes_and_dtypes_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        trajectory(**changes)
