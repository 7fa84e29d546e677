"""The numbers that sum up a trade-off, as bars of the picked runs at one epoch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from sing_monitor.app.charts.bars import BarLabels, bars
from sing_monitor.app.charts.common import alt_text
from sing_monitor.app.parts import intervals
from sing_monitor.app.ui import states
from sing_monitor.app.ui.downloads import csv_button
from sing_monitor.app.ui.drawing import show_chart
from sing_monitor.app.ui.selection import Selection
from sing_monitor.app.wording import metrics, random_heads

# Runs of earlier versions have not the first.
_REFIT = ("sing/class_hidden", "sing/retention_seen")
_BARS = (*_REFIT, "sing/score_ratio_centered", "sing/image_score_relative")
KEYS = (*_BARS, *metrics.companions(_BARS))


def draw_bars(
    chosen: Selection, histories: Mapping[str, pd.DataFrame], epoch: int, sure: pd.DataFrame
) -> None:
    """A chart for each number, below each other, with their CSV.

    Args:
        chosen: whose.
        histories: by run id, from `page.read_histories`, with `KEYS`.
        epoch: of the bars.
        sure: the intervals at the epoch, from `intervals.at_epoch`.
    """
    tables = []
    runs = [run for run in chosen.runs if run.run_id in histories]
    ridge = intervals.along_ridge(runs, epoch)
    for key in _BARS:
        random = metrics.baseline_of(key)
        values, longest = _heights(chosen, histories, key, epoch)
        if longest is None and key in _REFIT:
            continue
        if longest is None:
            states.no_values(metrics.label(key))
            continue
        bounds = sure.loc[sure["metric"] == key, ["series", "low", "high"]]
        values = values.merge(bounds, on="series", how="left")
        values = _along_ridge(values, ridge[ridge["metric"] == key])
        spec = metrics.spec_of(key)
        about = [metrics.DIRECTIONS[spec.better], "gray: random subspace" if random else ""]
        about += [random_heads.BAND_RULE if values["band_low"].notna().any() else ""]
        about += ["thin: other ridges" if values["thin_low"].notna().any() else ""]
        around = BarLabels(
            title=metrics.label(key),
            about=" · ".join(filter(None, [f"epoch {epoch}", *about])),
            longest=float(
                np.nanmax(
                    [longest, *values[["high", "thin_high", "band_high"]].to_numpy(float).flat]
                )
            ),
            caveat=chosen.caveat(key),
        )
        series = [run.series for run in runs]
        what = alt_text(f"{metrics.label(key)} at epoch {epoch}", series)
        with st.container(gap="xxsmall"):
            place = partial(show_chart, key=f"bars {key}", alt_text=what)
            place(bars, values, around, series)
            st.caption("How to read this", help=metrics.explanation(key))
        tables.append(values.assign(metric=key, epoch=epoch).drop(columns="text"))
    if len(sure):
        intervals.show_note()
    if tables:
        csv_button("Bars as CSV", "bars.csv", pd.concat(tables, ignore_index=True))


def _along_ridge(values: pd.DataFrame, ends: pd.DataFrame) -> pd.DataFrame:
    """With thin_low and thin_high, the range for ridges that serve as well; NaN where unknown."""
    known = values.merge(ends[["series", "below", "above"]], on="series", how="left")
    below, above = known.pop("below").astype(float), known.pop("above").astype(float)
    return known.assign(thin_low=known["value"] + below, thin_high=known["value"] + above)


def _heights(
    chosen: Selection,
    histories: Mapping[str, pd.DataFrame],
    key: str,
    epoch: int,
) -> tuple[pd.DataFrame, float | None]:
    """The value of each run at the epoch, and the largest of all epochs; None: there is none."""
    rows: list[dict[str, object]] = []
    seen: list[float] = []
    for run in chosen.runs:
        if run.run_id not in histories:
            continue
        history = histories[run.run_id]
        last = history[history["epoch"] == epoch].tail(1)
        heights = {}
        columns = {
            "value": key,
            "random": metrics.baseline_of(key),
            "spread": metrics.spread_of(key),
            "outside": metrics.support_of(key),
        }
        for name, column in columns.items():
            known = column is not None and column in history
            heights[name] = float(last[column].iloc[0]) if known and len(last) else np.nan
            is_height = known and name in ("value", "random")
            seen += history[column].dropna().tolist() if is_height else []
        text = metrics.value_text(key, heights["value"])
        band = random_heads.beside(heights["value"], heights.pop("spread"), text)
        rows.append({"series": run.run_id, "label": run.label, **heights, **band})
    longest = max(seen, default=0.0)
    return pd.DataFrame(rows), longest if longest > 0 else None
