"""Tables of the modes: their layers, their reference curves, and some of their weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sing_monitor.analyses.dynamics.specs import CURVES, MODE_SIZES, SHOWN_WEIGHTS, WEIGHTS
from sing_monitor.analyses.dynamics.tree import Floats, Ints, Numbers
from sing_monitor.weights.trajectory import Trajectory

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, eq=False)
class FoundModes:
    """The modes of a window.

    Args:
        window: its trajectories, of N weights.
        moving: rows of those that move, (n,).
        references: rows of the references among the moving ones, (M,).
        mode: of each moving weight, (n,).
        correlation: of each to its reference, (n,).
        sample: rows that were clustered, among the moving ones, (K,).
    """

    window: Trajectory
    moving: Ints
    references: Ints
    mode: Ints
    correlation: Numbers
    sample: Ints


def sizes_table(found: FoundModes) -> DataFrame:
    """A row for each mode and layer that have weights in common; constant weights are mode -1."""
    from pandas import DataFrame

    layer = found.window.layer_index.numpy()
    mode = np.full(len(found.window), -1)
    mode[found.moving] = found.mode
    counts = np.zeros((len(found.references) + 1, len(found.window.layers)), dtype=np.int64)
    np.add.at(counts, (mode + 1, layer), 1)
    modes, depths = np.nonzero(counts)
    columns = {
        "mode": modes - 1,
        "size": counts.sum(axis=1)[modes],
        "depth": depths,
        "layer": [found.window.layers[depth] for depth in depths],
        "weights": counts[modes, depths],
        "share": counts[modes, depths] / counts.sum(axis=0)[depths],
    }
    return DataFrame(columns, columns=[column.name for column in MODE_SIZES.columns])


def curves_table(found: FoundModes) -> DataFrame:
    """A row for each reference and validation."""
    from pandas import DataFrame

    window, rows = found.window, found.moving[found.references]
    curves, validations = z_scored(window.values[rows].numpy()), window.values.shape[1]
    columns = {
        "mode": np.repeat(np.arange(len(rows)), validations),
        "layer": [name for name in _layers(window, rows) for _ in range(validations)],
        "validation": np.tile(np.arange(validations), len(rows)),
        "epoch": np.tile(window.epochs.numpy(), len(rows)),
        "value": curves.ravel(),
    }
    return DataFrame(columns, columns=[column.name for column in CURVES.columns])


def weights_table(found: FoundModes) -> DataFrame:
    """Some of the clustered weights, mode by mode, within it those nearest to the reference first.

    Every n-th one is taken, so that modes keep their shares.
    """
    from pandas import DataFrame

    sample = found.sample
    nearness = np.abs(found.correlation[sample])
    ordered = sample[np.lexsort((-nearness, found.mode[sample]))]
    count = min(SHOWN_WEIGHTS, len(ordered))
    shown = ordered[np.linspace(0, len(ordered) - 1, count).round().astype(np.int64)]
    curves = z_scored(found.window.values[found.moving[shown]].numpy()).astype(np.float32)
    columns = {
        "mode": found.mode[shown],
        "layer": _layers(found.window, found.moving[shown]),
        "correlation": found.correlation[shown].astype(np.float64),
        "curve": list(curves),
    }
    return DataFrame(columns, columns=[column.name for column in WEIGHTS.columns])


def z_scored(values: Numbers) -> Floats:
    """Trajectories less their mean over their standard deviation; none of them constant."""
    centered: Floats = values - values.mean(axis=1, keepdims=True, dtype=np.float64)
    return centered / centered.std(axis=1, keepdims=True)


def _layers(window: Trajectory, rows: Ints) -> list[str]:
    return [window.layers[layer] for layer in window.layer_index[rows].tolist()]
