"""Ranks of the stages of the picked runs: a chart for each run, or how to get one."""

from __future__ import annotations

from functools import partial

import pandas as pd
import streamlit as st

from sing_monitor.app.charts.common import alt_text
from sing_monitor.app.charts.structure import depth as charts
from sing_monitor.app.parts import epoch_tables
from sing_monitor.app.read import store
from sing_monitor.app.read.left_out import left_out
from sing_monitor.app.ui import states
from sing_monitor.app.ui.downloads import csv_button
from sing_monitor.app.ui.drawing import show_chart
from sing_monitor.app.ui.selection import Run, Selection
from sing_monitor.app.ui.widgets import epoch_slider
from sing_monitor.app.wording.depth import depth_reading
from sing_monitor.app.wording.text import listed, plain

# Runs with stages log it at every validation; NaN where there is one alone.
OF_STAGES = "layers/rank_drop"
_NAMED = 3
_ABOUT = (
    "In how many directions the features of a stage vary, each counted by how much. Strong: the "
    "chosen epoch; faint: the others, the earliest the faintest. Gray tick: the largest rank "
    "possible, which is the number of channels or of images; none where it lies above the axis."
)
_HELP = (
    "A stage is a part of the network, and its output is averaged over the locations. Where the "
    "line falls, later stages keep fewer of the differences between images. That is what a "
    "classifier is for, as long as the head's classes stay apart. Ranks of stages with few "
    "channels are bounded by these: a line that rises at the start says little."
)


def draw_depth(chosen: Selection, long: pd.DataFrame) -> None:
    """The charts of the runs with stages at one epoch, and a line about the runs without.

    Args:
        chosen: whose.
        long: from `curves.long_table`, with `OF_STAGES`.
    """
    st.markdown("**Rank over depth**", help=_HELP)
    numbers = long[(long["metric"] == OF_STAGES) & long["value"].notna()]
    known = set(numbers["series"])
    runs: list[Run] = []
    without: list[str] = []
    for run in chosen.runs:
        config = states.quietly(partial(store.config, run.source)) or {}
        not_chosen = left_out("layers", config)
        if run.run_id in known or config.get("layers"):
            runs.append(run)
        elif not_chosen is None:
            without.append(plain(run.label))
        else:
            st.caption(f"{plain(run.label)}: {plain(not_chosen)}")
    if without:
        st.caption(
            f"{listed(without)}: no ranks by layer, since no stages were looked at. "
            "`SINGCallback(layers=True)` takes them in the validation pass of the next training."
        )
    if runs:
        st.fragment(_panels)(runs)


def _panels(runs: list[Run]) -> None:
    steps = {run.run_id: epoch_tables.last_validations(run) for run in runs}
    epochs = sorted({epoch for known in steps.values() for epoch in known})
    if not epochs:
        st.caption("No tables so far; they are written after each validation.")
        return
    st.caption(_ABOUT)
    epoch = epoch_slider(epochs, label="Ranks at epoch", key="depth")
    rows = {}
    for run in runs:
        known = steps[run.run_id]
        at = {each: known[each] for each in charts.spread(epochs, epoch) if each in known}
        tables = epoch_tables.tables_by_epoch(run, "layers", at)
        complete = {
            each: table for each, table in tables.items() if set(charts.COLUMNS) <= set(table)
        }
        if tables and not complete:
            # Says once what they lack.
            states.has_columns(next(iter(tables.values())), charts.COLUMNS, "layers")
        if complete:
            rows[run.run_id] = charts.depth_rows(complete)
    drawn = [run for run in runs if run.run_id in rows and rows[run.run_id]["rank"].notna().any()]
    if not drawn:
        st.caption("No rank so far: no stage gave one vector that varies from image to image.")
        return
    top = max(float(rows[run.run_id]["rank"].max()) for run in drawn)
    with st.grid(min_column_width=360, gap="medium") as grid:
        for run in drawn:
            with grid.cell(), st.container(gap="xxsmall"):
                _panel(run, rows[run.run_id], epoch, top)
    table = pd.concat([rows[run.run_id].assign(run=run.label) for run in drawn])
    csv_button("Ranks as CSV", "layers.csv", table[["run", "epoch", *charts.COLUMNS]])


def _panel(run: Run, rows: pd.DataFrame, epoch: int, top: float) -> None:
    here = rows[rows["epoch"] == epoch].sort_values("place")
    shown = sorted(rows["epoch"].unique())
    others = [each for each in shown if each != epoch]
    about = f"epoch {epoch}" if len(here) else f"not measured at epoch {epoch}"
    if others:
        about += f" · faint: {_epochs(others)}"
    show_chart(
        charts.rank_over_depth,
        rows,
        epoch,
        run.series.color,
        top,
        run.label,
        about,
        key=f"depth {run.run_id}",
        alt_text=alt_text(f"Effective rank of each stage at epoch {epoch}", [run.series]),
    )
    if said := depth_reading(here["layer"].tolist(), here["rank"].tolist()):
        st.markdown(said)


def _epochs(epochs: list[int]) -> str:
    if len(epochs) > _NAMED:
        return f"{len(epochs)} epochs from {epochs[0]} to {epochs[-1]}"
    return f"epoch{'s' if len(epochs) > 1 else ''} {', '.join(map(str, epochs))}"
