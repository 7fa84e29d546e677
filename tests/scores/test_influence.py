from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sing_monitor.scores.angles import angle
from sing_monitor.scores.influence import (
    Shift,
    angle_influence,
    density_at_zero,
    share_influence,
)
from tests.helpers import normal

IMAGES, FITTED, DIM, STEP = 7, 5, 6, 1e-6


def planted() -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings y_j, weights k_ji and residuals r_i."""
    kernel = normal(IMAGES, FITTED, seed=1)
    return normal(IMAGES, DIM, seed=0), kernel, normal(FITTED, DIM, seed=2)


def along(v: Tensor, residuals: Tensor) -> Tensor:
    return torch.nn.functional.normalize(v, dim=1) @ residuals.T


def moved(y: Tensor, kernel: Tensor, residuals: Tensor, fitted: int, by: float) -> Tensor:
    return y + by * kernel[:, [fitted]] * residuals[fitted]


def test_the_change_of_an_angle_is_its_derivative_by_the_weight_of_a_fitted_image() -> None:
    y, kernel, residuals = planted()
    v, weights = normal(IMAGES, DIM, seed=3), normal(IMAGES, 2, seed=4)
    found = angle_influence(
        Shift.of(y, kernel, residuals), along(v, residuals), angle(y, v), weights
    )
    for fitted in range(FITTED):
        after, before = (angle(moved(y, kernel, residuals, fitted, by), v) for by in (STEP, -STEP))
        expected = weights.T @ (after - before) / (2 * STEP)
        torch.testing.assert_close(found[fitted], expected, rtol=1e-6, atol=1e-6)


def test_an_angle_of_zero_has_no_derivative_and_counts_for_nothing() -> None:
    y, kernel, residuals = planted()
    weights = torch.ones(IMAGES, 1, dtype=torch.float64)
    found = angle_influence(
        Shift.of(y, kernel, residuals), along(y, residuals), torch.zeros(IMAGES), weights
    )
    assert torch.equal(found, torch.zeros(FITTED, 1, dtype=torch.float64))


def test_the_change_of_a_share_is_that_of_its_smoothed_steps() -> None:
    """The derivative of ``Phi(margin / width)`` is the kernel's weight times that of the margin."""
    y, kernel, residuals = planted()
    true, other = (torch.nn.functional.normalize(normal(IMAGES, DIM, seed=s)) for s in (3, 4))

    def margins(y: Tensor) -> Tensor:
        return (y * (true - other)).sum(dim=1)

    width = 1.06 * float(margins(y).std()) * IMAGES**-0.2
    found = share_influence(kernel, (true - other) @ residuals.T, margins(y))
    normal_law = torch.distributions.Normal(0.0, width)
    for fitted in range(FITTED):
        after, before = (
            normal_law.cdf(margins(moved(y, kernel, residuals, fitted, by))).sum()
            for by in (STEP, -STEP)
        )
        assert float(found[fitted]) == pytest.approx(float(after - before) / (2 * STEP), rel=1e-5)


def test_the_density_of_normal_margins_at_zero() -> None:
    margins = normal(20_000, seed=0) + 1
    expected = math.exp(-0.5) / math.sqrt(2 * math.pi)
    assert float(density_at_zero(margins).mean()) == pytest.approx(expected, rel=0.05)


def test_margins_without_a_number_do_not_count() -> None:
    margins = normal(50, seed=0)
    others = torch.tensor([math.inf, -math.inf, math.nan], dtype=torch.float64)
    found = density_at_zero(torch.cat([margins, others]))
    torch.testing.assert_close(
        found, torch.cat([density_at_zero(margins), torch.zeros(3)]).double()
    )


@pytest.mark.parametrize("margins", [torch.ones(5), torch.ones(1)])
def test_equal_margins_have_no_density(margins: Tensor) -> None:
    assert torch.equal(density_at_zero(margins), torch.zeros_like(margins))
