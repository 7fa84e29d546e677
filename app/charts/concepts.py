"""Concepts: how far each lies from the images before and after null removal."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from sing_monitor.app.charts.classes import AWAY, TOWARD, height_of
from sing_monitor.app.charts.common import RANDOM_COLOR, chart_title
from sing_monitor.app.wording.text import one_line

MOST = 30


def ordered(table: pd.DataFrame, suffix: str) -> pd.DataFrame:
    """The concepts with the largest |AS| first, those without a number last.

    Args:
        table: ``concepts``, or ``class_concepts`` of one class.
        suffix: of the pair: ``""`` or ``"_centered"``.

    Returns:
        Columns name, n, before, after (degrees), value, which is AS: before less after, and
        spread, the standard deviation of AS over the images, NaN where the table does not tell.
    """
    columns = {
        "angle_before": "before",
        f"angle_after{suffix}": "after",
        f"attribute_score{suffix}": "value",
        f"attribute_score_std{suffix}": "spread",
    }
    names = table["concept"].map(lambda name: one_line(str(name)))
    rows = table.reindex(columns=["n", *columns]).rename(columns=columns)
    rows.insert(0, "name", names)
    rows = rows.drop_duplicates("name")
    place = rows["value"].abs().sort_values(ascending=False, kind="stable", na_position="last")
    return rows.loc[place.index].reset_index(drop=True)


def arrows(rows: pd.DataFrame, what: str, *lines: str) -> alt.LayerChart:
    """An arrow for each concept from its angle before null removal to the one after.

    Args:
        rows: from `ordered`, those that are drawn.
        what: whose angles, in words.
        lines: below the title.
    """
    names = rows["name"].tolist()
    y = alt.Y(
        "name:N",
        title=None,
        sort=names,
        scale=alt.Scale(domain=names),
        axis=alt.Axis(labelLimit=160, grid=True, gridOpacity=0.35, labelOverlap=False),
    )
    paint = alt.Color(
        "sign:N",
        scale=alt.Scale(domain=["away", "toward"], range=[AWAY, TOWARD]),
        legend=None,
    )
    tooltip = [
        alt.Tooltip("name:N", title="concept"),
        alt.Tooltip("before:Q", title="angle before", format=".2f"),
        alt.Tooltip("after:Q", title="angle after", format=".2f"),
        alt.Tooltip("value:Q", title="AS", format="+.2f"),
        alt.Tooltip("spread:Q", title="standard deviation over images", format=".2f"),
        alt.Tooltip("n:Q", title="images"),
    ]
    known = alt.Chart().transform_filter("isValid(datum.before) && isValid(datum.after)")
    x = alt.X("before:Q", title="angle to the concept (degrees)", scale=alt.Scale(zero=False))
    shaft = known.mark_rule(strokeWidth=2.5).encode(y=y, x=x, x2="after:Q", color=paint)
    start = known.mark_point(size=35, filled=True, opacity=1).encode(
        y=y, x=x, color=alt.ColorValue(RANDOM_COLOR), tooltip=tooltip
    )
    head = known.mark_point(size=110, filled=True, opacity=1).encode(
        y=y,
        x=alt.X("after:Q"),
        color=paint,
        shape=alt.Shape(
            "sign:N",
            scale=alt.Scale(domain=["away", "toward"], range=["triangle-right", "triangle-left"]),
            legend=None,
        ),
        tooltip=tooltip,
    )
    return alt.LayerChart(
        data=rows.assign(sign=(rows["value"] < 0).map({True: "away", False: "toward"})),
        layer=[shaft, start, head],
        height=height_of(len(names)),
        title=chart_title(
            what,
            "dot: before · head: after null removal · blue: nearer, orange: farther",
            *lines,
        ),
    )


def movers(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """The concepts whose AS differs most first.

    Args:
        before: from `ordered`, the epoch or run that is compared with.
        after: from `ordered`.

    Returns:
        Columns name, before and after (AS, degrees) and difference (after less before).
    """
    both = before[["name", "value"]].merge(
        after[["name", "value"]], on="name", how="outer", suffixes=("_before", "_after")
    )
    both.columns = pd.Index(["name", "before", "after"])
    both = both.assign(difference=both["after"] - both["before"])
    place = both["difference"].abs().sort_values(ascending=False, kind="stable")
    return both.loc[place.index].reset_index(drop=True)


def history(tables: Sequence[tuple[int, pd.DataFrame]], suffix: str) -> pd.DataFrame:
    """AS of every concept at every epoch: the columns of `ordered`, and epoch."""
    parts = [ordered(table, suffix).assign(epoch=epoch) for epoch, table in tables]
    return pd.concat(parts, ignore_index=True)
