from __future__ import annotations

import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from torch import Tensor

from sing_monitor.head.geometry import HeadGeometry
from sing_monitor.scores.angles import angle
from sing_monitor.translate.precision import solution_dtype
from sing_monitor.translate.ridge import RidgeStatistics
from sing_monitor.translate.translator import LinearTranslator
from tests.helpers import normal


def problem(samples: int, m: int = 6, n: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    x = normal(samples, m, seed=seed) * torch.arange(1, m + 1) + 3
    return x, x @ normal(m, n, seed=seed + 1) + normal(samples, n, seed=seed + 2)


def residuals(translator: LinearTranslator, x: Tensor, z: Tensor) -> float:
    return float((z - translator(x)).square().sum())


@pytest.mark.parametrize("rho", [1e-6, 1e-2, 10.0])
@pytest.mark.parametrize("samples", [200, 5])
def test_solve_is_ridge_regression_with_the_mean_variance_as_unit(samples: int, rho: float) -> None:
    x, z = problem(samples)
    alpha = rho * float(x.var(dim=0, correction=0).sum()) / x.shape[1] * samples
    reference = Ridge(alpha=alpha, solver="svd").fit(x.numpy(), z.numpy())
    translator = RidgeStatistics.of(x, z).solve(rho).translator
    expected = torch.from_numpy(reference.coef_), torch.from_numpy(reference.intercept_)
    torch.testing.assert_close(translator.weight, expected[0], atol=1e-8, rtol=1e-8)
    torch.testing.assert_close(translator.bias, expected[1], atol=1e-8, rtol=1e-8)


def test_an_affine_map_is_recovered() -> None:
    x, weight, bias = normal(50, 6, seed=0), normal(4, 6, seed=1), normal(4, seed=2)
    translator = RidgeStatistics.of(x, x @ weight.T + bias).solve(1e-12).translator
    torch.testing.assert_close(translator.weight, weight, atol=1e-9, rtol=0)
    torch.testing.assert_close(translator.bias, bias, atol=1e-9, rtol=0)


def test_duplicated_rows_change_nothing() -> None:
    x, z = problem(40)
    once, thrice = RidgeStatistics.of(x, z), RidgeStatistics.of(x.repeat(3, 1), z.repeat(3, 1))
    torch.testing.assert_close(
        once.solve(0.1).translator.weight, thrice.solve(0.1).translator.weight
    )
    torch.testing.assert_close(once.solve(0.1).translator.bias, thrice.solve(0.1).translator.bias)


def test_the_ridge_is_relative_to_the_scale_of_the_features() -> None:
    x, z = problem(40)
    translator, scaled = (
        RidgeStatistics.of(x, z).solve(0.1).translator,
        RidgeStatistics.of(1000 * x, z).solve(0.1).translator,
    )
    torch.testing.assert_close(scaled.weight * 1000, translator.weight)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e5])
@pytest.mark.parametrize("samples", [1, 2, 33])
def test_features_that_do_not_vary_translate_to_the_mean(value: float, samples: int) -> None:
    x, z = torch.full((samples, 3), value), normal(samples, 2, seed=0)
    translator = RidgeStatistics.of(x, z).solve(1e-6).translator
    assert torch.equal(translator.weight, torch.zeros(2, 3).double())
    torch.testing.assert_close(translator(x[:1].double()), z.mean(dim=0, keepdim=True))


@pytest.mark.parametrize("rho", [1e-18, 1e-14, 1e-6])
def test_a_tiny_ridge_on_few_samples_still_solves(rho: float) -> None:
    x, z = normal(20, 60, seed=0), normal(20, 4, seed=1)
    translator = RidgeStatistics.of(x, z).solve(rho).translator
    assert translator.weight.isfinite().all()
    # 20 points in 60 dimensions can be met exactly.
    torch.testing.assert_close(translator(x), z, atol=1e-3, rtol=0)


def test_a_large_common_mean_does_not_disturb_the_fit() -> None:
    x, z = problem(300, m=20)
    shift = 1e4 * normal(20, seed=9)
    translator, shifted = (
        RidgeStatistics.of(x, z).solve(1e-6).translator,
        RidgeStatistics.of(x + shift, z).solve(1e-6).translator,
    )
    torch.testing.assert_close(shifted(x + shift), translator(x), atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_sums_of_narrow_samples_err_by_less_than_their_rounding(dtype: torch.dtype) -> None:
    # More rows than are added up at a time, far from 0.
    x, z = (t.add(20).to(dtype) for t in problem(5000, m=300))
    narrow = RidgeStatistics.of(x, z, products=torch.float32)
    wide = RidgeStatistics.of(x.double(), z.double())
    assert narrow.xx.dtype == torch.float32
    errors = (narrow.xx - wide.xx).abs() / 5000
    # To the spread of the features, though the sums are about 0.
    spread = x.double().std(dim=0)
    assert (errors <= 1e-6 * torch.outer(spread, spread) + 1e-12 * wide.xx.abs()).all()
    fitted, expected = narrow.solve(0.01).translator, wide.solve(0.01).translator
    difference = fitted(x.double()) - expected(x.double())
    assert (difference.abs() <= 1e-4 * z.double().std(dim=0)).all()


def steep() -> tuple[Tensor, Tensor]:
    """Variances that fall as 1/k^2, far from 0: harder than what networks make."""
    directions = torch.linalg.qr(normal(200, 200, seed=0)).Q
    x = (normal(3000, 200, seed=1) / torch.arange(1, 201)) @ directions + 1
    z = x @ normal(200, 30, seed=2)
    return x.float(), (z + 0.1 * z.std() * normal(3000, 30, seed=3)).float()


@pytest.mark.parametrize(
    ("rho", "products"), [(1e-6, torch.float64), (1e-2, torch.float32), (1.0, torch.float32)]
)
def test_single_precision_moves_translations_by_less_than_scores_are_read_to(
    rho: float, products: torch.dtype
) -> None:
    x, z = steep()
    narrow = RidgeStatistics.of(x, z, products=products).solve(rho).translator(x.double())
    wide = RidgeStatistics.of(x.double(), z.double()).solve(rho).translator(x.double())
    assert 0 < angle(narrow, wide).max() < 1e-3


@pytest.mark.parametrize("rho", [1e-6, 1e-2])
def test_a_refit_in_single_precision_explains_as_much(rho: float) -> None:
    head, errors = HeadGeometry.from_weight(normal(20, 200, seed=5)), []
    for x, z in (steep(), [each.double() for each in steep()]):
        fit, held_out = RidgeStatistics.of(x[::2], z[::2]), RidgeStatistics.of(x[1::2], z[1::2])
        error = held_out.squared_error(fit.solve(rho).on_null_part(head))
        errors.append(error / held_out.squared_deviation(fit.mean_z))
    assert 0 < abs(errors[0] - errors[1]) < 1e-5


def test_a_small_ridge_beside_the_largest_variance_asks_for_double_precision() -> None:
    # Largest variance over the mean of all: about 2 and 120.
    flat, single = normal(2000, 200, seed=0).float(), torch.float32
    assert solution_dtype(1e-3, flat) == solution_dtype(1e-3, flat.half()) == single
    assert solution_dtype(1e-3, steep()[0]) == solution_dtype(1e-5, flat) == torch.float64
    assert solution_dtype(1.0, steep()[0]) == single


def test_double_precision_is_kept_and_is_the_choice_where_nothing_is_known() -> None:
    x = normal(100, 5, seed=0)
    for ridge, features in ((1.0, x), ("auto", x.float()), (1.0, torch.ones(9, 5))):
        assert solution_dtype(ridge, features) == torch.float64


@pytest.mark.parametrize("samples", [1, 5, 600])
def test_any_number_of_images_tells_the_largest_variance(samples: int) -> None:
    x = normal(samples, 1, seed=0) * torch.tensor([100.0, 1.0]) + normal(samples, 2, seed=1)
    expected = torch.float64 if samples == 1 else torch.float32
    assert solution_dtype(1.0, x.float()) == expected


@pytest.mark.parametrize("rows", [[], [3], [0, 5, 6, 21]])
def test_statistics_of_some_rows_are_those_of_these_rows_alone(rows: list[int]) -> None:
    x, z = problem(30)
    some, alone = (
        RidgeStatistics.of(x, z, torch.tensor(rows).long()),
        RidgeStatistics.of(x[rows], z[rows]),
    )
    assert some.n == alone.n == len(rows)
    assert some.zz == alone.zz
    for name in ("mean_x", "mean_z", "xx", "xz"):
        assert torch.equal(getattr(some, name), getattr(alone, name))


def test_errors_from_the_moments_are_the_explicit_ones() -> None:
    x, z = problem(50)
    translator = LinearTranslator(normal(4, 6, seed=7), normal(4, seed=8))
    sums = RidgeStatistics.of(x, z)
    assert sums.squared_error(translator) == pytest.approx(residuals(translator, x, z), rel=1e-10)
    center = normal(4, seed=9)
    expected = float((z - center).square().sum())
    assert sums.squared_deviation(center) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("x", "z"), [((5, 3), (4, 2)), ((5,), (5, 2)), ((5, 3), (5,))])
def test_samples_of_another_shape_are_refused(x: tuple[int, ...], z: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=re.escape(f"same N images, got {x} and {z}")):
        RidgeStatistics.of(torch.zeros(x), torch.zeros(z))


@pytest.mark.parametrize("samples", [200, 5])
@pytest.mark.parametrize("rho", [1e-3, 1.0])
def test_the_slope_is_the_derivative_along_the_grid(samples: int, rho: float) -> None:
    x, z = problem(samples)
    sums, step = RidgeStatistics.of(x, z), 1e-4
    above, below = (sums.solve(rho * 10**decades).translator for decades in (step, -step))
    slope = sums.solve(rho).slope
    torch.testing.assert_close(slope(x), (above(x) - below(x)) / (2 * step), rtol=1e-4, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 8), st.sampled_from([1e-6, 1e-2, 1.0]), st.integers(0, 2**31))
def test_the_fit_on_the_null_part_is_a_fit_to_projected_features(
    classes: int, rho: float, seed: int
) -> None:
    x, z = problem(40, m=9, seed=seed)
    head = HeadGeometry.from_weight(normal(classes, 9, seed=seed + 5))
    alpha = rho * float((x - x.mean(dim=0)).square().sum()) / 9
    reference = Ridge(alpha=alpha, solver="svd").fit(head.null(x).numpy(), z.numpy())
    translator = RidgeStatistics.of(x, z).solve(rho).on_null_part(head)
    expected = torch.from_numpy(reference.predict(head.null(x).numpy()))
    torch.testing.assert_close(translator(x), expected, atol=1e-6, rtol=0)
    assert (translator.weight @ head.row_basis).abs().max() < 1e-8


@pytest.mark.parametrize("rho", [1e-12, 1e-6])
def test_a_fit_on_the_null_part_of_few_samples_stays_in_the_null_space(rho: float) -> None:
    x, z = problem(5, m=30)
    head = HeadGeometry.from_weight(normal(12, 30, seed=5))
    translator = RidgeStatistics.of(x, z).solve(rho).on_null_part(head)
    largest = translator.weight.abs().max()
    assert (translator.weight @ head.row_basis).abs().max() < 1e-5 * largest
    torch.testing.assert_close(translator(x), z, atol=1e-2, rtol=1e-3)


@pytest.mark.parametrize("mean", [0.0, 100.0])
@pytest.mark.parametrize("rho", [1e-6, 1e-3])
def test_rounding_noise_in_the_null_space_says_nothing(rho: float, mean: float) -> None:
    head = HeadGeometry.from_weight(normal(5, 64, seed=0))
    x = head.principal(normal(300, 64, seed=1)) + mean * normal(64, seed=2)
    translator = RidgeStatistics.of(x, normal(300, 4, seed=3)).solve(rho).on_null_part(head)
    torch.testing.assert_close(translator(x), translator(x).mean(dim=0).expand(300, 4))


@pytest.mark.parametrize("rho", [0.0, -1.0, math.nan, math.inf])
def test_a_ridge_that_is_not_positive_is_refused(rho: float) -> None:
    with pytest.raises(ValueError, match="ridge must be positive and finite"):
        RidgeStatistics.of(*problem(5)).solve(rho)


def test_no_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="no sample"):
        RidgeStatistics.of(torch.zeros(0, 3), torch.zeros(0, 2)).solve(0.1)
