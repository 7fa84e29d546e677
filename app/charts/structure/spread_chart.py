"""How evenly the features of an image are spread over it, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping

import altair as alt
import pandas as pd

from sing_monitor.app.charts.common import (
    LINE_WIDTH,
    PALETTE,
    RANDOM_COLOR,
    chart_title,
)

# Title, axis and legend, which Streamlit counts in, take half of it.
_HEIGHT = 320
_LEAST_RANGE = 0.9
_COLORS = {"all": RANDOM_COLOR, "seen": PALETTE[0], "null": PALETTE[1]}


def spreads(values: pd.DataFrame, names: Mapping[str, str], at_epoch: int) -> alt.LayerChart:
    """A line for each part of the features.

    Args:
        values: from `focus_rows.spread_history`.
        names: of the parts, in their order.
        at_epoch: marked by a vertical line.
    """
    drawn = values.assign(name=values["part"].map(names))
    known = [part for part in names if part in set(values["part"])]
    x = alt.X(
        "epoch:Q",
        axis=alt.Axis(format="d", tickMinStep=1),
        scale=alt.Scale(nice=False, padding=12),
    )
    # Small changes of an even map would fill the chart.
    lowest = min(_LEAST_RANGE, float(values["entropy"].min()))
    y = alt.Y(
        "entropy:Q",
        title="H",
        axis=alt.Axis(tickCount=5),
        scale=alt.Scale(domain=[lowest, 1], zero=False, padding=6),
    )
    color = alt.Color(
        "name:N",
        scale=alt.Scale(
            domain=[names[part] for part in known], range=[_COLORS[part] for part in known]
        ),
        legend=alt.Legend(title=None, orient="bottom", columns=3, labelLimit=200),
    )
    tooltip = [
        alt.Tooltip("name:N", title="of"),
        alt.Tooltip("epoch:Q", format="d"),
        alt.Tooltip("entropy:Q", title="H", format=".3f"),
    ]
    base = alt.Chart().encode(x=x, y=y, color=color)
    rule = alt.Chart(pd.DataFrame({"epoch": [at_epoch]})).mark_rule(
        strokeWidth=1, strokeDash=[3, 3], color=RANDOM_COLOR
    )
    return alt.LayerChart(
        data=drawn,
        layer=[
            rule.encode(x=x),
            base.mark_line(strokeWidth=LINE_WIDTH),
            base.mark_point(filled=True, size=50, opacity=1).encode(tooltip=tooltip),
        ],
        title=chart_title(
            "How evenly the features are spread", "H of this image; 1: everywhere, 0: on one place"
        ),
        height=_HEIGHT,
    )
