from __future__ import annotations

import logging
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sing_monitor.head.feature_split import coordinates
from sing_monitor.head.geometry import HeadGeometry
from sing_monitor.translate.cross_fit import CrossFit, cross_fit, mean_cosine
from sing_monitor.translate.ridge import RidgeStatistics
from sing_monitor.translate.translator import LinearTranslator
from tests.helpers import normal

NAMES = ("original", "removed", "centered")


def problem(samples: int = 41, m: int = 9, n: int = 5, seed: int = 0) -> tuple[Tensor, ...]:
    """Features, embeddings and folds of unequal size."""
    x = normal(samples, m, seed=seed) + 2 * normal(m, seed=seed + 1)
    z = x @ normal(m, n, seed=seed + 2) + 0.3 * normal(samples, n, seed=seed + 3)
    return x, z, (torch.arange(samples) % 3 == 0).long()


def r2_of(fit: CrossFit, x: Tensor, z: Tensor) -> float:
    return fit.r2(float((z - fit.original(x, x.mean(dim=0))).square().sum()))


def head(classes: int, m: int = 9, seed: int = 7) -> HeadGeometry:
    return HeadGeometry.from_weight(normal(classes, m, seed=seed))


def fit_on(x: Tensor, z: Tensor, rho: float) -> LinearTranslator:
    return RidgeStatistics.of(x, z).solve(rho).translator


def held_out_r2(
    x: Tensor, z: Tensor, folds: Tensor, rho: float, penalised: Tensor | None = None
) -> float:
    """Explicit residuals of explicit fits, with the penalty that rho means for other features."""
    error = total = 0.0
    for k in (0, 1):
        own, other = folds == k, folds != k
        unit = (x if penalised is None else penalised)[other].var(dim=0).sum()
        same = rho * float(unit / x[other].var(dim=0).sum())
        error += float((z[own] - fit_on(x[other], z[other], same)(x[own])).square().sum())
        total += float((z[own] - z[other].mean(dim=0)).square().sum())
    return 1 - error / total


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 12), st.integers(0, 2**31))
def test_the_short_cut_equals_translating_the_equivalents(classes: int, seed: int) -> None:
    x, z, folds = problem(seed=seed)
    geometry = head(classes, seed=seed) if classes else HeadGeometry.from_weight(torch.zeros(2, 9))
    center = x.mean(dim=0)
    fit = cross_fit(x, z, folds, 0.01)
    pairs = fit.translate(x, geometry, center)
    for k in (0, 1):
        rows = folds == k
        translator = fit_on(x[~rows], z[~rows], 0.01)
        f = x[rows]
        equivalents = f, geometry.remove_null(f), geometry.remove_null(f, center)
        for name, equivalent in zip(NAMES, equivalents, strict=True):
            torch.testing.assert_close(getattr(pairs, name)[rows], translator(equivalent))


def test_no_image_is_scored_by_a_translator_that_saw_it() -> None:
    x, z, folds = problem()
    center, geometry = x.mean(dim=0), head(3)
    changed = z.clone()
    changed[10] = 1e3 * normal(5, seed=99)
    before = cross_fit(x, z, folds, 0.01).translate(x, geometry, center)
    after = cross_fit(x, changed, folds, 0.01).translate(x, geometry, center)
    own = folds == folds[10]
    for name in NAMES:
        old, new = getattr(before, name), getattr(after, name)
        assert torch.equal(old[own], new[own])
        assert ((old[~own] - new[~own]).abs().amax(dim=1) > 0.1).all()


def test_a_feature_moves_only_its_own_translation_within_its_fold() -> None:
    x, z, folds = problem()
    changed = x.clone()
    changed[10] += 50
    center = torch.zeros(9).double()
    before = cross_fit(x, z, folds, 0.01).translate(x, head(3), center)
    after = cross_fit(changed, z, folds, 0.01).translate(changed, head(3), center)
    same = (folds == folds[10]) & (torch.arange(len(x)) != 10)
    assert torch.equal(before.original[same], after.original[same])
    assert not torch.allclose(before.original[10], after.original[10])


def test_without_a_null_space_nothing_moves() -> None:
    x, z, folds = problem()
    fit = cross_fit(x, z, folds, 0.01, head(9))
    pairs = fit.translate(x, head(9), x.mean(dim=0))
    assert torch.equal(pairs.removed, pairs.original)
    assert torch.equal(pairs.centered, pairs.original)
    assert fit.r2_null == 0


@pytest.mark.parametrize("fold", [0, 1])
@pytest.mark.parametrize("ridge", ["auto", 0.1])
def test_an_empty_fold_gives_nan(fold: int, ridge) -> None:
    x, z, folds = problem()
    fit = cross_fit(x, z, torch.full_like(folds, fold), ridge, head(3))
    pairs = fit.translate(x, head(3), x.mean(dim=0))
    for name in NAMES:
        assert getattr(pairs, name).shape == z.shape
        assert getattr(pairs, name).isnan().all()
    assert all(math.isnan(value) for value in (fit.ridge, r2_of(fit, x, z), fit.r2_null))


@pytest.mark.parametrize("rho", [1e-4, 0.1])
def test_r2_is_that_of_the_explicit_residuals(rho: float) -> None:
    x, z, folds = problem()
    assert r2_of(cross_fit(x, z, folds, rho), x, z) == pytest.approx(held_out_r2(x, z, folds, rho))


@pytest.mark.parametrize("classes", [1, 4, 8])
@pytest.mark.parametrize("rho", [1e-4, 0.1])
def test_r2_null_is_that_of_a_refit_on_the_null_part(classes: int, rho: float) -> None:
    x, z, folds = problem()
    geometry = head(classes)
    expected = held_out_r2(geometry.null(x), z, folds, rho, penalised=x)
    assert cross_fit(x, z, folds, rho, geometry).r2_null == pytest.approx(expected, abs=1e-8)


def test_a_zero_head_has_all_of_r2_in_the_null_part() -> None:
    x, z, folds = problem()
    fit = cross_fit(x, z, folds, 0.01, HeadGeometry.from_weight(torch.zeros(2, 9)))
    assert fit.r2_null == pytest.approx(r2_of(fit, x, z))


@pytest.mark.parametrize("rho", [1e-6, 1e-3])
def test_features_without_a_null_part_have_no_r2_there(rho: float) -> None:
    x, z, folds = problem(samples=200)
    geometry = head(4)
    fit = cross_fit(geometry.principal(x) + 5 * normal(9, seed=8), z, folds, rho, geometry)
    assert fit.r2_null == pytest.approx(0, abs=1e-12)


def test_embeddings_that_do_not_vary_have_no_r2() -> None:
    x, z, folds = problem()
    fit = cross_fit(x, z[:1].expand_as(z), folds, 0.1)
    assert math.isnan(r2_of(fit, x, z[:1].expand_as(z)))


@pytest.mark.parametrize(("noise", "edge"), [(0.0, 1e-6), (1e6, 10.0)])
def test_a_ridge_at_the_edge_of_the_grid_warns(noise: float, edge: float, caplog) -> None:
    x, _, folds = problem(samples=200)
    z = x @ normal(9, 5, seed=2) + noise * normal(200, 5, seed=11)
    # Without noise, features of unequal scale leave no ridge small enough.
    with caplog.at_level(logging.WARNING, "sing_monitor"):
        fit = cross_fit(x * torch.logspace(0, -3, 9), z, folds, "auto")
    assert fit.ridge == pytest.approx(edge)
    assert "at the edge of the grid" in caplog.text
    assert "200 images" in caplog.text


def test_a_ridge_within_the_grid_is_silent(caplog) -> None:
    x, z, folds = problem()
    with caplog.at_level(logging.WARNING, "sing_monitor"):
        fit = cross_fit(x, z, folds, "auto")
        cross_fit(x, z, folds, 1e-6)
    assert 1e-6 < fit.ridge < 10
    assert caplog.text == ""


@pytest.mark.parametrize("ridge", [0.1, "auto"])
@pytest.mark.parametrize("alike", [1, 3])
def test_images_of_a_fold_that_are_all_alike_translate_nothing(alike: int, ridge: Any) -> None:
    """All others would get one embedding, so that nothing could move them."""
    x, z, _ = problem(samples=8)
    x[:alike] = x[0]
    folds = (torch.arange(8) < alike).long()
    fit = cross_fit(x, z, folds, ridge)
    assert fit.translators is None
    pairs = fit.translate(x, head(3), x.mean(dim=0))
    assert pairs.original.isnan().all()
    assert pairs.centered.isnan().all()


def test_translators_of_any_origin_can_be_used() -> None:
    x, _, folds = problem()
    translator = LinearTranslator(normal(5, 9, seed=1), normal(5, seed=2))
    fit = CrossFit((translator, translator), folds, 1.0, torch.zeros(2, 5))
    pairs = fit.translate(x, head(3), torch.zeros(9).double())
    torch.testing.assert_close(pairs.original, translator(x))
    torch.testing.assert_close(pairs.removed, pairs.centered)


def test_a_fit_that_knows_the_head_translates_equivalents_as_one_that_does_not() -> None:
    x, z, folds = problem()
    center = x.mean(dim=0)
    seen = coordinates(x, head(3), center)
    known = cross_fit(x, z, folds, 0.1, head(3), seen=seen)
    assert known.on_seen is not None
    pairs = known.translate(x, head(3), center, seen)
    expected = cross_fit(x, z, folds, 0.1).translate(x, head(3), center)
    torch.testing.assert_close(pairs.centered, expected.centered)
    torch.testing.assert_close(pairs.removed, expected.removed)


def test_mean_cosine_by_hand() -> None:
    translated = torch.tensor([[1.0, 0.0], [0.0, 3.0]], dtype=torch.float64)
    assert mean_cosine(translated, torch.tensor([[2.0, 0.0], [5.0, 0.0]])) == pytest.approx(0.5)
