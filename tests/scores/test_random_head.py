"""The spread of random heads agrees with a closed form and with heads that are drawn."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sing_monitor.scores.angles import image_score
from sing_monitor.scores.random_head import TranslatedHalf, random_head_spread
from tests.helpers import normal


def on_axes(scales: Tensor) -> TranslatedHalf:
    """An image on both sides of every axis; the meaning is the deviation, far from its mean."""
    dim = len(scales)
    axes = torch.diag(scales).double()
    weight = torch.cat([torch.eye(dim), torch.zeros(1, dim)]).double()
    base = torch.zeros(dim + 1, dtype=torch.float64)
    base[-1] = 1e5
    return TranslatedHalf(torch.cat([axes, -axes]), weight, base, 2 * dim)


@pytest.mark.parametrize("null_dim", [1, 2, 7, 19])
@pytest.mark.parametrize("falls", [0.0, 0.5, 2.0])
def test_of_small_angles_it_is_the_variance_of_a_trace(null_dim: int, falls: float) -> None:
    # To first order IS is the sum of s_j P_jj up to a constant, and half of it varies.
    dim = 20
    scales = torch.arange(1, dim + 1.0).double() ** -falls
    found = random_head_spread([on_axes(scales)], dim, null_dim)
    first, second = float(scales.sum()), float(scales.square().sum())
    variance = 2 * null_dim * (dim - null_dim) / (dim**2 * (dim - 1) * (dim + 2))
    variance *= dim * second - first**2
    assert found == pytest.approx(dim / null_dim / 2 * math.sqrt(variance) / first, abs=1e-6)


def test_without_chance_it_is_0_and_without_a_null_space_undefined() -> None:
    half = on_axes(torch.arange(1, 7.0))
    assert random_head_spread([half], 6, 6) == 0
    assert math.isnan(random_head_spread([half], 6, 0))
    nothing = TranslatedHalf(half.deviations, 0 * half.weight, half.base, 80)
    assert math.isnan(random_head_spread([nothing], 6, 3))


def halves_of(dim: int, mean: float, count: int = 80) -> list[TranslatedHalf]:
    """Features of falling variance and two translators that differ a little."""
    scales = torch.arange(1, dim + 1.0).double() ** -0.5
    weight, base = normal(16, dim, seed=1), mean * normal(16, seed=2)
    halves = []
    for seed in (3, 5):
        noisy = weight + 0.2 * normal(16, dim, seed=seed)
        halves.append(
            TranslatedHalf(normal(count, dim, seed=seed + 1) * scales, noisy, base, count)
        )
    return halves


@pytest.mark.parametrize("mean", [0.0, 3.0])
@pytest.mark.parametrize(("dim", "null_dim"), [(12, 1), (12, 6), (40, 2), (40, 20), (40, 38)])
def test_it_is_that_of_drawn_heads(dim: int, null_dim: int, mean: float) -> None:
    halves, drawn = halves_of(dim, mean), []
    for seed in range(300):
        basis = torch.linalg.qr(normal(dim, null_dim, seed=seed)).Q
        drawn.append(
            sum(
                float(image_score(half.base + half.moved, half.base + half.moved - gone).mean())
                for half in halves
                for gone in [(half.deviations @ basis) @ (half.weight @ basis).T]
            )
        )
    scores = torch.tensor(drawn)
    found = random_head_spread(halves, dim, null_dim)
    assert found == pytest.approx(float(scores.std() / scores.mean()), rel=0.2)


def test_an_image_at_the_mean_and_one_without_a_direction_spoil_nothing() -> None:
    half = halves_of(12, 3.0)[0]
    deviations = torch.cat([half.deviations, torch.zeros(1, 12)])
    whole = random_head_spread([half], 12, 3)
    found = random_head_spread([TranslatedHalf(deviations, half.weight, half.base, 80)], 12, 3)
    assert found == pytest.approx(whole, rel=0.02)
    centered = TranslatedHalf(deviations, half.weight, 0 * half.base, 80)
    assert math.isfinite(random_head_spread([centered], 12, 3))


def test_of_many_features_random_directions_serve() -> None:
    halves = halves_of(300, 1.0)
    basis = torch.linalg.qr(
        torch.cat(
            [each.deviations.T for each in halves] + [each.weight.T for each in halves], dim=1
        )
    ).Q
    inside = [
        TranslatedHalf(h.deviations @ basis, h.weight @ basis, h.base, h.images) for h in halves
    ]
    # In 192 coordinates the same, without a random direction.
    exact = random_head_spread(inside, 300, 40)
    assert random_head_spread(halves, 300, 40) == pytest.approx(exact, rel=0.05)


def test_single_precision_serves() -> None:
    halves = halves_of(40, 3.0)
    single = [
        TranslatedHalf(h.deviations.float(), h.weight.float(), h.base.float(), h.images)
        for h in halves
    ]
    for null_dim in (1, 20, 39):
        exact = random_head_spread(halves, 40, null_dim)
        assert random_head_spread(single, 40, null_dim) == pytest.approx(exact, rel=0.01)


@pytest.mark.parametrize("null_dim", [1, 8, 15])
def test_a_sample_tells_what_all_images_would(null_dim: int) -> None:
    # Every direction is as good as another: what varies is the choice of the images.
    deviations, weight = normal(1500, 16, seed=1), normal(16, 16, seed=2)
    base = 5 * normal(16, seed=3)
    every = random_head_spread([TranslatedHalf(deviations, weight, base, 1500)], 16, null_dim)
    found, smaller = (
        random_head_spread([TranslatedHalf(deviations[:150], weight, base, images)], 16, null_dim)
        for images in (1500, 150)
    )
    assert found == pytest.approx(every, rel=0.2)
    assert smaller > found


@pytest.mark.parametrize(("directions", "is_known"), [(1, False), (2, False), (8, True)])
def test_of_a_translator_that_reads_few_directions_nothing_is_said(
    directions: int, is_known: bool
) -> None:
    weight = normal(16, directions, seed=1) @ torch.eye(directions, 20, dtype=torch.float64)
    half = TranslatedHalf(normal(90, 20, seed=2), weight, 3 * normal(16, seed=3), 90)
    assert math.isfinite(random_head_spread([half], 20, 10)) == is_known
