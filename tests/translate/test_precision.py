"""Features in single precision choose the ridge, and translate, as those in double precision do."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sing_monitor.analyses import analyze
from sing_monitor.head.geometry import HeadGeometry
from sing_monitor.scores.angles import angle
from sing_monitor.translate.cross_fit import cross_fit
from sing_monitor.translate.dual_ridge import DualStatistics
from sing_monitor.translate.precision import LEAST_RIDGE, MOST_RIDGE, solution_dtype
from sing_monitor.translate.ridge import RidgeStatistics
from sing_monitor.translate.ridge_search import RIDGE_GRID, choose_ridge
from tests.helpers import make_snapshot, make_texts, normal

# Images, features, mean and noise: fewer images a fold than features in either form, and more.
SHAPES = [
    (24, 64, 1.5, 0.4),
    (200, 512, 0.0, 0.05),
    (300, 512, 3.0, 2.0),
    (300, 200, 1.0, 0.5),
    (500, 300, 1.0, 0.05),
    (900, 200, 1.0, 0.05),
]


def world(samples: int, m: int, mean: float, noise: float, seed: int) -> tuple[Tensor, ...]:
    """Rectified features of a few hidden causes, embeddings of the same causes, and folds."""
    causes = normal(samples, 20, seed=seed)
    x = causes @ normal(20, m, seed=seed + 1) + 0.5 * normal(samples, m, seed=seed + 2) + mean
    z = causes @ normal(20, 40, seed=seed + 3) + noise * normal(samples, 40, seed=seed + 4)
    return x.relu().float(), z.float(), torch.arange(samples) % 2


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", [0, 10])
def test_both_choose_the_same_ridge(shape: tuple[int, int, float, float], seed: int) -> None:
    x, z, folds = world(*shape, seed)
    for form in (DualStatistics, RidgeStatistics):
        narrow, wide = (
            choose_ridge([form.of(*given, (folds == k).nonzero().flatten()) for k in (0, 1)])
            for given in ((x, z), (x.double(), z.double()))
        )
        assert narrow[0] == pytest.approx(wide[0], rel=1e-3)
        assert narrow[1] == pytest.approx(wide[1], abs=1e-6)


@pytest.mark.parametrize("rho", RIDGE_GRID)
@pytest.mark.parametrize("shape", SHAPES)
def test_translations_agree_to_a_hundredth_of_a_degree(
    shape: tuple[int, int, float, float], rho: float
) -> None:
    x, z, folds = world(*shape, 20)
    head = HeadGeometry.from_weight(normal(5, shape[1], seed=7))
    center = x.double().mean(dim=0)
    narrow, wide = (
        cross_fit(*given, folds, rho).translate(given[0], head, center)
        for given in ((x, z), (x.double(), z.double()))
    )
    for pair in ("original", "removed", "centered"):
        found, expected = getattr(narrow, pair), getattr(wide, pair)
        assert found.dtype == torch.float32
        assert angle(found.double(), expected).max() < 0.01, pair


def test_a_ridge_that_was_chosen_gives_the_same_numbers_when_it_is_given() -> None:
    x, z = normal(400, 12, seed=0).float(), normal(400, 5, seed=1).float()
    z += x @ normal(12, 5, seed=2).float()
    folds = torch.arange(400) % 2
    chosen = cross_fit(x, z, folds, "auto")
    given = cross_fit(x, z, folds, chosen.ridge)
    assert solution_dtype(chosen.ridge, x) == torch.float32
    for first, second in zip(chosen.translators, given.translators, strict=True):
        assert torch.equal(first.weight, second.weight)


@pytest.mark.parametrize("ridge", [LEAST_RIDGE, MOST_RIDGE])
@pytest.mark.parametrize("samples", [20, 40, 80])
def test_single_precision_reads_as_double_does_at_both_ends_of_the_allowed_ridges(
    ridge: float, samples: int
) -> None:
    wide = make_snapshot(samples=samples, feature_dim=40)
    narrow = replace(wide, features=wide.features.float())
    found = [analyze(each, make_texts(wide), ridge=ridge).scalars for each in (wide, narrow)]
    for key in ("sing/zero_shot_seen", "probe/class_whole", "probe/class_seen", "probe/class_null"):
        assert math.isfinite(found[0][key])
        assert found[1][key] == pytest.approx(found[0][key], abs=1e-9), key
