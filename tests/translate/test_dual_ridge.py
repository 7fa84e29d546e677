"""The dual form of the ridge regression agrees with the primal one."""

from __future__ import annotations

import re

import pytest
import torch
from sklearn.linear_model import Ridge

from sing_monitor.head.geometry import HeadGeometry
from sing_monitor.translate.cross_fit import cross_fit
from sing_monitor.translate.dual_ridge import DualStatistics
from sing_monitor.translate.ridge import RidgeStatistics, fit_translator, statistics_of
from sing_monitor.translate.ridge_search import choose_ridge
from tests.helpers import normal
from tests.translate.test_ridge import problem

close = torch.testing.assert_close
EXACT = {"atol": 1e-9, "rtol": 1e-8}


def both(samples: int = 20, m: int = 50) -> tuple[DualStatistics, RidgeStatistics]:
    x, z = problem(samples, m)
    return DualStatistics.of(x, z), RidgeStatistics.of(x, z)


@pytest.mark.parametrize("rho", [1e-4, 1e-2, 10.0])
# More features than are looked at at a time, and fewer than samples, which is only slower.
@pytest.mark.parametrize(("samples", "m"), [(20, 50), (20, 1100), (30, 6), (2, 3), (1, 4)])
def test_it_is_the_same_regression(samples: int, m: int, rho: float) -> None:
    x, z = problem(samples, m)
    head, others = HeadGeometry.from_weight(normal(3, m, seed=5)), normal(2, 7, m, seed=6)
    dual, primal = (form.of(x, z) for form in (DualStatistics, RidgeStatistics))
    solved, expected = dual.solve(rho), primal.solve(rho)
    close(solved.translator.weight, expected.translator.weight, **EXACT)
    close(solved.translator.bias, expected.translator.bias, **EXACT)
    # What the samples do not span leaves rounding noise in the primal form's slope.
    noise = 1e-6 * float(expected.translator(others).abs().max())
    close(solved.slope(others), expected.slope(others), atol=noise, rtol=1e-8)
    null, wanted = (each.on_null_part(head) for each in (solved, expected))
    close(null.weight, wanted.weight, **EXACT)
    close(null.bias, wanted.bias, **EXACT)
    # From moments it is a difference of large sums.
    errors = [form.squared_error(wanted) for form in (dual, primal)]
    assert errors[0] == pytest.approx(errors[1], rel=1e-8, abs=1e-8 * primal.zz)
    center = normal(4, seed=7)
    assert dual.squared_deviation(center) == primal.squared_deviation(center)


@pytest.mark.parametrize("rho", [1e-6, 1e-2, 10.0])
def test_it_is_the_regression_of_scikit_learn(rho: float) -> None:
    x, z = problem(20, 300)
    alpha = rho * float(x.var(dim=0, correction=0).sum()) / x.shape[1] * len(x)
    reference = Ridge(alpha=alpha, solver="svd").fit(x.numpy(), z.numpy())
    translator = fit_translator(x, z, rho)
    close(translator.weight, torch.from_numpy(reference.coef_), atol=1e-8, rtol=1e-8)
    close(translator.bias, torch.from_numpy(reference.intercept_), atol=1e-6, rtol=1e-8)


@pytest.mark.parametrize("seed", range(3))
def test_the_search_finds_the_same_ridge(seed: int) -> None:
    x, z = problem(40, 90, seed=seed)
    z += 20 * normal(40, 4, seed=seed + 50)
    halves = [torch.arange(40)[k::2] for k in (0, 1)]
    found, expected = (
        choose_ridge([form.of(x, z, half) for half in halves])
        for form in (DualStatistics, RidgeStatistics)
    )
    assert found[0] == expected[0]
    assert found[1] == pytest.approx(expected[1], abs=1e-9)


def test_the_form_is_chosen_by_the_number_of_all_images() -> None:
    x, z = normal(10, 10, seed=0), normal(10, 2, seed=1)
    assert isinstance(statistics_of(x, z, torch.arange(3)), RidgeStatistics)
    assert isinstance(statistics_of(x[:9], z[:9], torch.arange(3)), DualStatistics)


def test_folds_of_two_forms_are_not_compared() -> None:
    with pytest.raises(TypeError, match="statistics_of"):
        choose_ridge(both())


@pytest.mark.parametrize("value", [0.0, 0.1, 1e5])
@pytest.mark.parametrize("samples", [1, 2])
def test_features_that_do_not_vary_translate_to_the_mean(value: float, samples: int) -> None:
    x, z = torch.full((samples, 3), value), normal(samples, 2, seed=0)
    solved = DualStatistics.of(x, z).solve(1e-6)
    head = HeadGeometry.from_weight(normal(2, 3, seed=1))
    assert torch.equal(solved.translator.weight, torch.zeros(2, 3).double())
    assert torch.equal(solved.on_null_part(head).weight, torch.zeros(2, 3).double())
    assert torch.equal(solved.slope(normal(4, 3, seed=2)), torch.zeros(4, 2).double())
    close(solved.translator(x[:1].double()), z.mean(dim=0, keepdim=True))


@pytest.mark.parametrize("rho", [1e-18, 1e-14, 1e-6])
def test_a_tiny_ridge_still_solves(rho: float) -> None:
    x, z = normal(20, 60, seed=0), normal(20, 4, seed=1)
    translator = fit_translator(x, z, rho)
    # 20 points in 60 dimensions can be met exactly.
    close(translator(x), z, atol=1e-3, rtol=0)


@pytest.mark.parametrize("rho", [1e-4, 1.0])
def test_narrow_features_translate_as_wide_ones(rho: float) -> None:
    x, z = (each.float() for each in problem(40, 200))
    narrow, wide = fit_translator(x, z, rho), fit_translator(x.double(), z.double(), rho)
    difference = narrow(x.double()) - wide(x.double())
    assert 0 < difference.abs().max() <= 1e-4 * z.std()


@pytest.mark.parametrize("rho", [0.0, -1.0, float("nan"), float("inf")])
def test_a_ridge_that_is_not_positive_is_refused(rho: float) -> None:
    with pytest.raises(ValueError, match=re.escape("positive and finite")):
        both()[0].solve(rho)


def test_no_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="no sample"):
        DualStatistics.of(torch.zeros(0, 3), torch.zeros(0, 2)).solve(0.1)


def test_samples_of_another_shape_are_refused() -> None:
    for form in (DualStatistics.of, statistics_of):
        with pytest.raises(ValueError, match=re.escape("got (4, 9) and (3, 2)")):
            form(torch.zeros(4, 9), torch.zeros(3, 2))


@pytest.mark.parametrize("fold", [0, 1])
def test_an_empty_fold_gives_nan(fold: int) -> None:
    x, z = problem(6, 20)
    fit = cross_fit(x, z, torch.full((6,), fold), "auto")
    assert fit.translators is None
