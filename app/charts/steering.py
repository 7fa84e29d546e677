"""How near to another class null-space steering brings images, pair by pair."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from sing_monitor.app.charts.classes import height_of
from sing_monitor.app.charts.common import SeriesStyle, chart_title
from sing_monitor.app.wording.text import one_line

MOST = 30
_ROW = 14  # pixels that each run takes in a row


def ordered(table: pd.DataFrame) -> pd.DataFrame:
    """With the column ``pair``, the pair with the largest mean AS magnitude over the runs first.

    Args:
        table: ``steering`` of one or several runs under each other.
    """
    sides = [
        table[side].map(lambda name: one_line(str(name)) or "(no name)")
        for side in ("source", "target")
    ]
    pair = sides[0] + " → " + sides[1]
    indices = table["source_index"].map(str) + " → " + table["target_index"].map(str)
    repeats = table.assign(pair=pair, indices=indices).groupby("pair")["indices"]
    named = table.assign(
        pair=pair.where(repeats.transform("nunique") < 2, pair + " (" + indices + ")")
    )
    means = named.groupby("pair")["attribute_score_abs"].transform("mean")
    order = named.assign(means=means).sort_values(
        ["means", "pair"], ascending=[False, True], kind="stable"
    )
    return order.drop(columns="means").reset_index(drop=True)


def pairs(
    rows: pd.DataFrame, series: Sequence[SeriesStyle], about: str, caveat: str = ""
) -> alt.LayerChart:
    """A point on a stalk for each pair and run, runs side by side; the baseline's is hollow.

    Args:
        rows: from `ordered`, with ``series`` and ``label``.
        series: the runs.
        about: a line below the title.
        caveat: why the runs do not compare; may be empty.
    """
    names = list(dict.fromkeys(rows["pair"]))
    y = alt.Y(
        "pair:N",
        title=None,
        sort=names,
        scale=alt.Scale(domain=names),
        axis=alt.Axis(labelLimit=200, grid=False, labelOverlap=False),
    )
    offset = alt.YOffset("series:N", scale=alt.Scale(domain=[each.key for each in series]))
    x = alt.X(
        "attribute_score_abs:Q",
        title="|AS| (degrees)",
        scale=alt.Scale(zero=True, nice=False),
        axis=alt.Axis(tickCount=8),
    )
    tooltip = [
        alt.Tooltip("pair:N", title="from → toward"),
        alt.Tooltip("label:N", title="run"),
        alt.Tooltip("attribute_score_abs:Q", title="|AS|", format=".2f"),
        alt.Tooltip("attribute_score:Q", title="AS", format="+.2f"),
        alt.Tooltip("attribute_score_std:Q", title="spread of AS", format=".2f"),
        alt.Tooltip("limit:Q", title="IS limit", format=".1f"),
        alt.Tooltip("reachable:Q", title="steerable", format=".0%"),
        alt.Tooltip("n:Q", title="images"),
    ]
    layers = []
    for each in series:
        base = alt.Chart().transform_filter(
            (alt.datum.series == each.key) & alt.expr.isValid(alt.datum.attribute_score_abs)
        )
        paint = alt.ColorValue(each.color)
        stalk = base.mark_rule(strokeWidth=2, opacity=0.5)
        point = base.mark_point(
            size=70, opacity=1, strokeWidth=2, filled=not each.is_baseline, shape=each.shape
        )
        layers += [
            stalk.encode(y=y, yOffset=offset, x=x, x2=alt.X2Datum(0), color=paint),
            point.encode(y=y, yOffset=offset, x=x, color=paint, tooltip=tooltip),
        ]
    extra = len(names) * _ROW * (len(series) - 1)
    hollow = "hollow: baseline" if any(each.is_baseline for each in series) else ""
    return alt.LayerChart(
        data=rows,
        layer=layers,
        height=height_of(len(names)) + extra,
        title=chart_title(
            "|AS| toward another class, when steered to IS = 40°",
            " · ".join(filter(None, (about, hollow))),
            f"⚠ {caveat}" if caveat else "",
        ),
    )
