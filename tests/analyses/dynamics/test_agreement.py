"""Adjusted Rand index: scikit-learn's numbers, and where it is undefined."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from sing_monitor.analyses.dynamics.agreement import adjusted_rand_index


@pytest.mark.parametrize("seed", range(5))
def test_the_numbers_are_those_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one = rng.integers(0, 5, 200)
    other = np.where(rng.random(200) < 0.6, one, rng.integers(0, 7, 200))
    expected = adjusted_rand_score(one, other)
    assert 0.1 < expected < 0.9
    assert adjusted_rand_index(one, other) == pytest.approx(expected, rel=1e-12)


def test_names_of_groups_do_not_matter() -> None:
    one = np.array([0, 0, 1, 1, 2])
    assert adjusted_rand_index(one, np.array([7, 7, 3, 3, 0])) == 1


@pytest.mark.parametrize(
    ("one", "other"), [([], []), ([0], [3]), ([1, 1], [0, 0]), ([0, 1], [5, 2])]
)
def test_where_all_groupings_are_the_same_it_is_undefined(one: list[int], other: list[int]) -> None:
    groups = (np.array(each, dtype=np.int64) for each in (one, other))
    assert math.isnan(adjusted_rand_index(*groups))
