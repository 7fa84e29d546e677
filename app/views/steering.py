"""How near to another class an image can be brought without moving a logit."""

from __future__ import annotations

from functools import partial

import pandas as pd
import streamlit as st

from sing_monitor.app.charts import steering as charts
from sing_monitor.app.charts.common import alt_text
from sing_monitor.app.charts.curves import evolution
from sing_monitor.app.parts import epoch_tables
from sing_monitor.app.read import curves, store
from sing_monitor.app.ui import page, states
from sing_monitor.app.ui.downloads import csv_button
from sing_monitor.app.ui.drawing import show_chart
from sing_monitor.app.ui.panels import panels
from sing_monitor.app.ui.selection import Run, Selection
from sing_monitor.app.ui.widgets import epoch_slider
from sing_monitor.app.wording import metrics
from sing_monitor.app.wording.text import count
from sing_monitor.tracking import ArtifactNotFoundError

_CURVES = ("steer/attribute_score_abs", "steer/limit", "steer/reachable")
# By column of the table: its header, and the metric that explains it.
_SCORES = {
    "attribute_score_abs": ("|AS|", "steer/attribute_score_abs"),
    "attribute_score": ("AS", "steer/attribute_score"),
    "attribute_score_std": ("Spread of AS", "steer/attribute_score_std"),
    "limit": ("IS limit", "steer/limit"),
    "reachable": ("Steerable", "steer/reachable"),
}
_PAIR = ("source_index", "source", "target_index", "target", "n")
_READING = (
    "Images of a class are pushed through the null space toward the text of another class, until "
    "their meaning has moved by 40° (as in table 1 of the paper); no logit moves. **A large |AS| "
    "means that the head can be fooled**: the image speaks of the other class, and the prediction "
    "stays. The paper reports 5° to 12°."
)


def body(chosen: Selection) -> None:
    """Pairs at an epoch, their numbers, and the curves."""
    chosen = states.with_space_only(chosen)
    if not chosen.runs:
        return
    known = epoch_tables.validations(chosen.runs)
    epochs = sorted({epoch for steps in known.values() for epoch, _ in steps})
    if not epochs:
        st.info(
            "The picked runs hold no tables so far. They are written after each validation.",
            icon=":material/hourglass_empty:",
        )
        return
    st.markdown(_READING)
    epoch = epoch_slider(epochs)
    parts, older = [], []
    for run in chosen.runs:
        steps = [pair for pair in known.get(run.run_id, []) if pair[0] == epoch]
        table = states.attempt(partial(_stored, run, steps[-1]), run) if steps else None
        if table is None:
            continue
        if table.empty:
            older.append(run.label)
        elif states.has_columns(table, [*_PAIR, *_SCORES], "steering"):
            parts.append(table.assign(series=run.run_id, label=run.label))
    if older:
        states.no_steering(older)
    if parts:
        _pairs(chosen, charts.ordered(pd.concat(parts, ignore_index=True)), epoch)
    _curves(chosen)


def _stored(run: Run, at: tuple[int, int]) -> pd.DataFrame:
    """The table of one validation, empty where it has none."""
    try:
        return store.table(run.source, "steering", *at)
    except ArtifactNotFoundError:
        return pd.DataFrame()


def _pairs(chosen: Selection, rows: pd.DataFrame, epoch: int) -> None:
    page.legend(chosen.series)
    names = list(dict.fromkeys(rows["pair"]))
    reached = rows.dropna(subset="attribute_score_abs")
    shown = reached[reached["pair"].isin(names[: charts.MOST])]
    if shown.empty:
        states.no_values("|AS| toward another class")
    else:
        held = set(shown["series"])
        show_chart(
            charts.pairs,
            shown,
            [each for each in chosen.series if each.key in held],
            f"epoch {epoch}",
            chosen.caveat("steer/attribute_score_abs"),
            key="pairs",
            alt_text=alt_text(f"|AS| when steered, by pair, at epoch {epoch}", chosen.series),
        )
    notes = []
    if len(names) > charts.MOST:
        notes.append(f"{len(names) - charts.MOST} more pairs are in the table only.")
    if without := len(rows) - len(reached):
        notes.append(f"{count(without, 'row')} without a score: no image reaches an IS of 40°.")
    if notes:
        st.caption(" ".join(notes))
    config = st.column_config
    columns = {
        name: config.NumberColumn(
            header,
            help=metrics.explanation(key),
            format="percent" if name == "reachable" else "%.2f",
        )
        for name, (header, key) in _SCORES.items()
    }
    st.dataframe(
        rows,
        hide_index=True,
        column_order=["pair", "label", "n", *_SCORES],
        placeholder=metrics.MISSING,
        alt="Steering by pair and run: AS, its spread, the limit of IS and the steerable share",
        column_config={
            "pair": config.TextColumn("From → toward", width="medium"),
            "label": config.TextColumn("Run"),
            "n": config.NumberColumn("Images"),
            **columns,
        },
    )
    numbers = rows.assign(epoch=epoch).drop(columns="pair")
    csv_button("This table as CSV", "steering.csv", numbers)


def _curves(chosen: Selection) -> None:
    labels = {run.run_id: run.label for run in chosen.runs}
    long = curves.long_table(page.read_histories(chosen.runs, _CURVES), _CURVES, labels=labels)
    if long.empty or long["value"].isna().all():
        return
    st.subheader("Over training", anchor=False)
    if long.groupby("series")["epoch"].nunique().max() == 1:
        states.one_epoch()
    long = curves.add_difference(long, chosen.baseline.run_id if chosen.baseline else None)
    long = long.drop(columns=["timestamp", "global_step"])
    domain = evolution.x_domain(long["x"])
    panels(chosen, long, _CURVES, domain)
    csv_button("These curves as CSV", "steering_curves.csv", long.drop(columns="x"))


page.show_page(
    "Steering",
    "Can the head be fooled: how near to another class does an image come while no logit moves?",
    body,
)
