from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sing_monitor.scores.angles import (
    angle,
    attribute_score,
    image_score,
    text_cosines,
    to_degrees,
    zero_shot_correct,
)
from tests.helpers import normal


def at(*degrees: float) -> Tensor:
    """Unit vectors of the plane."""
    radians = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack([radians.cos(), radians.sin()], dim=1)


@pytest.mark.parametrize("degrees", [1e-7, 1e-5, 1e-2, 1.0, 45.0, 90.0, 135.0, 179.0, 180 - 1e-7])
def test_angles_are_accurate_from_tiny_to_straight(degrees: float) -> None:
    x, y = at(0.0), 1000 * at(degrees)
    assert float(angle(x, y)[0]) == pytest.approx(degrees, abs=1e-12)


def test_angles_of_parallel_and_opposite_vectors_are_exact() -> None:
    x = normal(6, 5, seed=0)
    assert torch.equal(angle(x, 4 * x), torch.zeros(6).double())
    assert torch.equal(angle(x, -x), torch.full((6,), 180.0).double())


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [
        (torch.float32, 1e-30),
        (torch.float32, 1e30),
        (torch.float64, 1e-300),
        (torch.float64, 1e300),
        (torch.float16, 1e-4),
        (torch.bfloat16, 1e30),
    ],
)
def test_angles_do_not_depend_on_length(dtype: torch.dtype, scale: float) -> None:
    x = torch.tensor([scale, 0.0], dtype=torch.float64).to(dtype)
    y = torch.tensor([scale, scale], dtype=torch.float64).to(dtype)
    assert float(angle(x, y)) == pytest.approx(45, rel=4 * torch.finfo(dtype).eps)


def test_a_zero_or_nan_vector_has_no_angle() -> None:
    x = torch.tensor([[0.0, 0.0], [math.nan, 1.0], [1.0, 0.0]])
    assert angle(x, torch.tensor([1.0, 0.0])).isnan().tolist() == [True, True, False]
    assert angle(torch.tensor([1.0, 0.0]), x).isnan().tolist() == [True, True, False]


def test_attribute_score_is_positive_when_the_equivalent_is_closer() -> None:
    original, equivalent, text = at(30.0, 30.0, 30.0), at(10.0, 75.0, -30.0), at(0.0)[0]
    expected = torch.tensor([20.0, -45.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(attribute_score(original, equivalent, text), expected)


def test_every_image_may_have_its_own_text() -> None:
    score = attribute_score(at(30.0, 30.0), at(10.0, 10.0), at(0.0, 90.0))
    torch.testing.assert_close(score, torch.tensor([20.0, -20.0], dtype=torch.float64))


def test_image_score_is_the_angle_between_the_two() -> None:
    score = image_score(at(30.0, 0.0), at(-40.0, 179.0))
    torch.testing.assert_close(score, torch.tensor([70.0, 179.0], dtype=torch.float64))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 6), st.integers(0, 2**31))
def test_attribute_score_never_exceeds_image_score(size: int, seed: int) -> None:
    original, equivalent, text = (normal(20, size, seed=seed + k) for k in range(3))
    moved = image_score(original, equivalent)
    assert (attribute_score(original, equivalent, text).abs() <= moved + 1e-12).all()
    assert torch.equal(moved, image_score(equivalent, original))
    assert ((moved >= 0) & (moved <= 180)).all()


def test_cosines_in_degrees_are_the_angles() -> None:
    x, texts = normal(7, 4, seed=0), normal(3, 4, seed=1)
    degrees = to_degrees(text_cosines(x, texts))
    for k in range(3):
        torch.testing.assert_close(degrees[:, k], angle(x, texts[k]), atol=1e-9, rtol=0)


def test_cosines_of_parallel_vectors_stay_within_arccos() -> None:
    x = normal(200, 9, seed=0)
    degrees = to_degrees(text_cosines(x, x).diagonal())
    assert ((degrees >= 0) & (degrees < 2e-6)).all()


def test_zero_shot_takes_the_nearest_text() -> None:
    nan = math.nan
    cosines = torch.tensor([[0.1, 0.9], [0.9, 0.1], [nan, -0.5], [nan, -0.5], [nan, nan]])
    correct = zero_shot_correct(cosines, torch.tensor([1, 1, 1, 0, 0]))
    assert correct[:4].tolist() == [1, 0, 1, 0]
    assert correct[4].isnan()
