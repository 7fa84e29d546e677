"""The modes of the weights as a store holds them, made fit to draw; pure functions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sing_monitor.app.wording.text import one_line, short

MODE_COLUMNS = ("mode", "size", "depth", "layer", "weights", "share")
CURVE_COLUMNS = ("mode", "layer", "validation", "epoch", "value")
WEIGHT_COLUMNS = ("mode", "layer", "correlation", "curve")
# The mode of weights that never change.
STILL = -1
MOST_WEIGHTS = 500
_LONGEST = 32


def read_modes(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``modes`` in the order of layers and modes; numbers are numbers."""
    known = _numbers(table, ("mode", "size", "depth", "weights", "share"))
    known = known.assign(layer=known["layer"].map(_name))
    return known.astype({"mode": int}).sort_values(["depth", "mode"], ignore_index=True)


def read_curves(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``mode_curves`` in the order of modes and time; numbers are numbers."""
    known = _numbers(table, ("mode", "validation", "epoch", "value"))
    known = known.assign(layer=known["layer"].map(_name))
    return known.astype({"mode": int}).sort_values(["mode", "validation"], ignore_index=True)


def read_weights(table: pd.DataFrame) -> tuple[pd.DataFrame, NDArray[np.float64]]:
    """The rows of ``mode_weights`` by mode, and ``|corr|`` of any two of their curves.

    Rows whose curve is none, or shorter or longer than most, are left out.

    Returns:
        The rows, and (n, n), 0 to 1; n is at most 500.
    """
    known = _numbers(table, ("mode", "correlation"))
    curves = known["curve"].map(_curve)
    lengths = curves.map(len)
    usual = lengths[lengths > 1].mode()
    known = known[lengths.isin(usual.head(1))].astype({"mode": int})
    known = known.sort_values("mode", kind="stable")
    if len(known) > MOST_WEIGHTS:
        places = np.linspace(0, len(known) - 1, MOST_WEIGHTS).round().astype(int)
        known = known.iloc[places]
    if known.empty:
        return known, np.empty((0, 0))
    values = np.stack(curves[known.index].tolist())
    values = values - values.mean(axis=1, keepdims=True)
    lengths_of = np.linalg.norm(values, axis=1, keepdims=True)
    values = values / np.where(lengths_of > 0, lengths_of, 1)
    return known.reset_index(drop=True), np.abs(values @ values.T).clip(0, 1)


def by_mode(modes: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """A row for each mode: mode, weights, share of the weights that move, layer of its reference.

    Args:
        modes: from `read_modes`.
        curves: from `read_curves`.
    """
    moving = modes[modes["mode"] != STILL]
    weights = moving.groupby("mode")["weights"].sum()
    found = pd.DataFrame({"weights": weights, "share": weights / weights.sum()})
    found["reference"] = curves.drop_duplicates("mode").set_index("mode")["layer"]
    return found.reset_index()


def shares(modes: pd.DataFrame, most: int) -> tuple[pd.DataFrame, list[str], int]:
    """A row for each layer and mode, also those that have no weights in common.

    Args:
        modes: from `read_modes`.
        most: so many layers at most, the first ones.

    Returns:
        Columns depth, layer, name (short, and different for each layer), mode, column (the mode in
        words), weights and share; the columns in their order; and how many layers are left out.
    """
    layers = modes.drop_duplicates("depth").set_index("depth")["layer"]
    drawn = layers.head(most)
    numbers = sorted(modes["mode"].unique(), key=lambda mode: (mode == STILL, mode))
    grid = pd.MultiIndex.from_product([drawn.index, numbers], names=["depth", "mode"])
    cells = modes.drop_duplicates(["depth", "mode"]).set_index(["depth", "mode"])
    cells = cells[["weights", "share"]].reindex(grid, fill_value=0).reset_index()
    name = drawn.map(lambda each: short(each, _LONGEST))
    repeats = name.groupby(name).cumcount()
    name = name.where(repeats == 0, name + " (" + repeats.map(str) + ")")
    cells = cells.assign(
        layer=cells["depth"].map(drawn),
        name=cells["depth"].map(name),
        column=cells["mode"].map(mode_name),
    )
    return cells, [mode_name(mode) for mode in numbers], len(layers) - len(drawn)


def blocks(modes: Sequence[int], correlations: NDArray[np.float64]) -> pd.DataFrame:
    """A row for each pair of modes of a matrix that is sorted by mode.

    Args:
        modes: of the rows, (n,), in order.
        correlations: (n, n).

    Returns:
        Columns first, second (modes), top, below, left, right (rows and columns) and mean.
    """
    numbers, starts, counts = np.unique(np.asarray(modes), return_index=True, return_counts=True)
    rows = []
    for first, top, height in zip(numbers, starts, counts, strict=True):
        for second, left, width in zip(numbers, starts, counts, strict=True):
            part = correlations[top : top + height, left : left + width]
            rows.append((first, second, top, top + height, left, left + width, part.mean()))
    columns = ["first", "second", "top", "below", "left", "right", "mean"]
    return pd.DataFrame(rows, columns=columns)


def mode_name(mode: int) -> str:
    """As columns are called: the number, or that these weights stand still."""
    return "still" if mode == STILL else str(mode)


def _numbers(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The rows that have a finite number in each of these columns."""
    numbers = table[list(columns)].apply(pd.to_numeric, errors="coerce").astype(float)
    is_known = np.isfinite(numbers).all(axis=1)
    return table.assign(**{name: numbers[name] for name in columns})[is_known]


def _curve(values: object) -> NDArray[np.float64]:
    """The curve of a weight; empty for anything else."""
    try:
        curve = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        return np.empty(0)
    return curve if curve.ndim == 1 and np.isfinite(curve).all() else np.empty(0)


def _name(name: object) -> str:
    return one_line(str(name)) or "(no name)"
