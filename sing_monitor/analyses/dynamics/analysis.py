"""How the weights move over a sliding window: modes, what chance gives, and changes of regime."""

from __future__ import annotations

import math
from statistics import fmean

import numpy as np

from sing_monitor.analyses.analysis import Analysis
from sing_monitor.analyses.dynamics.specs import (
    CLUSTERED,
    CURVES,
    FEWEST,
    METRICS,
    MODE_SIZES,
    MODES,
    MOST_MODES,
    RECENT,
    WEIGHTS,
    WINDOW,
)
from sing_monitor.analyses.dynamics.stability import stability
from sing_monitor.analyses.dynamics.surrogate import flips, walk
from sing_monitor.analyses.dynamics.tables import (
    FoundModes,
    curves_table,
    sizes_table,
    weights_table,
)
from sing_monitor.analyses.dynamics.tree import Bools, ModeTree, Numbers, explained
from sing_monitor.findings import Findings
from sing_monitor.observation import Observation

_SEED = 0
# Every draw takes a clustering. Draws of 20,000 weights differ by 0.003 to 0.011 (standard
# deviation), their mean over two hardly more than the median of three.
_DRAWS = 2
_ENOUGH = 0.95


def analyze_dynamics(observation: Observation) -> Findings:
    """Correlation modes of the weights over the last 20 validations, with their surrogate.

    Returns:
        Scalars ``dynamics/*``, most of them NaN at the first 7 validations; afterwards tables
        ``modes``, ``mode_curves`` and ``mode_weights``.

    Raises:
        ValueError: if there is no trajectory.
    """
    if observation.trajectory is None:
        raise ValueError("what follows weights needs their trajectory; this observation has none.")
    window = observation.trajectory.last(WINDOW)
    moves, columns = window.moves, window.values.shape[1]
    moving = moves.nonzero()[:, 0].numpy()
    scalars = dict.fromkeys((spec.key for spec in METRICS), math.nan)
    scalars["dynamics/window"] = float(columns)
    # At one validation nothing can have moved.
    if columns > 1 and len(window):
        scalars["dynamics/weights"] = float(len(moving))
        scalars["dynamics/constant"] = 1 - len(moving) / len(window)
    if columns < FEWEST or len(moving) < 2:
        return Findings(scalars)
    values = np.ascontiguousarray(window.values.float().numpy()[moving].T)
    sample = np.searchsorted(moving, window.sample(CLUSTERED).numpy())
    tree = ModeTree.grow(values, sample)
    references = tree.references(MODES)
    mode, correlation = tree.joined(references)
    found = FoundModes(window, moving, references, mode, correlation, sample)
    recent, before = window.last(RECENT), window.without_last().last(RECENT)
    scalars |= _explained(tree, values, correlation, window.is_head.numpy()[moving]) | {
        "dynamics/modes_95": float(_sufficient(tree)),
        "dynamics/largest_mode": float(np.bincount(mode).max()) / len(moving),
        "dynamics/stability": stability(before, recent),
    }
    tables = {
        MODE_SIZES.name: sizes_table(found),
        CURVES.name: curves_table(found),
        WEIGHTS.name: weights_table(found),
    }
    return Findings(scalars, tables)


def _explained(
    tree: ModeTree, values: Numbers, correlation: Numbers, is_head: Bools
) -> dict[str, float]:
    """What the modes explain of trajectories, of increments and of the head, and what by chance.

    Args:
        tree: of the trajectories.
        values: the trajectories, (T, n) float32.
        correlation: of each to the reference of its mode, (n,).
        is_head: whether a weight belongs to the head, (n,).
    """
    whole, head, steps = [], [], math.nan
    increments = np.diff(values, axis=0)
    for draw, flipped in enumerate(flips(increments, _DRAWS, _SEED)):
        by_chance = ModeTree.grow(walk(flipped), tree.sample)
        chance = by_chance.nearness(by_chance.references(MODES))
        whole.append(explained(chance, by_chance.energies))
        head.append(explained(chance, by_chance.energies, is_head))
        if draw == 0:
            steps = ModeTree.grow(flipped, tree.sample).explained(MODES)
    found, surrogate = explained(correlation, tree.energies), fmean(whole)
    found_in_head = explained(correlation, tree.energies, is_head)
    found_in_steps = ModeTree.grow(increments, tree.sample).explained(MODES)
    return {
        "dynamics/explained": found,
        "dynamics/explained_surrogate": surrogate,
        "dynamics/explained_excess": found - surrogate,
        "dynamics/increments_excess": found_in_steps - steps,
        "dynamics/head_excess": found_in_head - fmean(head),
    }


def _sufficient(tree: ModeTree) -> int:
    """The fewest modes that explain 95 % of what twenty explain."""
    enough = _ENOUGH * tree.explained(MOST_MODES)
    return next(n for n in range(1, MOST_MODES + 1) if tree.explained(n) >= enough)


ANALYSIS = Analysis(
    "dynamics",
    analyze_dynamics,
    METRICS,
    (MODE_SIZES, CURVES, WEIGHTS),
    needs=frozenset({"weights"}),
)
