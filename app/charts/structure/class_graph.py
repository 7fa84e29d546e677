"""A few classes as a graph: circles with names, and an edge for each similarity or confusion."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import numpy as np
import pandas as pd

from sing_monitor.app.charts.common import RANDOM_COLOR, TEXT, chart_title
from sing_monitor.app.charts.structure.edges import (
    kind_dash,
    kind_width,
    node_tooltip,
    similarity_color,
    tooltip,
)
from sing_monitor.app.charts.structure.layout import positions
from sing_monitor.app.charts.structure.relations import LATENT, drawn, graph_of, shown_share
from sing_monitor.app.wording.metrics import MISSING
from sing_monitor.app.wording.text import short

# More names than this do not fit a window of 800 pixels.
MOST = 24
_WITH_SHARES = 14
_HEIGHTS = {8: 330, 16: 430}
_TALLEST = 600
# Of the circles, in square pixels.
SIZES = (50, 480)
# What the picture is wide, about: Vega fits it to the window.
_WIDTH = 760
# Pixels from an edge to its share of confusions.
_ASIDE = 12


def class_graph(
    nodes: pd.DataFrame,
    edges: pd.DataFrame,
    title: str,
    lines_below: Sequence[str],
    largest_error: float,
    picked: Sequence[str] = (),
    outside: Sequence[str] = (),
) -> alt.LayerChart:
    """Classes as circles, sized by their share of errors, with their names; edges between them.

    Args:
        nodes: from `read_nodes`, those that are shown; at most `MOST`.
        edges: from `read_edges`, between any classes.
        title: whose graph.
        lines_below: the title.
        largest_error: of all classes; the largest circle.
        picked: names that stand out.
        outside: names that stand back.
    """
    names = nodes["class"].tolist()
    lines = drawn(edges)
    lines = lines[lines["class_a"].isin(names) & lines["class_b"].isin(names)]
    height = next((tall for most, tall in _HEIGHTS.items() if len(names) <= most), _TALLEST)
    start = {row["class"]: (row["x"], row["y"]) for row in nodes.to_dict("records")}
    places = positions(graph_of(lines, names), start, height / _WIDTH)
    # Of no edges at all the places would be words, as the names are.
    ends = {
        f"{axis}{end}": lines[f"class_{side}"]
        .map(lambda name, at=at: places[name][at])
        .astype(float)
        for side, end in (("a", ""), ("b", "2"))
        for at, axis in enumerate("xy")
    }
    # The tooltip's columns are written out: a table of this run may hold many more.
    kept = ["class_a", "class_b", "kind", "similarity"]
    lines = lines[kept].assign(
        **ends, confused=lines["confusion"].map(shown_share), common=_common(lines)
    )
    points = nodes[["class", "error", "images"]].assign(
        x=nodes["class"].map(lambda name: places[name][0]),
        y=nodes["class"].map(lambda name: places[name][1]),
        label=nodes["class"].map(lambda name: short(name, 22)),
        wrong=nodes["error"].map(shown_share),
        picked=nodes["class"].isin(picked),
        outside=nodes["class"].isin(outside),
    )
    layers: list[alt.Chart] = [_lines(lines)]
    if len(names) <= _WITH_SHARES:
        layers.append(_shares(_beside(lines[lines["kind"] != LATENT], height)))
    layers += _circles(points, largest_error)
    return alt.LayerChart(layer=layers, title=chart_title(title, *lines_below), height=height)


def _x(field: str = "x") -> alt.X:
    return alt.X(f"{field}:Q", axis=None, scale=alt.Scale(domain=[-0.06, 1.06], nice=False))


def _y(field: str = "y") -> alt.Y:
    return alt.Y(f"{field}:Q", axis=None, scale=alt.Scale(domain=[-0.06, 1.1], nice=False))


def _lines(lines: pd.DataFrame) -> alt.Chart:
    return (
        alt.Chart(lines)
        .mark_rule(strokeCap="round", opacity=1)
        .encode(
            x=_x(),
            x2="x2:Q",
            y=_y(),
            y2="y2:Q",
            color=similarity_color(),
            strokeWidth=kind_width(),
            strokeDash=kind_dash(),
            tooltip=tooltip(),
        )
    )


def _beside(lines: pd.DataFrame, height: int) -> pd.DataFrame:
    """The middles of the edges, a little to the side, so that words there cross no line."""
    along = np.stack(
        [
            _WIDTH * (lines["x2"] - lines["x"]).to_numpy(float),
            height * (lines["y2"] - lines["y"]).to_numpy(float),
        ]
    )
    across = np.array([[-1.0], [1.0]]) * along[::-1] / np.linalg.norm(along, axis=0).clip(1e-9)
    # Above the line, or to the right of one that is upright.
    across = across * np.where(across[1] < 0, -1, 1)
    return lines.assign(
        x=(lines["x"] + lines["x2"]) / 2 + _ASIDE * across[0] * 1.4 / _WIDTH,
        y=(lines["y"] + lines["y2"]) / 2 + _ASIDE * across[1] / height,
    )


def _shares(middle: pd.DataFrame) -> alt.Chart:
    """How often two classes are taken for each other, on the edge."""
    text = alt.Chart(middle).mark_text(fontSize=11, color=RANDOM_COLOR, fontWeight=600)
    return text.encode(x=_x(), y=_y(), text="confused:N")


def _circles(points: pd.DataFrame, largest: float) -> list[alt.Chart]:
    """Filled where images tell the error, hollow where the class has none; and the names."""
    place = {"x": _x(), "y": _y()}
    size = alt.Size(
        "error:Q", scale=alt.Scale(domain=[0, largest or 1], range=list(SIZES)), legend=None
    )
    base = alt.Chart(points)
    known = base.transform_filter("isValid(datum.error)").mark_point(
        filled=True, opacity=1, color=RANDOM_COLOR
    )
    unknown = base.transform_filter("!isValid(datum.error)").mark_point(
        filled=False, opacity=1, size=SIZES[0], color=RANDOM_COLOR, strokeWidth=1.5
    )
    ring = base.transform_filter("datum.picked").mark_point(
        filled=False, size=1.6 * SIZES[1], strokeWidth=2, color=RANDOM_COLOR, opacity=1
    )
    names = base.mark_text(dy=-18, fontSize=13, fontWeight=600, limit=170, color=TEXT)
    color = alt.condition("datum.outside", alt.value(RANDOM_COLOR), alt.value(TEXT))
    return [
        ring.encode(**place),
        known.encode(**place, size=size, tooltip=node_tooltip()),
        unknown.encode(**place, tooltip=node_tooltip()),
        names.encode(**place, text="label:N", color=color),
    ]


def _common(lines: pd.DataFrame) -> pd.Series:
    return lines["ancestor"].mask(lines["ancestor"] == "", MISSING)
