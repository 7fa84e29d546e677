"""From the curves of single runs to the tables that charts draw; pure functions of data frames.

The *long* table that they pass on has one row for each run, metric and validation: ``series``
(run id, or group), ``label``, ``metric``, ``epoch``, ``global_step``, ``timestamp``, ``x`` and
``value``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sing_monitor.app.wording.metrics import better

Axis = Literal["Epoch", "Step", "Time"]
AXES: tuple[Axis, ...] = ("Epoch", "Step", "Time")
STAGE = "monitor/stage"

_LONG = ["series", "label", "metric", "epoch", "global_step", "timestamp", "x", "value"]

_SEED = re.compile(r"[\W_]*(?<![A-Za-z0-9])(?:random[\W_]?)?seed[\W_]*\d+(?!\d)", re.I)
_SEED_PARAM = re.compile(r"(?:^|[\W_])seed$", re.I)
_SEED_TAGS = (
    *("sing.model", "sing.head", "sing.space", "sing.reference", "sing.invariance"),
    "sing.hierarchy",
)


def training_history(scalars: pd.DataFrame) -> pd.DataFrame:
    """The validations of training in their order, each once.

    Later calls of ``trainer.validate`` are no part of the history, unless there is nothing else.
    Where a resumed run repeated a validation, the newest counts. A run that logged no epoch is
    counted by MLflow's step.

    Args:
        scalars: from `RunReader.scalars`, with ``monitor/stage`` where it was logged.
    """
    frame = scalars
    if STAGE in frame:
        outside = frame[STAGE].eq(1)
        if outside.any() and not outside.all():
            frame = frame[~outside]
    epoch = frame["epoch"]
    if epoch.isna().any():
        epoch = frame["step"] if epoch.isna().all() else epoch.ffill().bfill()
    frame = frame.assign(epoch=epoch.astype("int64"))
    steps = frame["step" if frame["global_step"].isna().all() else "global_step"]
    # As most runs are: to sort and to compare takes ten times as long.
    if _is_in_order(frame["epoch"], steps):
        return frame.reset_index(drop=True)
    frame = frame.assign(order=steps.astype("Float64"))
    newest = frame.sort_values("timestamp", kind="stable").drop_duplicates(
        ["epoch", "order"], keep="last"
    )
    return (
        newest.sort_values(["epoch", "order", "timestamp"], kind="stable")
        .drop(columns="order")
        .reset_index(drop=True)
    )


def _is_in_order(epoch: pd.Series, order: pd.Series) -> bool:
    """Whether each validation comes after the one before it, by epoch and, within one, by step."""
    epochs, steps = epoch.to_numpy("float64"), order.to_numpy("float64", na_value=np.nan)
    later, same = np.diff(epochs) > 0, np.diff(epochs) == 0
    return bool(np.isfinite(steps).all() and (later | (same & (np.diff(steps) > 0))).all())


def x_positions(history: pd.DataFrame, axis: Axis, started: pd.Timestamp | None) -> pd.Series:
    """Where each validation stands on the axis.

    Several validations of one epoch are spread over it, the last of them at its number. Time is in
    seconds since the run's start.
    """
    if axis == "Step":
        steps = history["global_step"].astype("Float64")
        return steps.fillna(history["step"].astype("Float64")).astype("float64")
    if axis == "Time":
        start = history["timestamp"].min() if pd.isna(started) else started
        return (history["timestamp"] - start).dt.total_seconds()
    if history["epoch"].is_unique:
        return history["epoch"].astype("float64")
    in_epoch = history.groupby("epoch")["epoch"]
    left = in_epoch.transform("size") - 1 - in_epoch.cumcount()
    return history["epoch"] - left / in_epoch.transform("size")


def long_table(
    histories: Mapping[str, pd.DataFrame],
    columns: Sequence[str],
    *,
    axis: Axis = "Epoch",
    labels: Mapping[str, str],
    started: Mapping[str, pd.Timestamp] | None = None,
) -> pd.DataFrame:
    """All runs and metrics under each other.

    Args:
        histories: by run id, from `training_history`.
        columns: metrics; absent ones count as never logged.
        axis: what ``x`` is.
        labels: by run id.
        started: by run id, for the axis Time.

    Returns:
        The rows of each metric together, and of all metrics in the same order.
    """
    known = [
        column
        for column in dict.fromkeys(columns)
        if any(column in history for history in histories.values())
    ]
    if not known:
        return pd.DataFrame(columns=_LONG)
    places = []
    for run, history in histories.items():
        x = x_positions(history, axis, (started or {}).get(run))
        at = history[["epoch", "global_step", "timestamp"]]
        places.append(at.assign(series=run, label=labels[run], x=x))
    # Apart from the places, since a training may call a metric ``x`` or ``value``.
    parts = [history.reindex(columns=known) for history in histories.values()]
    values = pd.concat(parts, ignore_index=True).to_numpy("float64")
    place = pd.concat(places, ignore_index=True)
    long = place.iloc[np.tile(np.arange(len(place)), len(known))].reset_index(drop=True)
    metric = pd.Series(known, dtype="str").repeat(len(place)).reset_index(drop=True)
    return long.assign(metric=metric, value=values.ravel("F"))[_LONG]


def by_metric(long: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows of each metric of a `long_table`."""
    metric = pd.factorize(long["metric"])[0]
    starts = np.flatnonzero(np.diff(metric, prepend=-1)).tolist()
    parts = (long.iloc[start:end] for start, end in pairwise([*starts, len(long)]))
    return {part["metric"].iloc[0]: part for part in parts}


def beside(long: pd.DataFrame, others: Mapping[str, str | None]) -> NDArray[np.float64]:
    """The value of another metric at the same validation, NaN where there is none, (N,).

    Args:
        long: from `long_table`.
        others: the other metric by metric.
    """
    values = {metric: part["value"].to_numpy() for metric, part in by_metric(long).items()}
    parts = [
        values.get(others.get(metric) or "", np.full(len(own), np.nan))
        for metric, own in values.items()
    ]
    return np.concatenate(parts)


def add_difference(long: pd.DataFrame, baseline: str | None) -> pd.DataFrame:
    """With ``difference``: the value less the baseline's at the end of the same epoch."""
    if baseline is None or long.empty:
        return long.assign(difference=np.nan)
    of_baseline = long[long["series"] == baseline]
    at_epoch = of_baseline.groupby(["metric", "epoch"])["value"].last()
    keys = pd.MultiIndex.from_frame(long[["metric", "epoch"]])
    difference = long["value"].to_numpy() - at_epoch.reindex(keys).to_numpy()
    return long.assign(difference=difference)


def last_and_best(
    long: pd.DataFrame, at_epoch: int | None = None, baseline: str | None = None
) -> pd.DataFrame:
    """One row for each metric and run: last, best, and at an epoch, each with its difference.

    What is best follows `metrics.better`; metrics without a good direction have none. The baseline
    has no difference to itself.

    Args:
        long: with ``difference``, from `add_difference`.
        at_epoch: None: leave the column out.
        baseline: its series.
    """
    by = ["metric", "series"]
    rows = long[[*by, "label"]].drop_duplicates(by)
    place = pd.DataFrame({column: pd.factorize(rows[column])[0] for column in by}, rows.index)
    rows = rows.loc[place.sort_values(by).index].reset_index(drop=True)
    parts = {
        "last": last_values(long),
        "best": best_values(long),
        "at_epoch": last_values(long[long["epoch"] == at_epoch]),
    }
    for name, found in parts.items():
        values = found[[*by, "value", "epoch"]]
        values.columns = pd.Index([*by, name, f"{name}_epoch"])
        rows = rows.merge(values, on=by, how="left")
    rows = rows.merge(parts["last"][[*by, "difference"]], on=by, how="left")
    rows.loc[rows["series"] == baseline, "difference"] = np.nan
    unasked = ["at_epoch", "at_epoch_epoch"] if at_epoch is None else ["at_epoch_epoch"]
    return rows.drop(columns=unasked).astype({"last_epoch": "Int64", "best_epoch": "Int64"})


def last_values(long: pd.DataFrame) -> pd.DataFrame:
    """The last row with a value of each metric and run."""
    return long.dropna(subset="value").drop_duplicates(["metric", "series"], keep="last")


def best_values(long: pd.DataFrame) -> pd.DataFrame:
    """The row with the best value of each metric and run, the first of equals.

    What is best follows `metrics.better`; metrics without a good direction have none.
    """
    signs = {"higher": 1.0, "lower": -1.0, "none": np.nan}
    sign = {metric: signs[better(metric)] for metric in long["metric"].unique()}
    merit = (long["value"] * long["metric"].map(sign).astype("float64")).dropna()
    by = [long.loc[merit.index, column] for column in ("metric", "series")]
    return long.loc[merit.groupby(by, sort=False).idxmax()]


def configurations(rows: pd.DataFrame) -> dict[str, str]:
    """Runs that differ in nothing but the seed: run id -> the configuration's key.

    Two runs share a configuration if model, head, space, reference, invariance and the tree of
    classes are the same, and all parameters but the seed. Runs without parameters must also share
    their name, the seed in it left out.

    Args:
        rows: of `list_runs`, perhaps with parameters as ``param.<name>``.
    """
    params = [column for column in rows.columns if column.startswith("param.")]
    relevant = [column for column in params if not _SEED_PARAM.search(column)]
    needed = [*_SEED_TAGS, *params, "run_name", "run_id"]
    found = {}
    for row in rows[[name for name in needed if name in rows]].to_dict("records"):
        parts = [str(row.get(tag)) for tag in _SEED_TAGS]
        if any(pd.notna(row[column]) for column in params):
            parts += [f"{column}={row[column]}" for column in relevant]
        else:
            name = row["run_name"]
            parts.append(without_seed(name) if isinstance(name, str) and name else row["run_id"])
        found[row["run_id"]] = "\n".join(parts)
    return found


def without_seed(name: str) -> str:
    """A run's name without its seed.

    Example::

        >>> without_seed("resnet18 seed=3"), without_seed("vit_seed2_long")
        ('resnet18', 'vit_long')
    """
    return _SEED.sub("", name).strip(" ,;:_-()[]") or "any seed"


def over_seeds(long: pd.DataFrame, groups: Mapping[str, str]) -> pd.DataFrame:
    """Mean, smallest and largest value of each group at each point of the axis.

    Args:
        long: from `long_table`; perhaps with ``outside``, the share of images out of support.
        groups: run id -> group, which becomes the ``series``.

    Returns:
        Columns series, metric, epoch, x, value (the mean), low, high, n (runs with a value), and
        the mean of ``outside``.
    """
    grouped = long.assign(series=long["series"].map(groups)).groupby(
        ["series", "metric", "epoch", "x"], sort=False
    )
    bands = grouped["value"].agg(value="mean", low="min", high="max", n="count")
    if "outside" in long:
        bands["outside"] = grouped["outside"].mean()
    bands = bands.reset_index()
    return bands.sort_values(["metric", "series", "x"], kind="stable").reset_index(drop=True)


def time_unit(seconds: Iterable[float]) -> tuple[str, float]:
    """A unit in which the longest time is a handy number: its name, and its seconds."""
    longest = max((value for value in seconds if np.isfinite(value)), default=0.0)
    units = (("hours", 3600.0), ("minutes", 60.0))
    return next(((name, size) for name, size in units if longest > 2 * size), ("seconds", 1.0))
