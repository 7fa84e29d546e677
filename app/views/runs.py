"""Every monitored run in one table; the place to pick runs and a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import pandas as pd
import streamlit as st

from sing_monitor.app.parts import alert_list, intervals
from sing_monitor.app.parts.runs_table import (
    CURVES,
    MOST_AT_ONCE,
    ROWS,
    best_first,
    card_metrics,
    further_metrics,
    has_best,
    has_interval,
    matching,
    mlflow_links,
    runs_table,
    table_metrics,
    without_space,
)
from sing_monitor.app.read import curves, store
from sing_monitor.app.ui import page, selection, states
from sing_monitor.app.ui.downloads import csv_button
from sing_monitor.app.ui.selection import Picks, Run, Selection
from sing_monitor.app.ui.sidebar import offered_runs
from sing_monitor.app.ui.widgets import mark_column
from sing_monitor.app.wording import degrees, metrics, rescored, support_marks
from sing_monitor.app.wording.run_reading import reading
from sing_monitor.app.wording.text import count, listed, plain
from sing_monitor.tracking import NotFoundError, StoreError

_CARDS = 6
_ABOUT_OUTSIDE = (
    f"Share of the images, centered. {support_marks.OUT_OF_SUPPORT} {support_marks.MARK_RULE}"
)
_ABOUT_WAY = (
    "How the model was watched: by Lightning's trainer, in a plain loop of PyTorch, by Fabric, by "
    "Hugging Face's Trainer (transformers), or after its training (analyze)"
)
_TABLE = "runs_table"
_CHANGED = "runs_table_changed"


def body(chosen: Selection) -> None:
    """Cards of the picked runs, then the table."""
    # The sidebar and the address are drawn outside this part of the page.
    if st.session_state.pop(_CHANGED, False):
        st.rerun()
    picks = selection.picks(chosen.listing)
    if chosen.runs:
        _cards(chosen)
    st.subheader("All runs", anchor=False)
    words = st.text_input(
        "Search",
        key="find",
        bind="query-params",
        placeholder="Search by name, model, space, status or id",
        label_visibility="collapsed",
        icon=":material/search:",
    )
    offered = chosen.listing[chosen.listing["run_id"].isin(offered_runs(chosen.listing, picks))]
    shown = matching(offered, words or "").reset_index(drop=True)
    if shown.empty:
        st.info(f"No run matches {plain(words or '')}.", icon=":material/search_off:")
        return
    if len(shown) <= MOST_AT_ONCE:
        _table(chosen, shown)
    else:
        _pages(chosen, shown, words or "")


def _pages(chosen: Selection, shown: pd.DataFrame, words: str) -> None:
    """The table a page at a time; all runs are ordered and saved."""
    key = st.selectbox(
        "Order",
        ["", *(key for key in table_metrics(shown) if key in shown)],
        format_func=lambda key: _order(key) if key else "Newest first",
        key="order",
        bind="query-params",
        width=320,
        help="Of all runs that the search finds, by their last values. A header of the table "
        "orders the rows that are shown.",
    )
    ordered = best_first(shown, key) if key else shown
    table = st.container()
    # Other runs or another order begin with their first page.
    with st.container(horizontal=True, vertical_alignment="center"):
        place = st.pagination(-(-len(shown) // ROWS), key=f"page of runs {key} {words}")
        first = ROWS * (place - 1)
        rows = ordered.iloc[first : first + ROWS].reset_index(drop=True)
        st.caption(
            f"{first + 1:,} to {first + len(rows):,} of {count(len(shown), 'run')}", width="content"
        )
        csv_button("All of them as CSV", "runs.csv", ordered)
    with table:
        _table(chosen, rows)


def _order(key: str) -> str:
    best = {"higher": "best", "lower": "best", "none": "highest"}[metrics.better(key)]
    return f"{metrics.short_label(key)}, {best} first"


def _cards(chosen: Selection) -> None:
    """The last numbers of each picked run, with their difference to the baseline."""
    st.subheader("Picked runs", anchor=False)
    links = mlflow_links(chosen.uri, chosen.listing)
    shown = chosen.runs[:_CARDS]
    sure, alerted = intervals.of_last_values(shown), alert_list.of_runs(shown)
    for run in shown:
        with st.container(border=True):
            with st.container(horizontal=True, horizontal_alignment="distribute"):
                page.legend([run.series])
                if run.run_id in links:
                    st.link_button(
                        "Open in MLflow",
                        links[run.run_id],
                        type="tertiary",
                        icon=":material/open_in_new:",
                    )
            against = None if run.is_baseline else chosen.baseline
            with st.grid(4, min_column_width=150):
                for key in card_metrics(run.row.to_dict(), has_space=run.has_space):
                    with st.container(gap="xxsmall"):
                        _card(key, run, against, comparable=chosen.compares(key))
                        if interval := sure.get((run.run_id, key)):
                            st.caption(f"95 %: {interval}", help=intervals.ABOUT)
            st.caption(plain(reading(run.row.to_dict())))
            alert_list.show_alerts(
                [run], alerted[alerted["series"] == run.run_id], " on the page Evolution"
            )
    if len(chosen.runs) > _CARDS:
        st.caption(f"The first {_CARDS} of {len(chosen.runs)} picked runs; the table holds all.")


def _card(key: str, run: Run, against: Run | None, *, comparable: bool) -> None:
    value = run.row.get(key, float("nan"))
    delta = None
    if against is not None and comparable:
        difference = value - against.row.get(key, float("nan"))
        delta = metrics.value_text(key, difference, sign=True) if pd.notna(difference) else None
    better = metrics.better(key)
    colors: dict[str, Literal["normal", "inverse", "off"]] = {
        "higher": "normal",
        "lower": "inverse",
        "none": "off",
    }
    st.metric(
        metrics.short_label(key),
        metrics.value_text(key, value),
        delta,
        delta_color=colors[better],
        delta_arrow="off" if better == "none" else "auto",
        delta_description="to the baseline" if delta else None,
        help=metrics.explanation(key),
    )


def _table(chosen: Selection, shown: pd.DataFrame) -> None:
    histories = _histories(chosen, shown)
    links = mlflow_links(chosen.uri, shown)
    sure = intervals.of_last_values(chosen.runs)
    table = runs_table(shown, histories, chosen.series, links, sure)
    order = shown["run_id"].tolist()
    picked = {run.run_id for run in chosen.runs}
    ticked = [place for place, run in enumerate(order) if run in picked]
    st.session_state[_TABLE] = {"selection": {"rows": ticked, "columns": [], "cells": []}}
    st.dataframe(
        table,
        key=_TABLE,
        hide_index=True,
        on_select=lambda: _pick(selection.picks(chosen.listing), order),
        selection_mode="multi-row",
        column_config=_columns(table, table_metrics(shown), further_metrics(shown)),
        placeholder=metrics.MISSING,
        alt=f"Table of {count(len(shown), 'run')}",
    )
    if unlike := degrees.unlike(shown[~without_space(shown)].to_dict("records")):
        said = listed([f"{noun} ({' to '.join(values)})" for noun, values in unlike])
        st.caption(
            f":material/straighten: Measured with different {plain(said)}: between these runs "
            "degrees do not compare; the refit scores and the probes do far better."
        )
    st.caption("Tick runs to look at them on every page; choose the baseline in the sidebar.")


def _pick(picks: Picks, shown: list[str]) -> None:
    """Take over what was ticked; picked runs that the search hides stay picked."""
    ticked = {shown[row] for row in st.session_state[_TABLE]["selection"]["rows"]}
    kept = [run for run in picks.runs if run in ticked or run not in shown]
    picks.pick([*kept, *(run for run in shown if run in ticked - {*kept})])
    st.session_state[_CHANGED] = True


def _histories(chosen: Selection, rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Curves of the key metrics. A run that cannot be read just now has none in the table."""
    keys = (*table_metrics(rows), curves.STAGE)
    sources = [selection.run_source(chosen.uri, row) for row in rows.to_dict("records")]
    with st.spinner("Reading curves …"):
        try:
            found = store.histories(sources, keys)
        except NotFoundError:
            found = {}
            for source in sources:
                found |= states.quietly(partial(store.histories, [source], keys)) or {}
        except StoreError as error:
            states.problem(error)
            found = {}
    return {source.run_id: history for source, history in found.items()}


def _columns(table: pd.DataFrame, keys: Sequence[str], further: Sequence[str]) -> dict[str, Any]:
    config = st.column_config
    columns: dict[str, Any] = {
        "color": config.ImageColumn("", width=40, pinned=True, help="Color in all charts"),
        "run": config.TextColumn("Run", width=150, pinned=True),
        "mark": mark_column() if table["mark"].any() else None,
        "outside": config.NumberColumn(
            "Out of support", width=112, format="percent", help=_ABOUT_OUTSIDE
        )
        if any(map(metrics.needs_space, keys))
        else None,
        "alerts": config.TextColumn(
            "Alerts", width=112, help="Rules that fired, each once in a run"
        )
        if table["alerts"].any()
        else None,
        "origin": config.TextColumn("Origin", help=rescored.ABOUT)
        if table["origin"].any()
        else None,
        "status": config.TextColumn("Status", width=75),
        "started": config.DatetimeColumn("Started", format="YYYY-MM-DD HH:mm", help="UTC"),
        "epochs": config.NumberColumn("Epochs", width=70, help="Epochs that were analyzed"),
        "mlflow": config.LinkColumn("MLflow", display_text="open", width="small"),
        "monitor": config.TextColumn("Monitor") if table["monitor"].any() else None,
    }
    for key in (*keys, *further):
        word = metrics.label if key in further else metrics.short_label
        name, tip = word(key), metrics.explanation(key)
        digits = f"%{metrics.number_format(key)}"
        columns[f"{key} last"] = config.NumberColumn(
            name, width=92 if len(name) < 14 else None, format=digits, help=tip
        )
        if key in further:
            continue
        if key in CURVES:
            columns[f"{key} curve"] = config.LineChartColumn(f"{name}: curve", width=130, help=tip)
        if has_best(key):
            columns[f"{key} best"] = config.NumberColumn(f"{name}: best", format=digits, help=tip)
        if has_interval(key):
            about = f"Of the last value, for the picked runs. {intervals.ABOUT}"
            has_any = table[f"{key} interval"].any()
            columns[f"{key} interval"] = (
                config.TextColumn(f"{name}: 95 %", help=about) if has_any else None
            )
    for tag in ("model", "head", "space", "reference", "experiment"):
        columns[tag] = config.TextColumn(tag.capitalize())
    # Runs of earlier versions do not tell it.
    columns["way"] = config.TextColumn("Way", help=_ABOUT_WAY) if table["way"].any() else None
    return columns


page.show_page(
    "Runs",
    "Every run that a monitor watched. What does its classifier head ignore, and does that carry "
    "meaning it should not ignore?",
    body,
    needs_picks=False,
    # The cards lead with what compares, and say of each run where its degrees still grow.
    has_degrees=False,
)
