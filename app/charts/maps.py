"""Maps of an image laid over it: energies, and where its Attribute Score comes from."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from io import BytesIO

import altair as alt
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from sing_monitor.app.charts.classes import AWAY, TOWARD
from sing_monitor.app.charts.common import PALETTE, chart_title

SIZE = 204
_NEUTRAL = "#e4e7ec"
_ENERGY = PALETTE[2]
_MOST_PIXELS = 320


@dataclass(frozen=True)
class MapLabels:
    """What a map shows.

    Args:
        title: for people.
        lines: below it.
        unit: of the scale.
        is_signed: orange below zero and blue above it; else from zero on.
        most: end of the scale; None: the largest value of the map.
        number: format of values on the scale, as Vega reads it.
    """

    title: str
    lines: tuple[str, ...]
    unit: str
    is_signed: bool = False
    most: float | None = None
    number: str = ".3~g"


def gray(picture: NDArray[np.uint8]) -> str:
    """A picture (H, W, 3) without colors, as a data URI: color is the maps'."""
    return _data_uri(Image.fromarray(picture).convert("L"))


def colored(picture: NDArray[np.uint8]) -> str:
    """A picture (H, W, 3) as a data URI."""
    return _data_uri(Image.fromarray(picture))


def enlarged(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture with its pixels repeated: browsers blur what they enlarge."""
    factor = max(1, SIZE // max(picture.shape[:2]))
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def _data_uri(image: Image.Image) -> str:
    image.thumbnail((_MOST_PIXELS, _MOST_PIXELS))
    if max(image.size) < SIZE:
        # Browsers blur what they enlarge.
        factor = -(-SIZE // max(image.size))
        image = image.resize(
            (image.width * factor, image.height * factor), Image.Resampling.NEAREST
        )
    file = BytesIO()
    image.save(file, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def locations(values: NDArray[np.float64]) -> pd.DataFrame:
    """A map (h, w) as rows: column, row and value."""
    rows, columns = np.indices(values.shape)
    return pd.DataFrame({"column": columns.ravel(), "row": rows.ravel(), "value": values.ravel()})


def overlay(values: pd.DataFrame, picture: str, about: MapLabels) -> alt.LayerChart:
    """A map over its picture: the stronger the color, the farther from zero.

    Args:
        values: from `locations`.
        picture: from `gray`; its sides are as those of the map.
        about: what it shows.
    """
    most = float(values["value"].abs().max()) if about.most is None else about.most
    furthest = most if most > 0 else 1.0
    columns, rows = int(values["column"].max()) + 1, int(values["row"].max()) + 1
    width, height = _sides(columns, rows)
    scale = (
        alt.Scale(
            domain=[-furthest, 0, furthest], range=[AWAY, _NEUTRAL, TOWARD], interpolate="lab"
        )
        if about.is_signed
        else alt.Scale(domain=[0, furthest], range=[_NEUTRAL, _ENERGY], interpolate="lab")
    )
    below = alt.Chart(pd.DataFrame({"url": [picture]})).mark_image(aspect=False)
    cells = (
        alt.Chart(values)
        .transform_calculate(strength=f"abs(datum.value) / {furthest!r}")
        .mark_rect()
        .encode(
            x=alt.X("column:O", axis=None, scale=alt.Scale(paddingInner=0, paddingOuter=0)),
            y=alt.Y("row:O", axis=None, scale=alt.Scale(paddingInner=0, paddingOuter=0)),
            color=alt.Color(
                "value:Q",
                scale=scale,
                legend=alt.Legend(
                    title=about.unit,
                    orient="bottom",
                    direction="horizontal",
                    gradientLength=width - 20,
                    gradientThickness=10,
                    titleLimit=width,
                    format=about.number,
                    values=[-furthest, 0, furthest] if about.is_signed else [0, furthest],
                ),
            ),
            opacity=alt.Opacity(
                "strength:Q", scale=alt.Scale(domain=[0, 1], range=[0, 0.85]), legend=None
            ),
            tooltip=[
                alt.Tooltip(
                    "value:Q", title=about.unit, format="+.3g" if about.is_signed else about.number
                ),
                alt.Tooltip("row:O", title="row"),
                alt.Tooltip("column:O", title="column"),
            ],
        )
    )
    return alt.LayerChart(
        layer=[
            below.encode(
                url="url:N",
                x=alt.value(0),
                x2=alt.value(width),
                y=alt.value(0),
                y2=alt.value(height),
            ),
            cells,
        ],
        width=width,
        height=height,
        title=chart_title(about.title, *about.lines),
        # Title and legend come on top: the picture keeps its sides.
        autosize=alt.AutoSizeParams(type="pad"),
    )


def _sides(columns: int, rows: int) -> tuple[int, int]:
    longest = max(columns, rows)
    return round(SIZE * columns / longest), round(SIZE * rows / longest)
