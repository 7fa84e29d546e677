from __future__ import annotations

import math

import pytest
import torch

from sing_monitor.scores.derived import (
    above_chance,
    commonality,
    constant_reader,
    ratio,
    relative_scores,
    retention,
)
from sing_monitor.scores.pairs import CENTERED, RANDOM


def test_a_ratio_over_zero_is_undefined_for_numbers_and_for_many() -> None:
    assert ratio(3.0, -2.0) == -1.5
    for numerator in (0.0, 1.0, -1.0):
        assert math.isnan(ratio(numerator, 0.0))
    found = ratio(torch.tensor([1.0, 1.0, 0.0]), torch.tensor([4.0, 0.0, 0.0]))
    assert found[0] == 0.25
    assert found[1:].isnan().all()
    assert math.isnan(ratio(1.0, math.nan))


def test_relative_scores_of_numbers_are_those_of_many() -> None:
    attribute = {CENTERED: torch.tensor([-2.0, 1.0, 5.0]), RANDOM: torch.tensor([1.0, 2.0, 3.0])}
    image = {CENTERED: torch.tensor([8.0, 4.0, 0.0]), RANDOM: torch.tensor([4.0, 8.0, 0.0])}
    found = relative_scores(attribute, image)
    assert found["image_score_relative"][:2].tolist() == [2, 0.5]
    assert found["attribute_share"][:2].tolist() == [-0.25, 0.25]
    assert found["attribute_share_random"][:2].tolist() == [0.25, 0.25]
    for place in range(3):
        single = relative_scores(
            {pair: float(values[place]) for pair, values in attribute.items()},
            {pair: float(values[place]) for pair, values in image.items()},
        )
        for name, values in found.items():
            assert single[name] == pytest.approx(float(values[place]), nan_ok=True)


def test_of_replicates_what_is_above_chance_is_not_judged() -> None:
    before, after = torch.tensor([0.9, 0.2, 0.1]), torch.tensor([0.55, 0.5, 0.2])
    found = above_chance(before, after, 0.2)
    assert found[0] == pytest.approx(0.5)
    assert found[1].isnan()
    assert found[2] == pytest.approx(0.0)


@pytest.mark.parametrize(("after", "kept"), [(0.9, 1.0), (0.55, 0.5), (0.2, 0.0), (0.1, -1 / 7)])
def test_retention_is_what_is_left_above_chance(after: float, kept: float) -> None:
    assert retention(0.9, after, chance=0.2, samples=1000) == pytest.approx(kept)


def test_retention_needs_two_standard_errors_above_chance() -> None:
    # Chance 0.5 on 100 images has a standard error of 0.05.
    assert math.isnan(retention(0.6, 0.5, chance=0.5, samples=100))
    assert retention(0.61, 0.5, chance=0.5, samples=100) == 0
    assert math.isnan(retention(math.nan, 0.5, chance=0.5, samples=100))
    assert math.isnan(retention(1.0, 1.0, chance=1.0, samples=100))
    assert math.isnan(retention(1.0, 1.0, chance=0.5, samples=0))


def test_a_constant_reader_gets_the_commonest_answer() -> None:
    """A seen part that tells nothing keeps nothing, also where one class is most of the images."""
    chance = constant_reader(torch.tensor([0] * 90 + [1] * 10))
    assert chance == 0.9
    assert retention(1.0, 0.9, chance=chance, samples=100) == 0
    assert math.isnan(constant_reader(torch.zeros(0, dtype=torch.int64)))


def test_what_goes_beyond_a_random_subspace_is_a_difference_of_degrees() -> None:
    attribute = {CENTERED: -3.0, RANDOM: -10.0}
    found = relative_scores(attribute, {CENTERED: 30.0, RANDOM: 60.0})
    assert found["attribute_score_excess"] == 7.0
    assert math.isnan(
        relative_scores({CENTERED: -3.0, RANDOM: math.nan}, attribute)["attribute_score_excess"]
    )


def test_the_parts_of_an_r2_add_up_to_it() -> None:
    parts = commonality(0.69, 0.45, 0.67)
    assert parts == pytest.approx({"unique_seen": 0.02, "unique_null": 0.24, "shared": 0.43})
    assert sum(parts.values()) == pytest.approx(0.69)
    # Two parts that say different things share nothing; held out, a little less than that.
    assert commonality(0.8, 0.5, 0.3)["shared"] == pytest.approx(0)
    assert all(math.isnan(each) for each in commonality(math.nan, 0.5, 0.3).values())


@pytest.mark.parametrize(
    ("fits", "is_split"),
    [
        ((0.50, 0.40, -0.04), True),
        ((0.50, -6.0, 0.45), False),
        ((0.50, 0.40, -0.06), False),
        # A whole that reads worse than a part of it is overfitted.
        ((0.50, 0.40, 0.54), True),
        ((0.50, 0.40, 0.56), False),
        ((-7.0, 0.05, -4.0), False),
        ((-0.01, -0.02, -0.01), True),
    ],
)
def test_fits_that_explain_less_than_nothing_are_not_split(
    fits: tuple[float, float, float], is_split: bool
) -> None:
    parts = commonality(*fits)
    assert [math.isfinite(each) for each in parts.values()] == 3 * [is_split]
    if is_split:
        assert sum(parts.values()) == pytest.approx(fits[0])
        assert commonality(*fits, half=fits[0] + 0.04) == parts
        assert math.isnan(commonality(*fits, half=fits[0] + 0.06)["shared"])
