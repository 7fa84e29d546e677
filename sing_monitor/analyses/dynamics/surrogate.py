"""Surrogates of trajectories: walks with the same steps, each forward or back by chance."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from sing_monitor.analyses.dynamics.modes import (
    check_count,
    checked_sample,
    checked_trajectories,
)
from sing_monitor.analyses.dynamics.tree import ModeTree, Numbers

DRAWS = 5
_SAMPLED = 1_000


def random_walk_surrogate(
    trajectories: Tensor | ArrayLike,
    draws: int = DRAWS,
    seed: int = 0,
    *,
    sample: Tensor | ArrayLike | None = None,
    max_modes: int = 10,
) -> float:
    """The explained variance that walks without common motion reach; what lies above it is found.

    Every increment of every weight gets a random sign. So the walks have the increments' variances,
    weight by weight and validation by validation, and only chance correlates them: for trajectories
    that are independent random walks with symmetric increments they are draws of the same
    distribution, also where all steps become smaller together, as after a drop of the learning
    rate.

    Args:
        trajectories: of N weights at T validations, (N, T) floating point, T > 2.
        draws: number of surrogates.
        seed: of the signs.
        sample: rows of the weights that are clustered, (K,) int64; None: 1,000 at equal distances.
        max_modes: the most modes.

    Returns:
        The median over the draws, 0 to 1; NaN where no weight of the sample moves.

    Raises:
        ValueError: as :func:`correlation_modes` does, and for less than one draw.
    """
    values = checked_trajectories(trajectories)
    if sample is None:
        sample = np.linspace(0, len(values) - 1, min(_SAMPLED, len(values))).astype(np.int64)
    rows = checked_sample(sample, len(values))
    check_count("max_modes", max_modes)
    check_count("draws", draws)
    increments = np.diff(values.T, axis=0)
    return median(
        ModeTree.grow(walk(flipped), rows).explained(max_modes)
        for flipped in flips(increments, draws, seed)
    )


def flips(increments: Numbers, draws: int, seed: int) -> Iterator[Numbers]:
    """Increments (T - 1, N) with random signs, so many times."""
    rng = np.random.default_rng(seed)
    for _ in range(draws):
        signs = rng.integers(0, 2, increments.T.shape, dtype=np.int8).T
        yield increments * (2 * signs - 1)


def walk(increments: Numbers) -> Numbers:
    """The trajectories (T, N) from 0 that have these increments (T - 1, N)."""
    return np.cumsum(np.pad(increments, ((1, 0), (0, 0))), axis=0)
