from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sing_monitor.translate.kernel import MOST_IMAGES, weighed_images
from sing_monitor.translate.ridge import fit_translator, statistics_of
from sing_monitor.translate.translator import LinearTranslator
from tests.helpers import normal


def planted(samples: int, feature_dim: int) -> tuple[Tensor, Tensor]:
    x = normal(samples, feature_dim, seed=0) + 2
    return x, x @ normal(feature_dim, 5, seed=1) + normal(samples, 5, seed=2)


def without(x: Tensor, z: Tensor, row: int, shift: float) -> LinearTranslator:
    """A fit of all images but one, under the same lambda."""
    kept = torch.arange(len(x)) != row
    x, z = x[kept], z[kept]
    away = x - x.mean(dim=0)
    scatter = away.T @ away + shift * torch.eye(x.shape[1], dtype=torch.float64)
    weight = torch.linalg.solve(scatter, away.T @ (z - z.mean(dim=0))).T
    return LinearTranslator(weight, z.mean(dim=0) - weight @ x.mean(dim=0))


@pytest.mark.parametrize(("samples", "feature_dim"), [(30, 8), (12, 20)], ids=["primal", "dual"])
def test_the_kernel_tells_every_fit_without_an_image(samples: int, feature_dim: int) -> None:
    """``T x - T_without_i x = k(x, x_i) r_i / (1 - k_ii)``, by refits without each image."""
    x, z = planted(samples, feature_dim)
    solution = statistics_of(x, z).solve(0.1)
    rows, new = torch.arange(samples), normal(4, feature_dim, seed=3)
    kernel = solution.kernel(x, rows).translator
    residuals = (z - solution.translator(x)) / (1 - kernel(x).diagonal())[:, None]
    for row in range(samples):
        expected = solution.translator(new) - without(x, z, row, solution.shift)(new)
        torch.testing.assert_close(kernel(new)[:, [row]] * residuals[row], expected)


@pytest.mark.parametrize(("samples", "feature_dim"), [(30, 8), (12, 20)], ids=["primal", "dual"])
def test_scaled_residuals_vary_as_the_noise_does(samples: int, feature_dim: int) -> None:
    x, z = planted(samples, feature_dim)
    solution = statistics_of(x, z).solve(0.1)
    kernel = solution.kernel(x, torch.arange(samples))
    rest = torch.eye(samples, dtype=torch.float64) - kernel.translator(x)
    torch.testing.assert_close(kernel.scale, (rest @ rest).diagonal().rsqrt())
    torch.testing.assert_close(
        kernel.of_rows(x, torch.tensor([3, 1])), kernel.translator(x)[[3, 1]]
    )
    residuals = kernel.residuals(solution.translator, x, z)
    torch.testing.assert_close(residuals, (rest @ z) * kernel.scale[:, None])


def test_copies_in_a_fit_are_scaled_as_one_image() -> None:
    x, z = planted(30, 8)
    groups, rows = torch.arange(30) // 5, torch.arange(30)
    kernel = statistics_of(x, z).solve(0.1).kernel(x, rows)
    grouped = kernel.by_group(x, rows, rows, 7 * groups)
    rest = torch.eye(30, dtype=torch.float64) - kernel.translator(x)
    shared = rest @ torch.nn.functional.one_hot(groups).double()
    expected = torch.maximum(kernel.scale, shared.square().sum(dim=1).rsqrt())
    torch.testing.assert_close(grouped.scale, expected)
    assert (grouped.scale > kernel.scale).any()
    alone = kernel.by_group(x, rows, rows, rows)
    torch.testing.assert_close(alone.scale, kernel.scale)


def test_groups_are_weighed_as_wholes() -> None:
    folds, groups = torch.arange(900) // 10 % 2, torch.arange(900) // 10
    for rows in weighed_images(folds, torch.arange(900), groups):
        sizes = groups[rows].bincount()
        assert sizes.sum() == MOST_IMAGES
        assert sorted(sizes[sizes > 0].tolist())[1:] == [10] * (MOST_IMAGES // 10)


def test_an_image_that_is_fitted_exactly_has_a_finite_scale() -> None:
    x, z = planted(8, 20)
    scale = statistics_of(x, z).solve(1e-12).kernel(x, torch.arange(8)).scale
    assert scale.isfinite().all()


def test_as_many_images_of_either_fold_are_weighed() -> None:
    folds = (torch.arange(900) % 3 == 0).long()
    first, second = weighed_images(folds, torch.arange(900))
    assert len(first) == len(second) == MOST_IMAGES
    assert folds[first].all()
    assert not folds[second].any()
    assert len(first.unique()) == MOST_IMAGES
    first, second = weighed_images(folds, torch.tensor([1, 3, 4]))
    assert first.tolist() == [3]
    assert second.tolist() in ([1], [4])


def test_constant_features_weigh_all_images_alike() -> None:
    x, z = torch.ones(6, 3, dtype=torch.float64), normal(6, 5, seed=0)
    kernel = statistics_of(x, z).solve(0.1).kernel(x, torch.arange(6)).translator
    torch.testing.assert_close(kernel(x), torch.full((6, 6), 1 / 6, dtype=torch.float64))
    assert torch.equal(fit_translator(x, z, 0.1).weight, torch.zeros(5, 3, dtype=torch.float64))
