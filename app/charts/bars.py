"""One number of each run at one epoch, as bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import altair as alt
import pandas as pd

from sing_monitor.app.charts.common import (
    DASH,
    RANDOM_COLOR,
    SeriesStyle,
    chart_title,
    color,
    support_cross,
)
from sing_monitor.app.wording.metrics import MISSING
from sing_monitor.app.wording.support_marks import support_text

_STEP = 26


@dataclass(frozen=True)
class BarLabels:
    """What a bar chart says around its bars.

    Args:
        title: the number.
        about: a line below it.
        longest: the end of the axis, the same for all epochs.
        caveat: why the runs do not compare; may be empty.
    """

    title: str
    about: str
    longest: float
    caveat: str = ""


def bars(values: pd.DataFrame, around: BarLabels, series: Sequence[SeriesStyle]) -> alt.LayerChart:
    """A bar for each run with its number; a gray tick where a random subspace would end.

    Args:
        values: columns series, label, value, random, text, low, high, outside; random may be NaN,
            and so may low and high, the ends of the interval, and the share out of support.
        around: what stands around them.
        series: the runs; the baseline's bar is pale with a dashed rim.
    """
    keys = [each.key for each in series]
    axis = alt.Axis(labelExpr=_names(series), title=None, labelLimit=130, ticks=False, domain=False)
    y = alt.Y("series:N", sort=keys, axis=axis, scale=alt.Scale(domain=keys))
    x = alt.X(
        "value:Q",
        title=None,
        # The number needs room behind the longest bar.
        scale=alt.Scale(domain=[0, 1.2 * around.longest], nice=False),
        axis=alt.Axis(tickCount=4, grid=False),
    )
    is_baseline = {each.key: each.is_baseline for each in series}
    drawn = values.assign(
        is_baseline=values["series"].map(is_baseline),
        # The number stands behind the bar, its whisker and the tick.
        end=values[["value", "high", "random"]].max(axis=1).where(values["value"].notna()),
        interval=[
            f"{low:.3g} to {high:.3g}" if isfinite(low) else MISSING
            for low, high in zip(values["low"], values["high"], strict=True)
        ],
        support=support_text(values["outside"]),
    )
    rim = alt.Scale(domain=keys, range=[each.color for each in series])
    base = alt.Chart().encode(x=x, y=y)
    tooltip = [
        alt.Tooltip("label:N", title="run"),
        alt.Tooltip("text:N", title=around.title),
        alt.Tooltip("random:Q", title="random subspace", format=".2f"),
        alt.Tooltip("interval:N", title="95 % interval"),
        alt.Tooltip("support:N", title="out of support"),
    ]
    bar = base.mark_bar(height={"band": 0.62}, strokeWidth=1.5, clip=True).encode(
        color=color(series),
        stroke=alt.Stroke("series:N", scale=rim, legend=None),
        fillOpacity=alt.condition("datum.is_baseline", alt.value(0.3), alt.value(0.9)),
        strokeDash=alt.condition("datum.is_baseline", alt.value(DASH), alt.value([1, 0])),
        tooltip=tooltip,
    )
    tick = base.transform_filter("isValid(datum.random)").mark_tick(thickness=2, size=20, clip=True)
    sure = base.transform_filter("isValid(datum.low)")
    ends = {"x": alt.X("low:Q", title=None), "x2": alt.X2("high:Q")}
    behind = base.encode(x=alt.X("end:Q", title=None))
    number = behind.mark_text(align="left", dx=6, fontSize=12)
    # Behind the number.
    far = support_cross(behind.transform_filter("datum.support"), xOffset=52)
    return alt.LayerChart(
        data=drawn,
        layer=[
            bar,
            # Seen on the bar and on both backgrounds.
            sure.mark_rule(strokeWidth=4).encode(**ends, color=alt.ColorValue("white")),
            sure.mark_rule(strokeWidth=1.5).encode(**ends, color=alt.ColorValue("black")),
            tick.encode(x=alt.X("random:Q"), color=alt.ColorValue(RANDOM_COLOR)),
            number.encode(text="text:N", color=alt.ColorValue(RANDOM_COLOR)),
            far.encode(color=alt.ColorValue(RANDOM_COLOR)),
        ],
        title=chart_title(
            around.title, around.about, f"⚠ {around.caveat}" if around.caveat else ""
        ),
        height={"step": _STEP},
    )


def _names(series: Sequence[SeriesStyle]) -> str:
    """An expression that gives a run's label for its id; labels may hold any signs."""
    names = ", ".join(f"{_quoted(each.key)}: {_quoted(each.label)}" for each in series)
    return f"({{{names}}})[datum.value]"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", " ")
    return f"'{escaped}'"
