"""How the numbers of the picked runs move while the models train."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pandas as pd
import streamlit as st

from sing_monitor.app import alerts, curves, evolution_controls, intervals, metrics, page, states
from sing_monitor.app.charts import evolution as charts
from sing_monitor.app.charts.common import Series, alt_text, swatch
from sing_monitor.app.downloads import csv_button
from sing_monitor.app.drawing import draw
from sing_monitor.app.evolution_controls import View
from sing_monitor.app.selection import Selection
from sing_monitor.app.text import count, plain
from sing_monitor.app.widgets import epoch_slider

_X_TITLES = {"Epoch": "epoch", "Step": "global step"}


def body(chosen: Selection) -> None:
    """Controls, legend, one panel for each metric, then the table."""
    view = evolution_controls.draw(chosen)
    histories = page.histories(chosen.runs, view.read, view.own)
    long = curves.long_table(
        histories,
        [*view.read, *view.own],
        axis=view.axis,
        labels={run.run_id: run.label for run in chosen.runs},
        started={run.run_id: run.row["start_time"] for run in chosen.runs},
    )
    if long.empty:
        states.no_validation()
        return
    if long.groupby("series")["epoch"].nunique().max() == 1:
        states.one_epoch()
    long = curves.add_difference(long, chosen.baseline.run_id if chosen.baseline else None)
    x_title = _X_TITLES.get(view.axis, "")
    if view.axis == "Time":
        unit, seconds = curves.time_unit(long["x"])
        long, x_title = long.assign(x=long["x"] / seconds), f"{unit} since the start"
    _panels(chosen, view, long.drop(columns=["timestamp", "global_step"]), x_title)
    # A fragment of its own: moving the slider redraws no chart.
    st.fragment(_numbers)(chosen, long[long["metric"].isin(view.shown)])


def _panels(chosen: Selection, view: View, long: pd.DataFrame, x_title: str) -> None:
    groups, series = _configurations(chosen) if view.by_seeds else ({}, chosen.series)
    has_random = view.with_random and not view.is_difference
    page.legend(series, with_random=has_random and any(map(metrics.random_of, view.keys)))
    fired = alerts.fired({run.run_id: run.tag("alerts") for run in chosen.runs})
    _say_alerts(chosen, fired)
    sure = _intervals(chosen, view, long)
    domain = charts.x_domain(long["x"])
    with st.grid(min_column_width=360, gap="medium") as grid:
        for key in view.shown:
            values = long[long["metric"] == key]
            with grid.cell(), st.container(gap="xxsmall"):
                if values["value"].isna().all():
                    states.no_values(_label(key, view))
                    continue
                random = long[long["metric"] == metrics.random_of(key)] if has_random else None
                panel = _panel(chosen, view, key, x_title, domain)
                what = f"{panel.title} against {x_title}"
                place = partial(draw, key=f"panel {key}", alt_text=alt_text(what, series))
                if view.by_seeds:
                    bands = curves.over_seeds(values, groups)
                    names = {each.key: each.label for each in series}
                    bands = bands.assign(label=bands["series"].map(names))
                    place(charts.bands, bands, panel, series, random)
                else:
                    changes = values.assign(value=values["difference"])
                    drawn = changes if view.is_difference else values
                    marks = alerts.marks(fired, key, drawn)
                    place(
                        charts.curves,
                        drawn,
                        panel,
                        series,
                        random,
                        marks,
                        sure[sure["metric"] == key],
                    )
                _below(chosen, view, key, values)


def _intervals(chosen: Selection, view: View, long: pd.DataFrame) -> pd.DataFrame:
    """The values that have an interval, with low and high; it says what they cover."""
    nothing = long.iloc[:0].assign(low=[], high=[])
    if not view.with_intervals:
        return nothing
    found = intervals.of_training(chosen.runs, sorted(long["epoch"].unique().tolist()))
    if found.empty:
        st.caption("The picked runs hold no intervals: an earlier version of sing-monitor ran.")
        return nothing
    intervals.say()
    ends = long.drop_duplicates(["series", "metric", "epoch"], keep="last")
    return ends.merge(found, on=["series", "metric", "epoch"])


def _say_alerts(chosen: Selection, fired: pd.DataFrame) -> None:
    """One line with every alert; only panels of the metric that it watches can mark it."""
    by_run = {run.run_id: run for run in chosen.runs}
    parts, messages = [], []
    for row in fired.to_dict("records"):
        run = by_run[row["series"]]
        stroke = f"![{plain(run.label)}]({swatch(run.series)})"
        parts.append(f"{stroke} **{plain(row['alert'])}** at epoch {row['epoch']}")
        watched = " and ".join(map(metrics.label, alerts.watched_by(row["alert"])))
        messages.append(f"**{plain(row['alert'])}** ({watched or 'own rule'}): {row['message']}")
    if parts:
        text = f":material/notifications: Alerts, marked ▼: {' · '.join(parts)}"
        st.caption(text, help="\n\n".join(dict.fromkeys(messages)))


def _panel(
    chosen: Selection, view: View, key: str, x_title: str, domain: tuple[float, float]
) -> charts.Panel:
    is_own = key in view.own
    return charts.Panel(
        title=_label(key, view),
        unit="" if is_own else metrics.unit(key),
        direction=metrics.DIRECTIONS[metrics.better(key)],
        number_format=".4g" if is_own else metrics.number_format(key),
        x_title=x_title,
        x_domain=domain,
        caveat="" if is_own else chosen.caveat(key),
        is_difference=view.is_difference,
    )


def _label(key: str, view: View) -> str:
    return key if key in view.own else metrics.label(key)


def _below(chosen: Selection, view: View, key: str, values: pd.DataFrame) -> None:
    """Under a panel: the last differences to the baseline, and the catalogue's explanation."""
    is_own = key in view.own
    known = values.dropna(subset="difference").drop_duplicates("series", keep="last")
    changes = known.set_index("series")[["difference", "epoch"]].to_dict("index")
    parts = []
    for run in () if view.by_seeds or chosen.caveat(key) else chosen.runs:
        last = changes.get(run.run_id)
        if last is not None and not run.is_baseline:
            value = last["difference"]
            change = format(value, "+.4g") if is_own else metrics.show(key, value, sign=True)
            stroke = f"![{plain(run.label)}]({swatch(run.series)})"
            parts.append(f"{stroke} {plain(change)} at epoch {last['epoch']}")
    text = f"To the baseline: {' · '.join(parts)}" if parts else "How to read this"
    if parts or not is_own:
        st.caption(text, help=None if is_own else metrics.explanation(key))


def _configurations(chosen: Selection) -> tuple[dict[str, str], list[Series]]:
    """Run id -> configuration, and how charts draw the configurations."""
    groups = curves.configurations(pd.DataFrame([run.row for run in chosen.runs]))
    series = []
    for group in dict.fromkeys(groups.values()):
        runs = [run for run in chosen.runs if groups[run.run_id] == group]
        name = curves.without_seed(runs[0].label)
        label = f"{name} ({count(len(runs), 'run')})" if len(runs) > 1 else runs[0].label
        is_baseline = any(run.is_baseline for run in runs)
        look = replace(runs[0].series, key=group, label=label, is_baseline=is_baseline)
        series.append(look)
    return groups, series


def _numbers(chosen: Selection, long: pd.DataFrame) -> None:
    """Last, best and at a chosen epoch: a row for each metric and run."""
    st.subheader("Numbers", anchor=False)
    epochs = sorted(long["epoch"].unique().tolist())
    at_epoch = epoch_slider(epochs)
    baseline = chosen.baseline.run_id if chosen.baseline else None
    numbers = curves.summary(long, at_epoch, baseline)
    colours = {run.run_id: swatch(run.series, height=28) for run in chosen.runs}
    known = set(metrics.in_catalogue_order(chosen.listing.columns))
    numbers["metric"] = [metrics.label(key) if key in known else key for key in numbers["metric"]]
    order = ["metric", "colour", "label", "last", "last_epoch", "best", "best_epoch", "at_epoch"]
    if baseline is not None:
        order.insert(5, "difference")
    config = st.column_config
    st.dataframe(
        numbers.assign(colour=numbers["series"].map(colours)),
        hide_index=True,
        column_order=order,
        placeholder=metrics.MISSING,
        alt="Last and best values of each metric and run",
        column_config={
            "colour": config.ImageColumn("", width=44),
            "label": config.TextColumn("Run", width="medium"),
            "metric": config.TextColumn("Metric", width=250),
            "last": config.NumberColumn("Last", format="%.4g"),
            "last_epoch": config.NumberColumn("at epoch"),
            "difference": config.NumberColumn("To the baseline", format="%+.4g"),
            "best": config.NumberColumn("Best", format="%.4g"),
            "best_epoch": config.NumberColumn("at epoch"),
            "at_epoch": config.NumberColumn(f"At epoch {at_epoch}", format="%.4g"),
        },
    )
    with st.container(horizontal=True):
        csv_button("All curves as CSV", "curves.csv", long.drop(columns="x"))
        csv_button("This table as CSV", "numbers.csv", numbers)


page.show(
    "Evolution",
    "Is class meaning hidden from the head, since when, and is one run better than another?",
    body,
)
