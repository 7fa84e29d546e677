"""A value of classes or concepts over training, as colors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from sing_monitor.app.charts.classes import (
    AWAY,
    SUPPORT,
    TOWARD,
    height_of,
    names_axis,
    with_support,
)
from sing_monitor.app.charts.common import chart_title, support_cross

_NEUTRAL = "#e4e7ec"


def heat_map(
    rows: pd.DataFrame, names: Sequence[str], what: str, *lines: str, kind: str = "class"
) -> alt.LayerChart:
    """A cell for each name and epoch; orange below zero, blue above, a gap where nothing is known.

    Args:
        rows: columns name, epoch, value; perhaps ``outside``, the share of images out of support.
        names: from top to bottom.
        what: the value, in words.
        lines: below the title.
        kind: what the names are.
    """
    drawn = rows[rows["name"].isin(names)]
    values = drawn["value"].to_numpy(dtype=float)
    furthest = float(np.abs(values[np.isfinite(values)]).max(initial=0.0)) or 1.0
    scale = alt.Scale(
        domain=[-furthest, 0, furthest], range=[AWAY, _NEUTRAL, TOWARD], interpolate="lab"
    )
    epochs = sorted(drawn["epoch"].unique().tolist())
    axis = alt.Axis(labelAngle=0, labelOverlap=True, grid=False)
    place: dict[str, Any] = {
        "x": alt.X("epoch:O", title="epoch", scale=alt.Scale(domain=epochs), axis=axis),
        "y": names_axis("name", names),
    }
    legend = alt.Legend(title="degrees", gradientLength=120, format=".3~g")
    tooltip = [
        alt.Tooltip("name:N", title=kind),
        alt.Tooltip("epoch:O"),
        alt.Tooltip("value:Q", title=what, format=".2f"),
        *SUPPORT,
    ]
    cells = alt.Chart().mark_rect()
    far = support_cross(alt.Chart().transform_filter("datum.support"), size=40, width=1)
    return alt.LayerChart(
        data=with_support(drawn.dropna(subset="value")),
        layer=[
            cells.encode(
                **place, color=alt.Color("value:Q", scale=scale, legend=legend), tooltip=tooltip
            ),
            # Dark on every cell, whatever the background.
            far.encode(**place, color=alt.ColorValue("#1b2430")),
        ],
        height=height_of(len(names)),
        title=chart_title(f"{what}: {kind} by epoch", *lines),
    )
