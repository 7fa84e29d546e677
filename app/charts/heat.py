"""A value of classes or concepts over training, as colors."""

from __future__ import annotations

from collections.abc import Sequence

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
from sing_monitor.app.charts.common import chart_title, cross_look
from sing_monitor.app.charts.vega import Part, category, layer, layered, quantity

_NEUTRAL = "#e4e7ec"


def heat_map(
    rows: pd.DataFrame, names: Sequence[str], what: str, *lines: str, kind: str = "class"
) -> Part:
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
    epochs = sorted(drawn["epoch"].unique().tolist())
    place = {
        "x": {
            "field": "epoch",
            "type": "ordinal",
            "title": "epoch",
            "scale": {"domain": epochs},
            "axis": {"labelAngle": 0, "labelOverlap": True, "grid": False},
        },
        "y": names_axis("name", names),
    }
    paint = quantity(
        "value",
        scale={
            "domain": [-furthest, 0, furthest],
            "range": [AWAY, _NEUTRAL, TOWARD],
            "interpolate": "lab",
        },
        legend={"title": "degrees", "gradientLength": 120, "format": ".3~g"},
    )
    tooltip = [
        category("name", title=kind),
        {"field": "epoch", "type": "ordinal"},
        quantity("value", title=what, format=".2f"),
        *SUPPORT,
    ]
    # Dark on every cell, whatever the background.
    far = {**place, "color": {"value": "#1b2430"}}
    return layered(
        with_support(drawn.dropna(subset="value")),
        [
            layer("rect", {**place, "color": paint, "tooltip": tooltip}),
            layer("point", far, "datum.support", **cross_look(40, width=1)),
        ],
        title=chart_title(f"{what}: {kind} by epoch", *lines),
        height=height_of(len(names)),
    )
