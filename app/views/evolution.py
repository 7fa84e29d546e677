"""How the numbers of the picked runs move while the models train."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import streamlit as st

from sing_monitor.app.charts import evolution as charts
from sing_monitor.app.charts.common import SeriesStyle, alt_text, swatch
from sing_monitor.app.charts.panel import Panel
from sing_monitor.app.parts import (
    alert_list,
    curve_numbers,
    evolution_controls,
    intervals,
    meaning_pictures,
)
from sing_monitor.app.parts.evolution_controls import CurveView
from sing_monitor.app.read import alerts, curves
from sing_monitor.app.ui import hierarchies, page, states
from sing_monitor.app.ui.drawing import show_chart
from sing_monitor.app.ui.selection import Selection
from sing_monitor.app.wording import metrics, random_heads, support_marks
from sing_monitor.app.wording.text import count, plain

# What tells the values of a table of curves apart.
_PLACE = ["series", "metric", "epoch", "x"]
_X_TITLES = {"Epoch": "epoch", "Step": "global step"}


def body(chosen: Selection) -> None:
    """Controls, legend, one panel for each metric, where the meaning lies, then the table."""
    view = evolution_controls.choose_curves(chosen)
    read = list(dict.fromkeys([*view.read, *meaning_pictures.keys_of(chosen.runs)]))
    histories = page.read_histories(chosen.runs, read, view.own)
    long = curves.long_table(
        histories,
        [*read, *view.own],
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
    long = hierarchies.comparable_differences(chosen, long)
    x_title = _X_TITLES.get(view.axis, "")
    if view.axis == "Time":
        unit, seconds = curves.time_unit(long["x"])
        long, x_title = long.assign(x=long["x"] / seconds), f"{unit} since the start"
    long = _with_support_shares(long)
    _panels(chosen, view, long.drop(columns=["timestamp", "global_step"]), x_title)
    meaning_pictures.draw_meaning(chosen, long, x_title, charts.x_domain(long["x"]))
    # A fragment of its own: moving the slider redraws no chart.
    shown = long[long["metric"].isin(view.shown)]
    st.fragment(curve_numbers.draw_numbers)(chosen, shown, with_intervals=view.with_intervals)


def _panels(chosen: Selection, view: CurveView, long: pd.DataFrame, x_title: str) -> None:
    groups, series = _configurations(chosen) if view.by_seeds else ({}, chosen.series)
    has_random = view.with_random and not view.is_difference
    against_chance, against_walks = (
        {key for key in view.shown if has_random and is_against(key)}
        for is_against in (metrics.is_against_chance, metrics.is_against_walks)
    )
    beside = {key for key in view.shown if has_random and _beside(key)}
    page.legend(
        series,
        with_random=bool(beside - against_chance - against_walks),
        with_chance=bool(against_chance),
        with_walks=bool(against_walks),
        with_crosses=bool(support_marks.is_marked(long["outside"]).any()),
    )
    alerted = alert_list.of_runs(chosen.runs)
    alert_list.show_alerts(chosen.runs, alerted, "" if view.by_seeds else " below")
    long = long.merge(_intervals(chosen, view, long), on=_PLACE, how="left")
    domain = charts.x_domain(long["x"])
    for heading, keys in view.sections:
        if heading:
            st.subheader(metrics.group_label(heading), anchor=False)
        with st.grid(min_column_width=360, gap="medium") as grid:
            for key in keys:
                values = long[long["metric"] == key]
                with grid.cell(), st.container(gap="xxsmall"):
                    if values["value"].isna().all():
                        states.no_values(_label(key, view))
                        continue
                    random = _random(long, key) if has_random else None
                    panel = _panel(chosen, view, key, x_title, domain)
                    if view.by_seeds and len(hierarchies.parts(chosen, key, values)) == 1:
                        _seeds(key, values, random, panel, series, groups)
                    else:
                        changes = values.assign(value=values["difference"])
                        drawn = changes if view.is_difference else values
                        marks = alerts.alert_marks(alerted, key, drawn)
                        _runs(chosen, key, drawn, random, panel, marks)
                    _below(chosen, view, key, values)


def _beside(key: str) -> str | None:
    """What tells what random subspaces show."""
    return metrics.baseline_of(key) or metrics.spread_of(key)


def _random(long: pd.DataFrame, key: str) -> pd.DataFrame | None:
    """What random subspaces show: a curve for each run, or the two ends of a band."""
    found = long[long["metric"] == _beside(key)]
    if found.empty:
        return None
    return random_heads.band_lines(found) if metrics.spread_of(key) else found


def _runs(
    chosen: Selection,
    key: str,
    values: pd.DataFrame,
    random: pd.DataFrame | None,
    panel: Panel,
    marks: pd.DataFrame,
) -> None:
    """A line for each run; a chart for each tree of classes where depths are counted in several."""
    for part in hierarchies.parts(chosen, key, values):
        said = replace(panel, caveat=part.caveat or panel.caveat)
        what = alt_text(f"{panel.title} against {panel.x_title}", part.series)
        arguments = (part.values, said, part.series, random, marks)
        show_chart(charts.curve_panel, *arguments, key=f"panel {key} {part.caveat}", alt_text=what)


def _seeds(
    key: str,
    values: pd.DataFrame,
    random: pd.DataFrame | None,
    panel: Panel,
    series: list[SeriesStyle],
    groups: dict[str, str],
) -> None:
    """A line in a band for each configuration; ``groups`` has that of each run."""
    labels = {each.key: each.label for each in series}
    bands = curves.over_seeds(values, groups)
    bands = bands.assign(label=bands["series"].map(labels))
    if random is not None:
        random = random.assign(series=random["series"].map(groups))
    what = alt_text(f"{panel.title} against {panel.x_title}", series)
    show_chart(charts.band_panel, bands, panel, series, random, key=f"panel {key}", alt_text=what)


def _with_support_shares(long: pd.DataFrame) -> pd.DataFrame:
    """With the share of images out of support behind each score, NaN where unknown."""
    supports = {key: metrics.support_of(key) for key in long["metric"].unique()}
    shares = long[long["metric"].isin(set(supports.values()))]
    shares = shares[[*_PLACE, "value"]].rename(columns={"metric": "of", "value": "outside"})
    on = ["of" if column == "metric" else column for column in _PLACE]
    asked = long.assign(of=long["metric"].map(supports))
    return asked.merge(shares.drop_duplicates(on), on=on, how="left").drop(columns="of")


def _intervals(chosen: Selection, view: CurveView, long: pd.DataFrame) -> pd.DataFrame:
    """Low and high of the values that have an interval; it says what they cover."""
    nothing = pd.DataFrame(columns=[*_PLACE, "low", "high"])
    if not view.with_intervals:
        return nothing
    found = intervals.during_training(chosen.runs, sorted(long["epoch"].unique().tolist()))
    if found.empty:
        return nothing
    intervals.show_note()
    ends = long.drop_duplicates(["series", "metric", "epoch"], keep="last")
    return ends[_PLACE].merge(found, on=["series", "metric", "epoch"])


def _panel(
    chosen: Selection, view: CurveView, key: str, x_title: str, domain: tuple[float, float]
) -> Panel:
    is_own = key in view.own
    return Panel(
        title=_label(key, view),
        unit="" if is_own else metrics.unit(key),
        direction=metrics.DIRECTIONS[metrics.better(key)],
        number_format=".4g" if is_own else metrics.number_format(key),
        x_title=x_title,
        x_domain=domain,
        caveat="" if is_own else chosen.caveat(key),
        is_difference=view.is_difference,
    )


def _label(key: str, view: CurveView) -> str:
    return key if key in view.own else metrics.label(key)


def _below(chosen: Selection, view: CurveView, key: str, values: pd.DataFrame) -> None:
    """Under a panel: the last differences to the baseline, and the catalogue's explanation."""
    is_own = key in view.own
    known = values.dropna(subset="difference").drop_duplicates("series", keep="last")
    changes = known.set_index("series")[["difference", "epoch"]].to_dict("index")
    parts = []
    for run in chosen.runs if not view.by_seeds and chosen.compares(key) else ():
        last = changes.get(run.run_id)
        if last is not None and not run.is_baseline:
            value = last["difference"]
            change = format(value, "+.4g") if is_own else metrics.value_text(key, value, sign=True)
            stroke = f"![{plain(run.label)}]({swatch(run.series)})"
            parts.append(f"{stroke} {plain(change)} at epoch {last['epoch']}")
    text = f"To the baseline: {' · '.join(parts)}" if parts else "How to read this"
    if parts or not is_own:
        st.caption(text, help=None if is_own else metrics.explanation(key))


def _configurations(chosen: Selection) -> tuple[dict[str, str], list[SeriesStyle]]:
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


page.show_page(
    "Evolution",
    "Is class meaning hidden from the head, since when, and is one run better than another?",
    body,
)
