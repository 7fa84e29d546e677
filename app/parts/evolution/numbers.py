"""The curves of the page Evolution as numbers: a row for each metric and run."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from sing_monitor.app.charts.common import swatch
from sing_monitor.app.parts import intervals
from sing_monitor.app.read import curves
from sing_monitor.app.read.derived import derived
from sing_monitor.app.ui.downloads import csv_button
from sing_monitor.app.ui.selection import Selection
from sing_monitor.app.ui.widgets import epoch_slider, mark_column
from sing_monitor.app.wording import metrics, support_marks

_ORDER = (
    *("metric", "color", "label", "last", "last_mark", "last_interval", "difference", "best"),
    *("at_epoch", "at_epoch_mark", "at_epoch_interval", "last_epoch", "best_epoch"),
)


def draw_numbers(
    chosen: Selection, long: pd.DataFrame, known_by: Hashable, *, with_intervals: bool
) -> None:
    """Last, best and at a chosen epoch, with intervals and marks where the runs hold them.

    Args:
        chosen: whose curves.
        long: from `curves.add_difference`, with ``outside``, the share of images out of support.
        known_by: names the curves.
        with_intervals: read them.
    """
    epoch = epoch_slider(np.unique(long["epoch"]).tolist())
    known = {}
    if with_intervals:
        known["last"] = intervals.at_last_validation(chosen.runs)
        known["at_epoch"] = intervals.at_epoch(chosen.runs, epoch)
    about = tuple(intervals.known_by(table) for table in known.values())
    table = derived(
        ("numbers", known_by, epoch, about), partial(_numbers, chosen, long, epoch, known)
    )
    _table(chosen, table, epoch)
    with st.container(horizontal=True):
        csv_button("All curves as CSV", "curves.csv", long.drop(columns="x"))
        csv_button("This table as CSV", "numbers.csv", table)


def _numbers(
    chosen: Selection, long: pd.DataFrame, epoch: int, known: Mapping[str, pd.DataFrame]
) -> pd.DataFrame:
    baseline = chosen.baseline.run_id if chosen.baseline else None
    table = curves.last_and_best(long, epoch, baseline)
    epochs = {"last": table["last_epoch"], "at_epoch": pd.Series(epoch, table.index)}
    for name, at in epochs.items():
        table[f"{name}_mark"] = _marks(long, table, at)
        if name in known:
            table[f"{name}_interval"] = _intervals(known[name], table, at)
    return table


def _at(values: pd.DataFrame, table: pd.DataFrame, epochs: pd.Series) -> pd.DataFrame:
    """The last row of the values at the epoch of each row of the table; NaN where there is none."""
    by = ["series", "metric", "epoch"]
    wanted = table[by[:2]].assign(epoch=epochs.astype("Int64"))
    ends = values.drop_duplicates(by, keep="last").astype({"epoch": "Int64"})
    found = wanted.merge(ends, on=by, how="left")
    return found.set_index(table.index)


def _marks(long: pd.DataFrame, table: pd.DataFrame, epochs: pd.Series) -> pd.Series:
    found = _at(long[["series", "metric", "epoch", "outside"]], table, epochs)
    return support_marks.is_marked(found["outside"]).map({True: support_marks.MARK, False: ""})


def _intervals(known: pd.DataFrame, table: pd.DataFrame, epochs: pd.Series) -> pd.Series:
    found = _at(known, table, epochs)
    rows = zip(found["metric"], found["low"], found["high"], strict=True)
    return pd.Series([intervals.in_words(*row) for row in rows], table.index)


def _table(chosen: Selection, table: pd.DataFrame, epoch: int) -> None:
    colors = {run.run_id: swatch(run.series, height=28) for run in chosen.runs}
    known = set(metrics.in_catalogue_order(chosen.listing.columns))
    shown = table.assign(
        color=table["series"].map(colors),
        metric=[metrics.label(key) if key in known else key for key in table["metric"]],
    )
    # Columns without a single entry would only push the others out of the window.
    empty = [name for name in _ORDER if name not in shown or shown[name].isin([""]).all()]
    if chosen.baseline is None:
        empty.append("difference")
    config = st.column_config
    st.dataframe(
        shown,
        hide_index=True,
        column_order=[name for name in _ORDER if name not in empty],
        placeholder=metrics.MISSING,
        alt="Last and best values of each metric and run",
        column_config={
            "color": config.ImageColumn("", width=44),
            "label": config.TextColumn("Run", width=120),
            "metric": config.TextColumn("Metric", width=200),
            "last": config.NumberColumn("Last", format="%.4g"),
            "last_mark": mark_column(),
            "last_interval": config.TextColumn("95 % interval", help=intervals.ABOUT),
            "last_epoch": config.NumberColumn("Last: epoch"),
            "difference": config.NumberColumn("To the baseline", format="%+.4g"),
            "best": config.NumberColumn("Best", format="%.4g"),
            "best_epoch": config.NumberColumn("Best: epoch"),
            "at_epoch": config.NumberColumn(f"At epoch {epoch}", format="%.4g"),
            "at_epoch_mark": mark_column(),
            "at_epoch_interval": config.TextColumn("95 % interval", help=intervals.ABOUT),
        },
    )
