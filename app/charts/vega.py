"""Charts in Vega-Lite's own words: plain dictionaries, with data frames where their data stand.

Altair copies each part of a layered chart over and over, which takes a tenth of a second for one
chart of twenty runs. Pages that show dozens of charts write them down with these few words; the
tests check what comes out against the schema.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

# Part of a chart; Altair's charts take it as well.
Part = dict[str, Any]


def quantity(field: str, **more: Any) -> Part:
    """A channel, or a line of a tooltip, for a column of numbers."""
    return {"field": field, "type": "quantitative", **more}


def category(field: str, **more: Any) -> Part:
    """The same for a column of names."""
    return {"field": field, "type": "nominal", **more}


def layer(kind: str, encoding: Part, where: str | Part = "", **look: Any) -> Part:
    """A layer: a mark for each row, or a line or area for all.

    Args:
        kind: of Vega-Lite's marks.
        encoding: channels by name.
        where: an expression or a predicate that holds for the rows to draw; empty: for all.
        look: properties of the mark.
    """
    rows = {"transform": [{"filter": where}]} if where else {}
    return {**rows, "mark": {"type": kind, **look}, "encoding": encoding}


def layered(
    data: pd.DataFrame, layers: Sequence[Part], *, title: Part, height: int, **more: Any
) -> Part:
    """A chart of layers on each other, the first one below.

    Args:
        data: of all layers that have none of their own.
        layers: from `layer`.
        title: from `sing_monitor.app.charts.common.chart_title`.
        height: in pixels, with title and axis.
        more: properties of the chart.
    """
    return {"data": data, "layer": list(layers), "title": title, "height": height, **more}
