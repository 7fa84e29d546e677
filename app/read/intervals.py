"""How certain the headline scalars are, from the table ``intervals`` of the validations."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import pandas as pd
import streamlit as st

from sing_monitor.app.read import epoch_tables, metrics
from sing_monitor.app.ui.selection import Run

ABOUT = (
    "What the interval covers is the choice of images alone: how far the number could have "
    "differed on other images of the same classes. Another training, or a translator fitted on "
    "other images, may well lead outside."
)
# Each is a file to fetch.
MOST = 20
_COLUMNS = ("key", "value", "low", "high")


def of_training(runs: Sequence[Run], epochs: Sequence[int]) -> pd.DataFrame:
    """The intervals of the runs, at the last epoch and others evenly before it.

    Args:
        runs: picked.
        epochs: of which there are curves, in order.

    Returns:
        Columns series, epoch, metric, low and high; no row for runs that hold no intervals.
    """
    apart = -(-len(epochs) // MOST)
    return _read(runs, set(epochs[::-1][:: max(apart, 1)])).drop(columns="value")


def at(runs: Sequence[Run], epoch: int) -> pd.DataFrame:
    """The same at one epoch."""
    return of_training(runs, [epoch])


def last(runs: Sequence[Run]) -> pd.DataFrame:
    """The same at the last validation with tables of each run, with the ``value`` it is about."""
    parts = [_read([run], {max(steps)}) for run in runs if (steps := epoch_tables.last_steps(run))]
    return pd.concat(parts, ignore_index=True) if parts else _one_table([])


def of_logged(runs: Sequence[Run]) -> dict[tuple[str, str], str]:
    """The interval of each last logged value in words, by run id and metric.

    A value that was logged after the last table, as while a run grows, has none.
    """
    rows = {run.run_id: run.row for run in runs}
    return {
        (row["series"], row["metric"]): said(row["metric"], row["low"], row["high"])
        for row in last(runs).to_dict("records")
        if math.isclose(
            rows[row["series"]].get(row["metric"], math.nan), row["value"], rel_tol=1e-5
        )
    }


def said(key: str, low: float, high: float) -> str:
    """The interval of a metric in words; empty where there is none.

    Example::

        >>> said("sing/retention", 0.90512, 0.95), said("sing/retention", math.nan, math.nan)
        ('0.91 to 0.95', '')
    """
    return f"{metrics.show(key, low)} to {metrics.show(key, high)}" if math.isfinite(low) else ""


def say() -> None:
    """What the intervals cover, where some are drawn."""
    st.caption("95 % intervals, over the choice of images alone.", help=ABOUT)


def _read(runs: Sequence[Run], wanted: Collection[int]) -> pd.DataFrame:
    parts = []
    for run in runs:
        steps = {at: pair for at, pair in epoch_tables.last_steps(run).items() if at in wanted}
        for epoch, table in epoch_tables.history(run, "intervals", steps, columns=_COLUMNS).items():
            parts.append(table.assign(series=run.run_id, epoch=epoch))
    return _one_table(parts)


def _one_table(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    columns = ["series", "epoch", "metric", "value", "low", "high"]
    if not parts:
        return pd.DataFrame(columns=columns)
    return pd.concat(parts, ignore_index=True).rename(columns={"key": "metric"})[columns]
