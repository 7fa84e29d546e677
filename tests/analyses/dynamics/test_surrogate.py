"""Surrogates: what random walks reach, and that they exceed them by nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sing_monitor.analyses.dynamics import correlation_modes, random_walk_surrogate
from sing_monitor.analyses.dynamics.surrogate import flips, walk

SAMPLE = np.arange(0, 2000, 4)


def walks(seed: int, scale: Any = 1.0) -> NDArray[np.float64]:
    """Independent random walks of 20 steps, each weight with a step size of its own."""
    rng = np.random.default_rng(seed)
    steps = rng.standard_normal((2000, 20)) * rng.uniform(0.1, 2, (2000, 1))
    return (scale * steps).cumsum(axis=1)


@pytest.mark.parametrize("seed", range(5))
def test_random_walks_reach_three_quarters_and_do_not_exceed_their_surrogate(seed: int) -> None:
    values = walks(seed)
    explained = correlation_modes(values, SAMPLE).explained
    assert 0.68 < explained < 0.82
    surrogate = random_walk_surrogate(values, seed=seed, sample=SAMPLE)
    assert abs(explained - surrogate) < 0.05


@pytest.mark.parametrize("seed", range(5))
def test_steps_that_become_smaller_together_are_no_excess(seed: int) -> None:
    """After a drop of the learning rate fewer steps count, and chance explains more."""
    values = walks(seed, scale=np.where(np.arange(20) < 7, 1, 0.05))
    explained = correlation_modes(values, SAMPLE).explained
    assert explained > 0.85
    assert abs(explained - random_walk_surrogate(values, sample=SAMPLE)) < 0.05


def test_common_motion_exceeds_its_surrogate() -> None:
    rng = np.random.default_rng(0)
    common = rng.standard_normal((2000, 1)) * np.linspace(0, 1, 20) ** 2
    values = common + 0.05 * walks(1)
    explained = correlation_modes(values, SAMPLE).explained
    assert explained - random_walk_surrogate(values, sample=SAMPLE) > 0.15


def test_a_surrogate_has_the_increments_of_the_trajectories_but_for_their_signs() -> None:
    values = walks(3)[:50]
    (flipped,) = flips(np.diff(values.T, axis=0), 1, seed=0)
    made = walk(flipped).T
    assert made.shape == values.shape
    np.testing.assert_allclose(
        np.abs(np.diff(made, axis=1)), np.abs(np.diff(values, axis=1)), atol=1e-12
    )
    signs = np.sign(flipped.T) * np.sign(np.diff(values, axis=1))
    assert 0.4 < (signs > 0).mean() < 0.6


def test_the_same_seed_gives_the_same_surrogate() -> None:
    values = walks(0)[:200]
    one, same, other = (random_walk_surrogate(values, 1, seed=seed) for seed in (0, 0, 1))
    assert one == same != other
    assert 0 < random_walk_surrogate(values, 3, max_modes=1) < random_walk_surrogate(values, 3) < 1


def test_counts_may_be_numbers_of_an_array() -> None:
    values, one, two = walks(0)[:99], np.int64(1), np.int64(2)
    assert random_walk_surrogate(values, two, max_modes=one) == random_walk_surrogate(
        values, 2, max_modes=1
    )


@pytest.mark.parametrize("draws", [0, 1.5, True])
def test_draws_are_a_count(draws: Any) -> None:
    with pytest.raises(ValueError, match="draws must be an integer of at least 1"):
        random_walk_surrogate(walks(0)[:9], draws)
