"""What is drawn behind and on the curves of a panel: baselines, bands, crosses, triangles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from sing_monitor.app.charts.common import (
    RANDOM_COLOR,
    RANDOM_DASH,
    SeriesStyle,
    color,
    cross_look,
)
from sing_monitor.app.charts.curves.panel import Panel
from sing_monitor.app.charts.vega import Part, category, layer, quantity


def random_lines(
    random: pd.DataFrame | None, panel: Panel, series: Sequence[SeriesStyle]
) -> list[Part]:
    """A dotted line for each run, and a tick where there is no line."""
    if random is None or random["value"].isna().all():
        return []
    drawn = random[["series", "label", "epoch", "x", "value"]]
    drawn = drawn.assign(alone=isolated(random["value"], random["label"]))
    # Runs of a configuration share its color, and each has its own line.
    run = {"color": color(series), "detail": category("label")}
    place = {"x": panel.x(), "y": panel.y(), **run}
    dotted: Part = {"strokeWidth": 1.2, "strokeDash": RANDOM_DASH}
    line = layer("line", place, **dotted, invalid="break-paths-show-domains")
    tick: Part = {"orient": "horizontal", "thickness": 1.5, "size": 14}
    return [{"data": drawn, "layer": [line, layer("tick", place, "datum.alone", **tick)]}]


def intervals(panel: Panel, series: Sequence[SeriesStyle]) -> list[Part]:
    """A bar where the interval is known, and a faint band where it is at neighboring values too.

    No band leads over values whose interval was not read: their curve may lie beside it.
    """
    ends = {"y": panel.y("low"), "y2": {"field": "high"}}
    place = {"x": panel.x(), **ends, "color": color(series)}
    faint: Part = {"opacity": 0.2, "line": False, "invalid": "break-paths-show-domains"}
    return [
        layer("area", place, **faint),
        layer("rule", place, "isValid(datum.low)", opacity=0.5),
    ]


def crosses(panel: Panel, series: Sequence[SeriesStyle]) -> list[Part]:
    """A cross on every value that is out of support."""
    place = {"x": panel.x(), "y": panel.y(), "color": color(series)}
    return [layer("point", place, "datum.support && isValid(datum.value)", **cross_look())]


def triangles(
    alerts: pd.DataFrame | None, panel: Panel, series: Sequence[SeriesStyle]
) -> list[Part]:
    """A rule at the epoch, and a large triangle on the curve that can be pointed at.

    One triangle stands for all alerts at its place; of several it is larger and holds their number.
    """
    if alerts is None or alerts.empty:
        return []
    tooltip = [category("alert", title="alert"), *panel.tooltip(), category("message")]
    place: Part = {"x": panel.x(), "color": color(series), "tooltip": tooltip}
    several = "datum.count > 1"
    size = {"condition": {"test": several, "value": 320}, "value": 140}
    number = {"y": panel.y(), "text": quantity("count"), "color": {"value": "white"}}
    look: Part = {"shape": "triangle-down", "filled": True, "opacity": 1, "yOffset": -11}
    layers = [
        layer("rule", place, strokeWidth=1, strokeDash=[2, 2]),
        layer("point", {**place, "y": panel.y(), "size": size}, **look),
        layer("text", {**place, **number}, several, yOffset=-12, fontSize=10, fontWeight="bold"),
    ]
    return [{"data": alerts, **each} for each in layers]


def zero(values: pd.DataFrame) -> list[Part]:
    """A line at zero where the curves lie on both sides: there the sign is the message."""
    if not values["value"].min() < 0 < values["value"].max():
        return []
    place = {"y": quantity("zero"), "color": {"value": RANDOM_COLOR}}
    rule = layer("rule", place, strokeWidth=1, opacity=0.5)
    return [{"data": pd.DataFrame({"zero": [0.0]}), **rule}]


def places(curves: ArrayLike) -> NDArray[np.int64]:
    """How many values of its curve come before each one, (N,).

    Args:
        curves: what curve each one is on, (N,).
    """
    codes = pd.factorize(np.asarray(curves))[0]
    order, sizes = np.argsort(codes, kind="stable"), np.bincount(codes)
    found = np.empty(len(codes), dtype=np.int64)
    found[order] = np.arange(len(codes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return found


def isolated(values: ArrayLike, curves: ArrayLike) -> NDArray[np.bool_]:
    """Which values have no neighbor on their curve to draw a line to, (N,).

    Args:
        values: in the order of each curve, (N,).
        curves: what curve each one is on, (N,).
    """
    codes = pd.factorize(np.asarray(curves))[0]
    order = np.argsort(codes, kind="stable")
    known = np.isfinite(np.asarray(values, dtype=np.float64))[order]
    linked = known[1:] & known[:-1] & (np.diff(codes[order]) == 0)
    found = np.zeros(len(order), dtype=bool)
    found[order] = known & ~np.append(linked, False) & ~np.append(False, linked)
    return found
