"""How certain the headline scalars are, from the table ``intervals`` of the validations."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from sing_monitor.app import at_epoch
from sing_monitor.app.selection import Run

ABOUT = (
    "What the interval covers is the choice of images alone: how far the number could have "
    "differed on other images of the same classes. Another training, or a translator fitted on "
    "other images, may well lead outside."
)
# Each is a file to fetch.
MOST = 12
_COLUMNS = ("key", "low", "high")


def of_training(runs: Sequence[Run], epochs: Sequence[int]) -> pd.DataFrame:
    """The intervals of the runs, at the last epoch and others evenly before it.

    Args:
        runs: picked.
        epochs: of which there are curves, in order.

    Returns:
        Columns series, epoch, metric, low and high; no row for runs that hold no intervals.
    """
    apart = -(-len(epochs) // MOST)
    wanted = set(epochs[::-1][:: max(apart, 1)])
    parts = []
    for run in runs:
        steps = {at: pair for at, pair in at_epoch.last_steps(run).items() if at in wanted}
        for epoch, table in at_epoch.history(run, "intervals", steps, columns=_COLUMNS).items():
            parts.append(table.assign(series=run.run_id, epoch=epoch))
    return _one_table(parts)


def at(runs: Sequence[Run], epoch: int) -> pd.DataFrame:
    """The same at one epoch."""
    return of_training(runs, [epoch])


def say() -> None:
    """What the intervals cover, where some are drawn."""
    st.caption(f"95 % intervals. {ABOUT}")


def _one_table(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    columns = ["series", "epoch", "metric", "low", "high"]
    if not parts:
        return pd.DataFrame(columns=columns)
    return pd.concat(parts, ignore_index=True).rename(columns={"key": "metric"})[columns]
