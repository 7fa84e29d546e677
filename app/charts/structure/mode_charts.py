"""The modes of the weights: what they follow, in which layers they are, and how far apart."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from sing_monitor.app.charts.common import LINE_WIDTH, chart_title

# Viridis, as the other matrices, at equal steps from 0 to 1.
_STOPS = ("#440154", "#3b528b", "#21918c", "#5ec962", "#fde725")
_HEIGHT = 470
# From a row of the curves to the next; few values lie farther out, and reach into the next row.
_DEVIATIONS = 5
# Rows that the first and the last curve may reach beyond theirs.
_ROOM = 0.4
_MOST_PIXELS, _LEAST_PIXELS, _PIXELS = 1100, 6, 24
_AROUND = 130
# Pixels between two names at the left of the matrix.
_NAME_HEIGHT = 13


def references(
    curves: pd.DataFrame, sizes: pd.DataFrame, color: str, title: str, about: str
) -> alt.LayerChart:
    """A row for each mode with its reference curve; all rows have one scale.

    Args:
        curves: from `mode_rows.read_curves`.
        sizes: from `mode_rows.by_mode`.
        color: of the lines.
        title: of the chart.
        about: a line below.
    """
    modes = sorted(curves["mode"].unique().tolist())
    place = {mode: row for row, mode in enumerate(modes)}
    share = sizes.set_index("mode")["share"].reindex(modes).fillna(0)
    drawn = curves.assign(
        y=curves["mode"].map(place) + 0.5 - curves["value"] / _DEVIATIONS,
        share=curves["mode"].map(share),
    )
    # Several validations of one epoch would stand above each other.
    by_epoch = not drawn.duplicated(["mode", "epoch"]).any()
    field = "epoch" if by_epoch else "validation"
    x = alt.X(
        f"{field}:Q",
        title="epoch" if by_epoch else "validation of the window",
        scale=alt.Scale(zero=False, nice=False, padding=8),
        axis=alt.Axis(format="d", tickMinStep=1, grid=False),
    )
    labels = [f"mode {mode} · {_percent(share[mode])}" for mode in modes]
    y = alt.Y(
        "y:Q",
        title=None,
        scale=alt.Scale(domain=[len(modes) + _ROOM, -_ROOM], nice=False, zero=False),
        axis=alt.Axis(
            values=[row + 0.5 for row in range(len(modes))],
            labelExpr=f"{labels}[floor(datum.value)]",
            ticks=False,
            domain=False,
            gridOpacity=0.6,
        ),
    )
    tooltip = [
        alt.Tooltip("mode:Q", format="d"),
        alt.Tooltip("share:Q", title="of the moving weights", format=".1%"),
        alt.Tooltip("layer:N", title="layer of the reference"),
        alt.Tooltip("epoch:Q", format="d"),
        alt.Tooltip("value:Q", title="standard deviations", format="+.2f"),
    ]
    paint, detail = alt.ColorValue(color), alt.Detail("mode:N")
    line = alt.Chart().mark_line(strokeWidth=LINE_WIDTH, clip=True)
    dots = alt.Chart().mark_point(filled=True, size=22, opacity=1, clip=True)
    return alt.LayerChart(
        data=drawn,
        layer=[
            line.encode(x=x, y=y, color=paint, detail=detail),
            dots.encode(x=x, y=y, color=paint, tooltip=tooltip),
        ],
        title=chart_title(title, about),
        height=_HEIGHT,
    )


def layer_map(cells: pd.DataFrame, columns: Sequence[str], title: str, about: str) -> alt.Chart:
    """A cell for each layer and mode: the share of the layer's weights.

    Args:
        cells: from `mode_rows.shares`.
        columns: the modes, from the left.
        title: of the chart.
        about: a line below.
    """
    names = cells.drop_duplicates("depth").sort_values("depth")["name"].tolist()
    pixels = min(_PIXELS, max(_LEAST_PIXELS, _MOST_PIXELS // max(1, len(names))))
    y_axis = alt.Axis(labelLimit=170, grid=False, ticks=False, labelOverlap=True)
    x_axis = alt.Axis(labelAngle=0, grid=False, ticks=False)
    return alt.Chart(
        cells,
        mark=alt.MarkDef("rect", stroke="white", strokeWidth=0.5, strokeOpacity=0.35),
        encoding=alt.FacetedEncoding(
            x=alt.X(
                "column:N",
                title="mode",
                sort=list(columns),
                scale=alt.Scale(domain=list(columns)),
                axis=x_axis,
            ),
            y=alt.Y("name:N", title=None, sort=names, scale=alt.Scale(domain=names), axis=y_axis),
            color=_color("share", "share of the layer", ".0%"),
            tooltip=[
                alt.Tooltip("layer:N"),
                alt.Tooltip("column:N", title="mode"),
                alt.Tooltip("weights:Q", title="sampled weights", format=",d"),
                alt.Tooltip("share:Q", title="of the layer", format=".1%"),
            ],
        ),
        title=chart_title(title, about),
        height=max(5, len(names)) * pixels + _AROUND,
    )


def weight_matrix(picture: str, blocks: pd.DataFrame, title: str, about: str) -> alt.LayerChart:
    """``|corr|`` of any two weights as a picture; a block of two modes says its mean.

    Args:
        picture: from `matrix_picture`.
        blocks: from `mode_rows.blocks`.
        title: of the chart.
        about: a line below.
    """
    size = int(blocks["below"].max())
    named = _named(blocks)
    labels = [str(mode) for mode in named["first"]]
    middles = ((named["top"] + named["below"]) / 2).tolist()
    axis: dict[str, Any] = {
        "values": middles,
        "labelExpr": f"{labels}[indexof({middles}, datum.value)]",
        "grid": False,
        "ticks": False,
        "domain": False,
        "labelOverlap": False,
    }
    x = alt.X("left:Q", scale=alt.Scale(domain=[0, size], nice=False, zero=False), axis=None)
    y = alt.Y(
        "top:Q",
        title="mode",
        scale=alt.Scale(domain=[size, 0], nice=False, zero=False),
        axis=alt.Axis(**axis),
    )
    # A quarter of a million marks would be too many for a browser.
    image = (
        alt.Chart(pd.DataFrame({"url": [picture]}))
        .mark_image(
            width=alt.expr("width"),
            height=alt.expr("height"),
            aspect=False,
            align="left",
            baseline="top",
        )
        .encode(x=alt.XValue(0), y=alt.YValue(0), url="url:N")
    )
    parts = alt.Chart(blocks).mark_rect(fillOpacity=0, stroke="white", strokeOpacity=0.5)
    frames = parts.encode(
        x=x,
        x2="right:Q",
        y=y,
        y2="below:Q",
        color=_color("mean", "|correlation|", ".2~f"),
        tooltip=[
            alt.Tooltip("first:Q", title="mode", format="d"),
            alt.Tooltip("second:Q", title="and mode", format="d"),
            alt.Tooltip("mean:Q", title="mean |correlation|", format=".2f"),
        ],
    )
    return alt.LayerChart(layer=[image, frames], title=chart_title(title, about), height=_HEIGHT)


def matrix_picture(correlations: NDArray[np.float64]) -> str:
    """A matrix (n, n) of numbers from 0 to 1 in the colors of the scale, as a data URI."""
    image = Image.fromarray((255 * correlations).round().astype(np.uint8), "L")
    image.putpalette(_palette().ravel().tolist())
    file = BytesIO()
    image.save(file, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _percent(share: float) -> str:
    return format(share, ".0%" if share > 0.01 else ".1%")


def _palette() -> NDArray[np.uint8]:
    """The 256 colors of the scale, (256, 3)."""
    stops = np.array([[int(each[at : at + 2], 16) for at in (1, 3, 5)] for each in _STOPS])
    at, places = np.linspace(0, 1, 256), np.linspace(0, 1, len(_STOPS))
    channels = [np.interp(at, places, stops[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=1).round().astype(np.uint8)


def _color(field: str, title: str, number_format: str) -> alt.Color:
    legend = alt.Legend(
        title=title,
        orient="bottom",
        direction="horizontal",
        gradientLength=180,
        gradientOpacity=1,
        format=number_format,
        values=[0, 0.25, 0.5, 0.75, 1],
    )
    domain = np.linspace(0, 1, len(_STOPS)).tolist()
    scale = alt.Scale(domain=domain, range=list(_STOPS), interpolate="rgb")
    return alt.Color(f"{field}:Q", scale=scale, legend=legend)


def _named(blocks: pd.DataFrame) -> pd.DataFrame:
    """The blocks on the diagonal that have room for their name."""
    own = blocks[blocks["first"] == blocks["second"]]
    middle = (own["top"] + own["below"]) / 2 * 0.75 * _HEIGHT / own["below"].max()
    last, found = -float(_NAME_HEIGHT), []
    for at in middle:
        found.append(bool(at - last >= _NAME_HEIGHT))
        last = at if found[-1] else last
    return own[found]
