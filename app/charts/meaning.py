"""Where the meaning lies: what the seen and the null part of the features say of the embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from sing_monitor.app.charts.common import (
    PALETTE,
    PANEL_HEIGHT,
    RANDOM_COLOR,
    SHAPES,
    SeriesStyle,
    chart_title,
)
from sing_monitor.app.charts.panel import Panel

# The parts from bottom to top: column, name and color.
PARTS = (
    ("seen", "seen alone", PALETTE[0]),
    ("both", "both", PALETTE[2]),
    ("null", "null alone", PALETTE[1]),
    ("neither", "neither", RANDOM_COLOR),
)
# The legend stands below.
_HEIGHT = PANEL_HEIGHT + 40
_FAINT, _PAINTED = alt.value(0.3), alt.value(0.75)
_LINES = ([1, 0], [6, 4], [2, 3], [9, 3, 2, 3])


def shares(history: pd.DataFrame) -> pd.DataFrame:
    """The four parts of the embeddings' variance at every validation.

    ``seen + both + null + neither = 1``. All are held out, so that a part may be slightly negative.

    Args:
        history: columns epoch, x, ``meaning/unique_seen``, ``meaning/shared``,
            ``meaning/unique_null`` and ``translator/r2``.

    Returns:
        Columns epoch, x, seen, both, null, neither and ``span``, which counts the validations
        before that have no split; no row for these.
    """
    found = pd.DataFrame(
        {
            "epoch": history["epoch"],
            "x": history["x"],
            "seen": history["meaning/unique_seen"],
            "both": history["meaning/shared"],
            "null": history["meaning/unique_null"],
            "neither": 1 - history["translator/r2"],
        }
    )
    return found.assign(span=found.isna().any(axis=1).cumsum()).dropna().reset_index(drop=True)


def stacked_parts(parts: pd.DataFrame) -> pd.DataFrame:
    """One row for each part and validation, with where it is drawn.

    What is below 0 is drawn as 0; ``value`` says the number itself.

    Args:
        parts: from `shares`.

    Returns:
        Columns epoch, x, span, part, value, low, high, the four numbers of the validation, and
        ``alone``: whether it has no neighbor to draw an area to.
    """
    parts = parts.assign(alone=parts.groupby("span")["x"].transform("size") == 1)
    drawn = parts[[name for name, *_ in PARTS]].clip(lower=0)
    tops = drawn.cumsum(axis=1)
    rows = [
        parts.assign(part=label, value=parts[name], low=tops[name] - drawn[name], high=tops[name])
        for name, label, _ in PARTS
    ]
    return pd.concat(rows, ignore_index=True)


def meaning_stack(
    parts: pd.DataFrame, about: str, x_title: str, x_domain: tuple[float, float]
) -> alt.LayerChart:
    """The four parts on each other over the epochs; a bar where a validation stands alone.

    Args:
        parts: from `stacked_parts`.
        about: a line below the title.
        x_title: what the axis counts.
        x_domain: the same for all panels of the page.
    """
    labels, colors = [part[1] for part in PARTS], [part[2] for part in PARTS]
    place = Panel("", "", "", "", x_title, x_domain)
    color = alt.Color(
        "part:N",
        scale=alt.Scale(domain=labels, range=colors),
        legend=alt.Legend(
            title=None, orient="bottom", columns=2, symbolType="square", symbolOpacity=0.75
        ),
    )
    top = max(1.0, float(parts["high"].max()))
    y = alt.Y(
        "low:Q",
        title="share",
        scale=alt.Scale(domain=[0, top], nice=False),
        axis=alt.Axis(format=".1f", tickCount=5),
    )
    base = alt.Chart().encode(x=place.x(), y=y, y2=alt.Y2("high:Q"), color=color)
    is_neither = "datum.part == 'neither'"
    tooltip = [
        alt.Tooltip("epoch:Q", format="d"),
        *(alt.Tooltip(f"{name}:Q", title=title, format=".3f") for name, title, _ in PARTS),
    ]
    area = base.mark_area(line=False).encode(
        detail="span:N",
        opacity=alt.OpacityValue(**alt.when(is_neither).then(_FAINT).otherwise(_PAINTED)),
    )
    # Thin bars also catch the pointer, at every validation.
    bars = base.mark_bar(size=9).encode(
        opacity=alt.OpacityValue(
            **alt.when(f"datum.alone && {is_neither}")
            .then(_FAINT)
            .when("datum.alone")
            .then(_PAINTED)
            .otherwise(alt.value(0.02))
        ),
        tooltip=tooltip,
    )
    return alt.LayerChart(
        data=parts,
        layer=[area, bars],
        title=chart_title("Meaning of the images", "share of the embeddings' variance", about),
        height=_HEIGHT,
    )


def things_panel(
    values: pd.DataFrame, panel: Panel, run: SeriesStyle, things: Sequence[str]
) -> alt.LayerChart:
    """A line for the class and for each annotated attribute, all of one run, in its color.

    Args:
        values: columns thing, epoch, x and value.
        panel: what stands around them.
        run: whose.
        things: in the order of the legend.
    """
    names = list(things)
    legend = alt.Legend(title=None, orient="bottom", symbolStrokeWidth=2)
    dashes = [_LINES[place % len(_LINES)] for place in range(len(names))]
    marks = [SHAPES[place % len(SHAPES)] for place in range(len(names))]
    dash = alt.StrokeDash("thing:N", scale=alt.Scale(domain=names, range=dashes), legend=legend)
    shape = alt.Shape("thing:N", scale=alt.Scale(domain=names, range=marks), legend=legend)
    paint = alt.ColorValue(run.color)
    base = alt.Chart().transform_filter("isValid(datum.value)")
    line = base.mark_line(strokeWidth=2).encode(
        x=panel.x(), y=panel.y(), strokeDash=dash, color=paint
    )
    point = base.mark_point(filled=True, size=42, opacity=1).encode(
        x=panel.x(),
        y=panel.y(),
        shape=shape,
        color=paint,
        tooltip=[
            alt.Tooltip("thing:N", title="of"),
            alt.Tooltip("epoch:Q", format="d"),
            alt.Tooltip("value:Q", title=panel.title, format=panel.number_format),
        ],
    )
    return alt.LayerChart(data=values, layer=[line, point], title=panel.heading, height=_HEIGHT)
