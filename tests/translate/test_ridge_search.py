from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from sing_monitor.translate.ridge import RidgeStatistics
from sing_monitor.translate.ridge_search import RIDGE_GRID, choose_ridge
from tests.helpers import normal
from tests.translate.test_ridge import problem, residuals


def brute_force(
    halves: Sequence[tuple[Tensor, Tensor]], grid: Sequence[float]
) -> tuple[float, float]:
    """Best rho and its R2, from explicit residuals."""
    best = (-math.inf, 0.0)
    for rho in sorted(grid):
        error = total = 0.0
        for fit, held_out in (halves, halves[::-1]):
            error += residuals(RidgeStatistics.of(*fit).solve(rho).translator, *held_out)
            total += float((held_out[1] - fit[1].mean(dim=0)).square().sum())
        best = max(best, (1 - error / total, rho))
    return best[1], best[0]


@pytest.mark.parametrize("samples", [8, 30, 200])
@pytest.mark.parametrize("seed", [0, 1])
def test_choose_ridge_equals_the_explicit_search(samples: int, seed: int) -> None:
    x, z = problem(samples, m=12, seed=10 * seed)
    halves = [(x[k::2], z[k::2]) for k in (0, 1)]
    rho, r2 = choose_ridge([RidgeStatistics.of(*half) for half in halves])
    expected_rho, expected_r2 = brute_force(halves, RIDGE_GRID)
    assert rho == expected_rho
    assert r2 == pytest.approx(expected_r2, abs=1e-8)


def test_the_grid_is_in_half_decades() -> None:
    assert RIDGE_GRID[0] == pytest.approx(1e-6)
    assert RIDGE_GRID[-1] == pytest.approx(10)
    ratios = [b / a for a, b in pairwise(RIDGE_GRID)]
    assert ratios == pytest.approx([math.sqrt(10)] * 14)


def test_ties_go_to_the_larger_ridge() -> None:
    x, z = torch.full((10, 3), 0.3), normal(10, 2, seed=0)
    halves = [RidgeStatistics.of(x[k::2], z[k::2]) for k in (0, 1)]
    assert choose_ridge(halves, grid=(1.0, 5.0, 0.1)) == (5.0, pytest.approx(0.0))


@pytest.mark.parametrize("seed", range(20))
def test_embeddings_that_do_not_vary_have_no_r2(seed: int) -> None:
    x = normal(31 + seed, 3, seed=seed)
    z = normal(4, seed=seed).expand(len(x), 4)
    halves = [RidgeStatistics.of(x[k::2], z[k::2]) for k in (0, 1)]
    assert math.isnan(choose_ridge(halves)[1])
