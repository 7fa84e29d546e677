"""What is drawn behind and on the curves of a panel: baselines, bands, crosses, triangles."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import numpy as np
import pandas as pd

from sing_monitor.app.charts.common import (
    RANDOM_COLOR,
    RANDOM_DASH,
    SeriesStyle,
    color,
    support_cross,
)
from sing_monitor.app.charts.panel import Panel


def random_lines(
    random: pd.DataFrame | None, panel: Panel, series: Sequence[SeriesStyle]
) -> list[alt.Chart | alt.LayerChart]:
    """A dotted line for each run, and a tick where there is no line."""
    if random is None or random["value"].isna().all():
        return []
    place = {"x": panel.x(), "y": panel.y()}
    # Runs of a configuration share its color, and each has its own line.
    run = {"color": color(series), "detail": alt.Detail("label:N")}
    drawn = random.assign(alone=random.groupby("label")["value"].transform(isolated))
    line = alt.Chart().mark_line(
        strokeWidth=1.2, strokeDash=RANDOM_DASH, invalid="break-paths-show-domains"
    )
    ticks = alt.Chart().mark_tick(orient="horizontal", thickness=1.5, size=14)
    alone = ticks.transform_filter("datum.alone")
    return [
        alt.LayerChart(data=drawn, layer=[each.encode(**place, **run) for each in (line, alone)])
    ]


def intervals(panel: Panel, series: Sequence[SeriesStyle]) -> list[alt.Chart]:
    """A bar where the interval is known, and a faint band where it is at neighboring values too.

    No band leads over values whose interval was not read: their curve may lie beside it.
    """
    place = {"x": panel.x(), "y": panel.y("low"), "y2": alt.Y2("high:Q"), "color": color(series)}
    known = alt.Chart().transform_filter("isValid(datum.low)")
    band = alt.Chart().mark_area(opacity=0.2, line=False, invalid="break-paths-show-domains")
    return [band.encode(**place), known.mark_rule(opacity=0.5).encode(**place)]


def crosses(panel: Panel, series: Sequence[SeriesStyle]) -> list[alt.Chart]:
    """A cross on every value that is out of support."""
    far = alt.Chart().transform_filter("datum.support && isValid(datum.value)")
    return [support_cross(far).encode(x=panel.x(), y=panel.y(), color=color(series))]


def triangles(
    alerts: pd.DataFrame | None, panel: Panel, series: Sequence[SeriesStyle]
) -> list[alt.Chart]:
    """A rule at the epoch, and a large triangle on the curve that can be pointed at.

    One triangle stands for all alerts at its place; of several it is larger and holds their number.
    """
    if alerts is None or alerts.empty:
        return []
    tooltip = [
        alt.Tooltip("alert:N", title="alert"),
        *panel.tooltip(),
        alt.Tooltip("message:N"),
    ]
    base = alt.Chart(alerts).encode(x=panel.x(), color=color(series), tooltip=tooltip)
    triangle = base.mark_point(shape="triangle-down", filled=True, opacity=1, yOffset=-11).encode(
        y=panel.y(), size=alt.condition("datum.count > 1", alt.value(320), alt.value(140))
    )
    number = base.transform_filter("datum.count > 1").mark_text(
        yOffset=-12, fontSize=10, fontWeight="bold"
    )
    return [
        base.mark_rule(strokeWidth=1, strokeDash=[2, 2]),
        triangle,
        number.encode(y=panel.y(), text=alt.Text("count:Q"), color=alt.ColorValue("white")),
    ]


def zero(values: pd.DataFrame) -> list[alt.Chart]:
    """A line at zero where the curves lie on both sides: there the sign is the message."""
    if not values["value"].min() < 0 < values["value"].max():
        return []
    rule = alt.Chart(pd.DataFrame({"zero": [0.0]})).mark_rule(strokeWidth=1, opacity=0.5)
    return [rule.encode(y=alt.Y("zero:Q"), color=alt.ColorValue(RANDOM_COLOR))]


def isolated(values: Sequence[float] | pd.Series) -> np.ndarray:
    """Which values have no neighbor to draw a line to."""
    known = np.isfinite(np.asarray(values, dtype=np.float64))
    padded = np.concatenate([[False], known, [False]])
    return known & ~padded[:-2] & ~padded[2:]
