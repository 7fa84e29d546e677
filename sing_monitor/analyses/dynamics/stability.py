"""Stability: whether weights follow the references that they followed at the last validation."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from sing_monitor.analyses.dynamics.agreement import adjusted_rand_index
from sing_monitor.analyses.dynamics.specs import CLUSTERED, MODES
from sing_monitor.analyses.dynamics.tree import ModeTree
from sing_monitor.weights.trajectory import Trajectory

_MODE, _REFERENCES = "dynamics/mode", "dynamics/references"


def followed(recent: Trajectory, previous: Mapping[str, Tensor]) -> tuple[float, dict[str, Tensor]]:
    """Adjusted Rand index of the modes and those of the last validation, by its references.

    A few modes divide what is a continuum, so new references would group the weights anew where
    nothing has changed. And the first steps of a regime are the largest: a window shows the next
    one when it has left them behind, so a short window shows it early.

    Args:
        recent: the last few validations.
        previous: what was kept at the last validation, by name.

    Returns:
        1: all weights follow the same reference; 0: as by chance. NaN without a last validation of
        the same weights. And what the next validation needs: the mode of each weight, (N,) int8, -1
        for a constant one, and the rows of the references, (M,) int64.
    """
    moves = recent.moves.numpy()
    if moves.sum() < 2:
        return math.nan, {}
    values = np.where(moves, recent.values.T.float().numpy(), 0)
    tree = ModeTree.grow(values, recent.sample(CLUSTERED).numpy())
    references = tree.references(MODES)
    modes = np.where(moves, tree.joined(references)[0], -1)
    kept = {
        _MODE: torch.from_numpy(modes).to(torch.int8),
        _REFERENCES: torch.from_numpy(references),
    }
    before, rows = previous.get(_MODE), previous.get(_REFERENCES)
    if before is None or rows is None or before.shape != (len(recent),):
        return math.nan, kept
    # A reference that stands still now is followed by nobody: all its correlations are 0.
    now, _ = tree.joined(rows.numpy())
    old = before.numpy().astype(np.int64)
    both = moves & (old >= 0)
    return adjusted_rand_index(now[both], old[both]), kept
