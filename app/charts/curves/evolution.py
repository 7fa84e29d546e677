"""Curves of one metric over training: one panel, many runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sing_monitor.app.charts.common import (
    LINE_WIDTH,
    PANEL_HEIGHT,
    RANDOM_COLOR,
    SeriesStyle,
    color,
    dash,
    shape,
)
from sing_monitor.app.charts.curves import marks
from sing_monitor.app.charts.curves.panel import Panel
from sing_monitor.app.charts.vega import Part, category, layer, layered, quantity
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
) -> Part:
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
    notes = _notes(values, panel)
    more = [category(each, title=_NOTES[each]) for each in _NOTES if each in notes]
    if not panel.is_difference and values["difference"].notna().any():
        notes["change"] = _each(panel.change, values["difference"])
        more.append(category("change", title="to the baseline"))
    layers = [
        *marks.random_lines(random, panel, series),
        *(marks.intervals(panel, series) if "interval" in notes else []),
        _line(panel, series),
        *_points(panel, series, more),
        *(marks.crosses(panel, series) if "support" in notes else []),
        *marks.triangles(alerts, panel, series),
    ]
    ends = ["low", "high"] if "interval" in notes else []
    return _finish(values, [*marks.zero(values), *layers], panel, series, notes, ends)


def _notes(values: pd.DataFrame, panel: Panel) -> dict[str, object]:
    """What the tooltip says beside the value, as far as the values tell."""

    def shown(value: float) -> str:
        return format(value, panel.number_format) if isfinite(value) else MISSING

    found: dict[str, object] = {}
    if "low" in values and values["low"].notna().any():
        ends = zip(values["low"].tolist(), values["high"].tolist(), strict=True)
        found["interval"] = [
            f"{shown(low)} to {shown(high)}" if isfinite(low) else MISSING for low, high in ends
        ]
    if "spread" in values and values["spread"].notna().any():
        found["deviation"] = _each(shown, values["spread"])
    if "outside" in values and is_marked(values["outside"]).any():
        found["support"] = support_text(values["outside"])
    return found


def _each(said: Callable[[float], str], values: pd.Series) -> list[str]:
    return [said(value) for value in values.tolist()]


def band_panel(
    values: pd.DataFrame,
    panel: Panel,
    series: Sequence[SeriesStyle],
    random: pd.DataFrame | None = None,
) -> Part:
    """Mean of the runs of a configuration as a line, smallest to largest value as a band.

    Args:
        values: from `over_seeds`, with the column ``label``; ``outside`` as for `curve_panel`.
        panel: what stands around them.
        series: the configurations.
        random: as for `curve_panel`, a line for each run.
    """
    notes = _notes(values.drop(columns=["low", "high"]), panel)
    ends = {"y": panel.y("low"), "y2": {"field": "high"}}
    band = {"x": panel.x(), **ends, "color": color(series)}
    more = [
        quantity("low", title="smallest", format=panel.number_format),
        quantity("high", title="largest", format=panel.number_format),
        quantity("n", title="runs"),
        *(category(each, title=_NOTES[each]) for each in notes),
    ]
    layers = [
        *marks.zero(values),
        *marks.random_lines(random, panel, series),
        layer("area", band, opacity=0.18, line=False),
        _line(panel, series),
        *_points(panel, series, more),
        *(marks.crosses(panel, series) if "support" in notes else []),
    ]
    return _finish(values, layers, panel, series, notes, ["low", "high", "n"])


def x_domain(x: pd.Series) -> tuple[float, float]:
    """The range of all panels, with a little room at both ends."""
    low, high = (float(x.min()), float(x.max())) if x.notna().any() else (0.0, 1.0)
    room = 0.03 * (high - low) or 0.5
    return low - room, high + room


def _line(panel: Panel, series: Sequence[SeriesStyle]) -> Part:
    place = {"x": panel.x(), "y": panel.y(), "color": color(series), "strokeDash": dash(series)}
    return layer("line", place, strokeWidth=LINE_WIDTH, invalid="break-paths-show-domains")


def _points_at(values: pd.DataFrame, series: Sequence[SeriesStyle]) -> NDArray[np.bool_]:
    """Which values are marked by a point: all, unless they are many."""
    place = marks.places(values["series"])
    many = int(place.max(initial=-1)) + 1
    if many <= _MANY:
        return np.ones(len(values), dtype=bool)
    repeats = values["series"].isin([each.key for each in series if each.variant]).to_numpy()
    alone = marks.isolated(values["value"], values["series"])
    return alone | (repeats & (place % (many // _MARKS) == 0))


def _points(panel: Panel, series: Sequence[SeriesStyle], more: Sequence[Part]) -> list[Part]:
    """Points on the curves, a rule under the pointer, and what it points at."""
    x, known = panel.x(), "isValid(datum.value)"
    place = {"x": x, "y": panel.y(), "color": color(series), "shape": shape(series)}
    is_mixed = any(each.variant for each in series)
    dots = {"filled": True, "size": 50 if is_mixed else 26, "opacity": 1}
    near = {"x": x, "y": panel.y(), "tooltip": panel.tooltip(*more)}
    return [
        layer("point", place, "datum.has_point", **dots),
        layer("rule", {"x": x, "color": {"value": RANDOM_COLOR}}, _POINTED_AT, opacity=0.6),
        layer("point", place, _POINTED_AT, filled=True, size=90, opacity=1),
        {**layer("point", near, known, opacity=0, size=90), "name": "near"},
    ]


# Only these rows are drawn: marks for all, hidden until then, took 8 % of the time of 20 runs.
_POINTED_AT: Part = {"param": "hover", "empty": False}
# What the pointer is nearest to, and all others at the same place of the axis.
_HOVER = {
    "name": "hover",
    "select": {
        "type": "point",
        "nearest": True,
        "on": "pointerover",
        "clear": "pointerout",
        "fields": ["x"],
    },
    "views": ["near"],
}


def _finish(
    values: pd.DataFrame,
    layers: Sequence[Part],
    panel: Panel,
    series: Sequence[SeriesStyle],
    notes: dict[str, object],
    columns: Sequence[str],
) -> Part:
    drawn = values[["series", "label", "epoch", "x", "value", *columns]]
    drawn = drawn.assign(has_point=_points_at(values, series), **notes)
    heading: Part = {"title": panel.heading, "height": PANEL_HEIGHT}
    return layered(drawn, layers, **heading, params=[_HOVER])
