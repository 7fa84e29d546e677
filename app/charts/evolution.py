"""Curves of one metric over training: one panel, many runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import altair as alt
import pandas as pd

from sing_monitor.app.charts.common import (
    LINE_WIDTH,
    PANEL_HEIGHT,
    RANDOM_COLOUR,
    Series,
    colour,
    dash,
    shape,
    title,
)
from sing_monitor.app.curves import isolated
from sing_monitor.app.metrics import MISSING

_MANY = 40
# On long curves, the shapes that tell runs of one colour apart.
_MARKS = 8


@dataclass(frozen=True)
class Panel:
    """What a panel says around its curves.

    Args:
        title: the metric.
        unit: of the values, in words; may be empty.
        direction: which values are good; may be empty.
        number_format: of the values, d3.
        x_title: what the axis counts.
        x_domain: the same for all panels of a page.
        caveat: why the curves do not compare; may be empty.
        is_difference: values are differences to the baseline.
    """

    title: str
    unit: str
    direction: str
    number_format: str
    x_title: str
    x_domain: tuple[float, float]
    caveat: str = ""
    is_difference: bool = False

    @property
    def _title(self) -> alt.TitleParams:
        about = " · ".join(filter(None, (self.unit, self.direction)))
        return title(self.title, about, f"⚠ {self.caveat}" if self.caveat else "")

    def _x(self) -> alt.X:
        whole = self.x_title in ("epoch", "global step")
        axis = alt.Axis(format="d", tickMinStep=1) if whole else alt.Axis()
        scale = alt.Scale(domain=list(self.x_domain), nice=False)
        return alt.X("x:Q", title=self.x_title, scale=scale, axis=axis.copy())

    def _y(self, field: str = "value") -> alt.Y:
        name = "difference to the baseline" if self.is_difference else self.unit
        axis = alt.Axis(format=".6~g", tickCount=5)
        return alt.Y(f"{field}:Q", title=name or None, scale=alt.Scale(zero=False), axis=axis)

    def _change(self, difference: float) -> str:
        return format(difference, f"+z{self.number_format}") if isfinite(difference) else MISSING

    def _tooltip(self, *more: alt.Tooltip) -> list[alt.Tooltip]:
        return [
            alt.Tooltip("label:N", title="run"),
            alt.Tooltip("epoch:Q", title="epoch", format="d"),
            alt.Tooltip("value:Q", title=self.title, format=self.number_format),
            *more,
        ]


def curves(
    values: pd.DataFrame,
    panel: Panel,
    series: Sequence[Series],
    random: pd.DataFrame | None = None,
    alerts: pd.DataFrame | None = None,
    intervals: pd.DataFrame | None = None,
) -> alt.LayerChart:
    """Curves of one metric, a line for each run; gaps where a value is missing.

    Args:
        values: columns series, label, epoch, x, value, difference; in the order of x.
        panel: what stands around them.
        series: the runs; colours and dashes follow it.
        random: the same columns for the random subspace, drawn thin and grey behind.
        alerts: the values at which an alert fired, with columns alert and message.
        intervals: the values that have one, with columns low and high.
    """
    drawn = values.assign(
        has_point=_points_at(values, series),
        change=values["difference"].map(panel._change),
    )
    has_change = not panel.is_difference and values["difference"].notna().any()
    more = [alt.Tooltip("change:N", title="to the baseline")] if has_change else []
    layers = [
        *_random(random, panel, series),
        *_intervals(intervals, panel, series),
        _line(panel, series),
        *_points(panel, series, more),
        *_alerts(alerts, panel, series),
    ]
    return _finish(drawn, [*_zero(values), *layers], panel)


def bands(
    values: pd.DataFrame,
    panel: Panel,
    series: Sequence[Series],
    random: pd.DataFrame | None = None,
) -> alt.LayerChart:
    """Mean of the runs of a configuration as a line, smallest to largest value as a band.

    Args:
        values: from `over_seeds`, with the column ``label``.
        panel: what stands around them.
        series: the configurations.
        random: as for `curves`, a line for each run.
    """
    drawn = values.assign(has_point=_points_at(values, series))
    band = (
        alt.Chart()
        .mark_area(opacity=0.18, line=False)
        .encode(x=panel._x(), y=panel._y("low"), y2=alt.Y2("high:Q"), color=colour(series))
    )
    more = [
        alt.Tooltip("low:Q", title="smallest", format=panel.number_format),
        alt.Tooltip("high:Q", title="largest", format=panel.number_format),
        alt.Tooltip("n:Q", title="runs"),
    ]
    layers = [band, _line(panel, series), *_points(panel, series, more)]
    return _finish(drawn, [*_zero(values), *_random(random, panel, series), *layers], panel)


def x_domain(x: pd.Series) -> tuple[float, float]:
    """The range of all panels, with a little room at both ends."""
    low, high = (float(x.min()), float(x.max())) if x.notna().any() else (0.0, 1.0)
    room = 0.03 * (high - low) or 0.5
    return low - room, high + room


def _line(panel: Panel, series: Sequence[Series]) -> alt.Chart:
    line = alt.Chart().mark_line(strokeWidth=LINE_WIDTH, invalid="break-paths-show-domains")
    return line.encode(x=panel._x(), y=panel._y(), color=colour(series), strokeDash=dash(series))


def _points_at(values: pd.DataFrame, series: Sequence[Series]) -> pd.Series:
    """Which values are marked by a point: all, unless they are many."""
    curves = values.groupby("series", sort=False)["value"]
    many = int(curves.size().max())
    if many <= _MANY:
        return pd.Series(True, values.index)
    repeats = values["series"].isin([each.key for each in series if each.variant])
    return curves.transform(isolated) | (repeats & (curves.cumcount() % (many // _MARKS) == 0))


def _points(panel: Panel, series: Sequence[Series], more: Sequence[alt.Tooltip]) -> list[alt.Chart]:
    """Points on the curves, a rule under the pointer, and what it points at."""
    hover = alt.selection_point(
        name="hover", nearest=True, on="pointerover", clear="pointerout", fields=["x"], empty=False
    )
    base = alt.Chart()
    known = base.transform_filter("isValid(datum.value)")
    rule = known.mark_rule(strokeWidth=1).encode(
        x=panel._x(),
        color=alt.ColorValue(RANDOM_COLOUR),
        opacity=alt.condition(hover, alt.value(0.6), alt.value(0)),
    )
    near = known.mark_point(filled=True, size=90).encode(
        x=panel._x(),
        y=panel._y(),
        color=colour(series),
        shape=shape(series),
        opacity=alt.condition(hover, alt.value(1), alt.value(0)),
        tooltip=panel._tooltip(*more),
    )
    is_mixed = any(each.variant for each in series)
    dots = base.transform_filter("datum.has_point").mark_point(
        filled=True, size=50 if is_mixed else 26, opacity=1
    )
    dots = dots.encode(x=panel._x(), y=panel._y(), color=colour(series), shape=shape(series))
    # A name of our own: Altair would count on, and every redrawing would look like a new chart.
    return [dots, rule, near.add_params(hover).properties(name="near")]


def _random(
    random: pd.DataFrame | None, panel: Panel, series: Sequence[Series]
) -> list[alt.Chart | alt.LayerChart]:
    """A thin line for each run, a tick where there is no line, and the name at the end."""
    if random is None or random["value"].isna().all():
        return []
    place = {"x": panel._x(), "y": panel._y(), "color": alt.ColorValue(RANDOM_COLOUR)}
    drawn = random.assign(alone=random.groupby("series")["value"].transform(isolated))
    line = alt.Chart().mark_line(strokeWidth=1, opacity=0.9, invalid="break-paths-show-domains")
    ticks = alt.Chart().mark_tick(orient="horizontal", thickness=1.5, size=14)
    # Configurations of several seeds have other names than the runs whose lines these are.
    is_known = set(random["series"]) <= {each.key for each in series}
    dashes = {"strokeDash": dash(series)} if is_known else {}
    known = random.dropna(subset="value")
    right = known["x"] >= known["x"].max() - 0.3 * (known["x"].max() - known["x"].min())
    # Above all lines that end there, so that none crosses it.
    end = {"x": known["x"].max(), "value": known.loc[right, "value"].max()}
    name = alt.Chart(pd.DataFrame([end | {"name": "random subspace"}])).mark_text(
        align="right", baseline="bottom", dy=-5, fontSize=11, fontStyle="italic"
    )
    lines = alt.LayerChart(
        data=drawn,
        layer=[
            line.encode(**place, detail=alt.Detail("series:N"), **dashes),
            ticks.transform_filter("datum.alone").encode(**place),
        ],
    )
    return [lines, name.encode(**place, text=alt.Text("name:N"))]


def _intervals(
    intervals: pd.DataFrame | None, panel: Panel, series: Sequence[Series]
) -> list[alt.Chart]:
    """A faint band, with a bar where the interval is known: there may be a single one."""
    if intervals is None or intervals["low"].isna().all():
        return []
    base = alt.Chart(intervals).encode(
        x=panel._x(), y=panel._y("low"), y2=alt.Y2("high:Q"), color=colour(series)
    )
    return [base.mark_area(opacity=0.2, line=False), base.mark_rule(opacity=0.5)]


def _alerts(alerts: pd.DataFrame | None, panel: Panel, series: Sequence[Series]) -> list[alt.Chart]:
    """A rule at the epoch, and a large triangle on the curve that can be pointed at."""
    if alerts is None or alerts.empty:
        return []
    tooltip = [alt.Tooltip("alert:N"), *panel._tooltip(), alt.Tooltip("message:N")]
    base = alt.Chart(alerts).encode(x=panel._x(), color=colour(series), tooltip=tooltip)
    triangle = base.mark_point(shape="triangle-down", filled=True, size=140, opacity=1, yOffset=-9)
    return [base.mark_rule(strokeWidth=1, strokeDash=[2, 2]), triangle.encode(y=panel._y())]


def _zero(values: pd.DataFrame) -> list[alt.Chart]:
    """A line at zero where the curves lie on both sides: there the sign is the message."""
    if not values["value"].min() < 0 < values["value"].max():
        return []
    rule = alt.Chart(pd.DataFrame({"zero": [0.0]})).mark_rule(strokeWidth=1, opacity=0.5)
    return [rule.encode(y=alt.Y("zero:Q"), color=alt.ColorValue(RANDOM_COLOUR))]


def _finish(
    drawn: pd.DataFrame, layers: Sequence[alt.Chart | alt.LayerChart], panel: Panel
) -> alt.LayerChart:
    return alt.LayerChart(data=drawn, layer=list(layers), title=panel._title, height=PANEL_HEIGHT)
