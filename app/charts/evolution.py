"""Curves of one metric over training: one panel, many runs."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import altair as alt
import pandas as pd

from sing_monitor.app.charts import marks
from sing_monitor.app.charts.common import (
    LINE_WIDTH,
    PANEL_HEIGHT,
    RANDOM_COLOR,
    SeriesStyle,
    color,
    dash,
    shape,
)
from sing_monitor.app.charts.panel import Panel
from sing_monitor.app.wording.metrics import MISSING
from sing_monitor.app.wording.support_marks import is_marked, support_text

_MANY = 40
# On long curves, the shapes that tell runs of one color apart.
_MARKS = 8
# What a tooltip may say beside the value: column and title.
_NOTES = {
    "interval": "95 % interval",
    "deviation": "standard deviation over images",
    "support": "out of support",
}


def curve_panel(
    values: pd.DataFrame,
    panel: Panel,
    series: Sequence[SeriesStyle],
    random: pd.DataFrame | None = None,
    alerts: pd.DataFrame | None = None,
) -> alt.LayerChart:
    """Curves of one metric, a line for each run; gaps where a value is missing.

    Args:
        values: columns series, label, epoch, x, value, difference; in the order of x. Perhaps also
            low and high, the ends of the interval, ``outside``, the share of images out of support,
            and ``spread``, the standard deviation over images; NaN where unknown.
        panel: what stands around them.
        series: the runs; colors and dashes follow it.
        random: the same columns for the random subspace, drawn thin and dotted behind.
        alerts: the marks of alerts that fired, from `sing_monitor.app.read.alerts.alert_marks`.
    """
    drawn = values.assign(
        has_point=_points_at(values, series),
        change=values["difference"].map(panel.change),
        **_notes(values, panel),
    )
    more = [alt.Tooltip(f"{each}:N", title=_NOTES[each]) for each in _NOTES if each in drawn]
    if not panel.is_difference and values["difference"].notna().any():
        more.append(alt.Tooltip("change:N", title="to the baseline"))
    layers = [
        *marks.random_lines(random, panel, series),
        *(marks.intervals(panel, series) if "interval" in drawn else []),
        _line(panel, series),
        *_points(panel, series, more),
        *(marks.crosses(panel, series) if "support" in drawn else []),
        *marks.triangles(alerts, panel, series),
    ]
    return _finish(drawn, [*marks.zero(values), *layers], panel)


def _notes(values: pd.DataFrame, panel: Panel) -> dict[str, pd.Series]:
    """What the tooltip says beside the value, as far as the values tell."""

    def shown(value: float) -> str:
        return format(value, panel.number_format) if isfinite(value) else MISSING

    found = {}
    if "low" in values and values["low"].notna().any():
        low, high = values["low"].map(shown), values["high"].map(shown)
        found["interval"] = (low + " to " + high).where(values["low"].notna(), MISSING)
    if "spread" in values and values["spread"].notna().any():
        found["deviation"] = values["spread"].map(shown)
    if "outside" in values and is_marked(values["outside"]).any():
        found["support"] = support_text(values["outside"])
    return found


def band_panel(
    values: pd.DataFrame,
    panel: Panel,
    series: Sequence[SeriesStyle],
    random: pd.DataFrame | None = None,
) -> alt.LayerChart:
    """Mean of the runs of a configuration as a line, smallest to largest value as a band.

    Args:
        values: from `over_seeds`, with the column ``label``; ``outside`` as for `curve_panel`.
        panel: what stands around them.
        series: the configurations.
        random: as for `curve_panel`, a line for each run.
    """
    notes = _notes(values.drop(columns=["low", "high"]), panel)
    drawn = values.assign(has_point=_points_at(values, series), **notes)
    band = (
        alt.Chart()
        .mark_area(opacity=0.18, line=False)
        .encode(x=panel.x(), y=panel.y("low"), y2=alt.Y2("high:Q"), color=color(series))
    )
    more = [
        alt.Tooltip("low:Q", title="smallest", format=panel.number_format),
        alt.Tooltip("high:Q", title="largest", format=panel.number_format),
        alt.Tooltip("n:Q", title="runs"),
        *(alt.Tooltip(f"{each}:N", title=_NOTES[each]) for each in notes),
    ]
    layers = [band, _line(panel, series), *_points(panel, series, more)]
    layers += marks.crosses(panel, series) if "support" in notes else []
    return _finish(
        drawn, [*marks.zero(values), *marks.random_lines(random, panel, series), *layers], panel
    )


def x_domain(x: pd.Series) -> tuple[float, float]:
    """The range of all panels, with a little room at both ends."""
    low, high = (float(x.min()), float(x.max())) if x.notna().any() else (0.0, 1.0)
    room = 0.03 * (high - low) or 0.5
    return low - room, high + room


def _line(panel: Panel, series: Sequence[SeriesStyle]) -> alt.Chart:
    line = alt.Chart().mark_line(strokeWidth=LINE_WIDTH, invalid="break-paths-show-domains")
    return line.encode(x=panel.x(), y=panel.y(), color=color(series), strokeDash=dash(series))


def _points_at(values: pd.DataFrame, series: Sequence[SeriesStyle]) -> pd.Series:
    """Which values are marked by a point: all, unless they are many."""
    curves = values.groupby("series", sort=False)["value"]
    many = int(curves.size().max())
    if many <= _MANY:
        return pd.Series(True, values.index)
    repeats = values["series"].isin([each.key for each in series if each.variant])
    return curves.transform(marks.isolated) | (
        repeats & (curves.cumcount() % (many // _MARKS) == 0)
    )


def _points(
    panel: Panel, series: Sequence[SeriesStyle], more: Sequence[alt.Tooltip]
) -> list[alt.Chart]:
    """Points on the curves, a rule under the pointer, and what it points at."""
    hover = alt.selection_point(
        name="hover", nearest=True, on="pointerover", clear="pointerout", fields=["x"], empty=False
    )
    base = alt.Chart()
    known = base.transform_filter("isValid(datum.value)")
    # Of a condition alone, Altair finds out by its schema what it is, which takes long.
    rule = known.mark_rule(strokeWidth=1).encode(
        x=panel.x(),
        color=alt.ColorValue(RANDOM_COLOR),
        opacity=alt.OpacityValue(**alt.condition(hover, alt.value(0.6), alt.value(0))),
    )
    near = known.mark_point(filled=True, size=90).encode(
        x=panel.x(),
        y=panel.y(),
        color=color(series),
        shape=shape(series),
        opacity=alt.OpacityValue(**alt.condition(hover, alt.value(1), alt.value(0))),
        tooltip=panel.tooltip(*more),
    )
    is_mixed = any(each.variant for each in series)
    dots = base.transform_filter("datum.has_point").mark_point(
        filled=True, size=50 if is_mixed else 26, opacity=1
    )
    dots = dots.encode(x=panel.x(), y=panel.y(), color=color(series), shape=shape(series))
    # A name of our own: Altair would count on, and every redrawing would look like a new chart.
    return [dots, rule, near.add_params(hover).properties(name="near")]


def _finish(
    drawn: pd.DataFrame, layers: Sequence[alt.Chart | alt.LayerChart], panel: Panel
) -> alt.LayerChart:
    return alt.LayerChart(data=drawn, layer=list(layers), title=panel.heading, height=PANEL_HEIGHT)
