"""Stability: whether weights still follow the references that they followed a validation before."""

from __future__ import annotations

import math

import numpy as np

from sing_monitor.analyses.dynamics.agreement import adjusted_rand_index
from sing_monitor.analyses.dynamics.specs import CLUSTERED, FEWEST, MODES
from sing_monitor.analyses.dynamics.tree import ModeTree, Numbers, directions_of, joined
from sing_monitor.weights.trajectory import Trajectory


def stability(before: Trajectory, now: Trajectory) -> float:
    """Adjusted Rand index of the modes of two windows, both with the references of the first.

    A few modes divide what is a continuum, so new references would group the weights anew where
    nothing has changed. And the first steps of a regime are the largest: a window shows the next
    one when it has left them behind, so a short window shows it early.

    Args:
        before: a few validations.
        now: of the same weights, a few validations that end one later.

    Returns:
        1: all weights follow the same reference; 0: as by chance. NaN for fewer than 8 validations
        before, and where fewer than two weights move.
    """
    moved = before.moves.numpy()
    if before.values.shape[1] < FEWEST or moved.sum() < 2:
        return math.nan
    tree = ModeTree.grow(_values(before), before.sample(CLUSTERED).numpy())
    references = tree.references(MODES)
    # A reference that stands still now is followed by nobody: all its correlations are 0.
    directions, _ = directions_of(_values(now))
    both = moved & now.moves.numpy()
    old, new = (each[both] for each, _ in (tree.joined(references), joined(directions, references)))
    return adjusted_rand_index(new, old)


def _values(window: Trajectory) -> Numbers:
    """Its trajectories, (T, N), 0 where they do not move."""
    return np.where(window.moves.numpy(), window.values.T.float().numpy(), 0)
