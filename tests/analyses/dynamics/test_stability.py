"""Stability: a learning rate that is lowered shows, and nothing shows where it stays."""

from __future__ import annotations

import math
from copy import deepcopy

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sing_monitor.analyses.dynamics.stability import stability
from sing_monitor.weights.trajectory import Trajectory

STEP = 18  # epoch of the lower learning rate


class Training:
    """A small network on digits, a fifth of whose labels are random, so that its noise stays."""

    def __init__(self, seed: int) -> None:
        digits = load_digits()
        self.draw = torch.Generator().manual_seed(seed)
        self.images = torch.tensor(digits.data / 16, dtype=torch.float32)
        labels = torch.tensor(digits.target)
        is_wrong = torch.rand(len(labels), generator=self.draw) < 0.2
        others = labels[torch.randperm(len(labels), generator=self.draw)]
        self.labels = labels.where(~is_wrong, others)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.network = nn.Sequential(nn.Linear(64, 10), nn.ReLU(), nn.Linear(10, 10))
        self.optimizer = torch.optim.SGD(self.network.parameters(), 0.1, momentum=0.9)
        self.columns: list[Tensor] = []

    def run(self, epochs: int, rate: float) -> None:
        self.optimizer.param_groups[0]["lr"] = rate
        for _ in range(epochs):
            for rows in torch.randperm(len(self.images), generator=self.draw).split(64):
                self.optimizer.zero_grad()
                cross_entropy(self.network(self.images[rows]), self.labels[rows]).backward()
                self.optimizer.step()
            weights = [each.detach().flatten() for each in self.network.parameters()]
            self.columns.append(torch.cat(weights))


def trajectory(values: Tensor) -> Trajectory:
    rows, columns = values.shape
    return Trajectory(
        torch.arange(columns),
        values,
        ("layer",),
        torch.zeros(rows, dtype=torch.int64),
        torch.zeros(rows, dtype=torch.bool),
    )


def stabilities(columns: list[Tensor]) -> list[float]:
    """At each validation from the 13th on, in windows of ten."""

    def window(last: int) -> Trajectory:
        return trajectory(torch.stack(columns[last - 10 : last], dim=1))

    return [stability(window(last - 1), window(last)) for last in range(13, len(columns) + 1)]


@pytest.mark.parametrize("seed", range(5))
def test_a_lower_learning_rate_shows_within_eight_epochs(seed: int) -> None:
    steady = Training(seed)
    steady.run(STEP, 0.1)
    lowered = deepcopy(steady)
    steady.run(10, 0.1)
    lowered.run(10, 0.01)
    without, found = (stabilities(training.columns) for training in (steady, lowered))
    before = STEP - 12
    assert found[:before] == without[:before]
    assert min(found[before:]) < 0.2 < min(without)
    first = next(epoch for epoch, each in enumerate(found[before:]) if each < 0.2)
    assert 5 <= first <= 8


def groups(assigned: list[int], seed: int = 0) -> Tensor:
    """Weights that follow one of three curves."""
    curves = np.random.default_rng(seed).standard_normal((3, 10))
    return torch.tensor(curves[assigned])


def test_the_same_groups_are_fully_stable_though_their_curves_change() -> None:
    assigned = [0, 1, 2] * 20
    before, now = (trajectory(groups(assigned, seed)) for seed in (0, 1))
    assert stability(before, now) == 1


def test_weights_that_change_their_group_lower_it() -> None:
    assigned = [0, 1, 2] * 20
    other = [*assigned[:30], *np.random.default_rng(0).integers(0, 3, 30).tolist()]
    before, now = trajectory(groups(assigned)), trajectory(groups(other))
    assert 0.1 < stability(before, now) < 0.8


def test_seven_validations_are_too_few() -> None:
    values = groups([0, 1, 2] * 20)
    assert math.isnan(stability(trajectory(values[:, :7]), trajectory(values[:, :8])))
    assert stability(trajectory(values[:, :8]), trajectory(values[:, :9])) == 1


def test_constant_and_infinite_weights_follow_nothing() -> None:
    whole, values = trajectory(groups([0, 1, 2] * 20)), groups([0, 1, 2] * 20)
    # Were they counted as anything, they would not follow what they followed before.
    values[3], values[4, 2] = 1.0, math.inf
    assert stability(whole, trajectory(values)) == 1
    assert stability(trajectory(values), whole) == 1
    still = trajectory(torch.ones(60, 10))
    assert math.isnan(stability(whole, still))
    assert math.isnan(stability(still, whole))
