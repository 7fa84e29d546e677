from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from sing_monitor.translate.ridge import RidgeStatistics
from sing_monitor.translate.ridge_search import RIDGE_GRID, Parabola, choose_ridge
from tests.helpers import normal
from tests.translate.test_ridge import problem, residuals


def explicit_r2(halves: Sequence[tuple[Tensor, Tensor]], rho: float) -> float:
    """Held-out R2 from explicit residuals."""
    error = total = 0.0
    for fit, held_out in (halves, halves[::-1]):
        error += residuals(RidgeStatistics.of(*fit).solve(rho).translator, *held_out)
        total += float((held_out[1] - fit[1].mean(dim=0)).square().sum())
    return 1 - error / total


def halves_of(samples: int, seed: int, noise: float = 0.0) -> list[tuple[Tensor, Tensor]]:
    x, z = problem(samples, m=12, seed=seed)
    z += noise * normal(samples, 4, seed=seed + 5)
    return [(x[k::2], z[k::2]) for k in (0, 1)]


def chosen(halves: Sequence[tuple[Tensor, Tensor]]) -> tuple[float, float]:
    return choose_ridge([RidgeStatistics.of(*half) for half in halves])


@pytest.mark.parametrize("noise", [0.0, 20.0])
@pytest.mark.parametrize("samples", [8, 30, 200])
@pytest.mark.parametrize("seed", [0, 10])
def test_the_optimum_is_that_of_a_parabola_through_the_best_of_the_grid(
    samples: int, seed: int, noise: float
) -> None:
    halves = halves_of(samples, seed, noise)
    rho, r2 = chosen(halves)
    values = [explicit_r2(halves, each) for each in RIDGE_GRID]
    best = max(range(len(values)), key=values.__getitem__)
    if best in (0, len(values) - 1):
        assert (rho, r2) == pytest.approx((RIDGE_GRID[best], values[best]), abs=1e-8)
        return
    logs = [math.log10(each) for each in RIDGE_GRID[best - 1 : best + 2]]
    curve = np.polynomial.Polynomial.fit(logs, values[best - 1 : best + 2], 2)
    (expected,) = curve.deriv().roots()
    assert math.log10(rho) == pytest.approx(expected, abs=1e-4)
    assert r2 == pytest.approx(float(curve(expected)), abs=1e-8)
    assert RIDGE_GRID[best - 1] < rho < RIDGE_GRID[best + 1]
    # As good as the grid has, or better, as far as R2 is a parabola.
    assert explicit_r2(halves, rho) > values[best] - 1e-3


def test_two_like_runs_choose_like_ridges() -> None:
    """Where two points of the grid are equally good, a hair's breadth decides nothing."""
    logs = []
    for step in range(21):
        x, z = problem(80, m=12, seed=3)
        z += (15 + step / 2) * normal(80, 4, seed=8)
        logs.append(math.log10(chosen([(x[k::2], z[k::2]) for k in (0, 1)])[0]))
    jumps = [abs(b - a) for a, b in pairwise(logs)]
    # The grid's best moves at least once, by half a decade.
    assert max(logs) - min(logs) > 0.3
    assert max(jumps) < 0.1


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ((0.0, 1.0, 0.0), 0.0),
        ((0.0, 1.0, 1.0), 0.5),
        ((0.5, 0.5, 0.5), 0.0),
        ((1.0, 0.0, 1.0), 0.0),
        ((0.0, 0.5, 1.0), 0.0),
        ((0.5 - 1e-9, 0.5, 0.5 - 3e-9), 0.0),
    ],
)
def test_the_vertex_of_a_parabola(values: tuple[float, float, float], place: float) -> None:
    curve = Parabola(*values)
    assert curve.vertex == pytest.approx(place)
    assert [curve(-1.0), curve(0.0), curve(1.0)] == pytest.approx(values)


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
