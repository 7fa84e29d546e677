"""When a run's weights clearly began to move another way, and how much of modes is chance."""

from __future__ import annotations

import math

import pytest

from sing_monitor.app.wording.regimes import change_reading, lowest_point, modes_reading

EVEN = [0.55, 0.6, 0.65, 0.5] * 6


@pytest.mark.parametrize("lowest", [0.06, 0.17])
def test_a_fall_as_after_a_learning_rate_step_is_named(lowest: float) -> None:
    values = [math.nan] * 8 + EVEN
    values[26] = lowest
    said = change_reading(values, range(100, 100 + len(values)))
    assert said is not None
    assert "lowest at epoch 126" in said
    assert "learning rate" in said


@pytest.mark.parametrize("lowest", [0.32, 0.47, 0.26])
def test_what_trainings_of_an_even_learning_rate_show_is_no_fall(lowest: float) -> None:
    assert change_reading([math.nan] * 8 + [*EVEN, lowest], range(33)) is None


def test_little_is_no_fall_where_stability_is_always_low() -> None:
    assert lowest_point([0.2, 0.25, 0.22, 0.18, 0.2, 0.21]) is None


def test_few_or_no_values_say_nothing() -> None:
    assert change_reading([], []) is None
    assert change_reading([math.nan] * 30, range(30)) is None
    assert lowest_point([0.8, 0.9, 0.05, 0.9]) is None


def test_an_early_fall_may_be_the_first_steps() -> None:
    values = [math.nan] * 8 + EVEN
    values[12] = 0.1
    said = change_reading(values, range(len(values)))
    assert said is not None
    assert "epoch 12" in said
    assert "first steps of a training" in said
    assert "learning rate" not in said


def test_the_excess_counts_and_is_the_difference_of_the_numbers_shown() -> None:
    said = modes_reading(28, 10, 0.92864, 0.83444)
    assert "92.9 %" in said
    assert "83.4 %" in said
    assert "excess, 9.5 points, tells something" in said
    assert "nothing is found" in modes_reading(28, 10, 0.75, 0.745)
    assert modes_reading(28, 10, math.nan, 0.8) == ""
