"""The singular values of the head."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from sing_monitor.app.charts.common import (
    LINE_WIDTH,
    RANDOM_COLOR,
    SeriesStyle,
    chart_title,
    color,
    dash,
    shape,
)

_HEIGHT = 340


def spectrum(
    values: pd.DataFrame, about: str, is_log: bool, series: Sequence[SeriesStyle]
) -> alt.LayerChart:
    """Singular values in falling order; those beyond the rank are hollow and gray.

    A logarithmic axis has no place for values that are not positive; they are left out.

    Args:
        values: columns series, label, index (from 0), singular_value, in_row_space.
        about: a line below the title.
        is_log: whether the values stand on a logarithmic axis.
        series: the runs; colors and dashes follow it.
    """
    known = values.dropna(subset="singular_value")
    drawn = known[known["singular_value"] > 0] if is_log else known
    drawn = drawn.assign(
        number=drawn["index"] + 1,
        use=drawn["in_row_space"].map({True: "read by the head", False: "beyond the rank"}),
    )
    scale = alt.Scale(type="log") if is_log else alt.Scale(zero=True)
    axis = alt.Axis(format=".6~g", tickCount=6)
    place = {
        "x": alt.X("number:Q", title="singular value", axis=alt.Axis(format="d", tickMinStep=1)),
        "y": alt.Y("singular_value:Q", title="size", scale=scale, axis=axis),
    }
    tooltip = [
        alt.Tooltip("label:N", title="run"),
        alt.Tooltip("number:Q", title="singular value", format="d"),
        alt.Tooltip("singular_value:Q", title="size", format=".4g"),
        alt.Tooltip("use:N", title="it is"),
    ]
    counted = alt.Chart().transform_filter("datum.in_row_space")
    beyond = alt.Chart().transform_filter("!datum.in_row_space")
    line = counted.mark_line(strokeWidth=LINE_WIDTH)
    dots = counted.mark_point(filled=True, size=34, opacity=1)
    hollow = beyond.mark_point(filled=False, size=34, strokeWidth=1.5, opacity=1)
    return alt.LayerChart(
        data=drawn,
        layer=[
            line.encode(**place, color=color(series), strokeDash=dash(series)),
            dots.encode(**place, color=color(series), shape=shape(series), tooltip=tooltip),
            hollow.encode(
                **place,
                color=alt.ColorValue(RANDOM_COLOR),
                detail=alt.Detail("series:N"),
                tooltip=tooltip,
            ),
        ],
        title=chart_title("Singular values of the head", about),
        height=_HEIGHT,
    )
