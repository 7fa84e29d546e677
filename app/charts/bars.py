"""One number of each run at one epoch, as bars."""

from __future__ import annotations

import json
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
_OPTIONAL = ("thin_low", "thin_high", "band_low", "band_high")


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
            and so may low and high, the ends of the interval, and the share out of support. Perhaps
            also thin_low and thin_high, the ends of a second, thinner whisker, and band_low and
            band_high, between which random heads lie.
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
    values = values.reindex(columns=list(dict.fromkeys([*values, *_OPTIONAL])))
    drawn = values.assign(
        is_baseline=values["series"].map(is_baseline),
        # The number stands behind the bar, its whisker and the tick.
        end=values[["value", "high", "thin_high", "random"]]
        .astype(float)
        .max(axis=1)
        .where(values["value"].notna()),
        interval=_in_words(values["low"], values["high"]),
        heads=_in_words(values["band_low"], values["band_high"]),
        # Nothing is drawn left of the axis.
        band_low=values["band_low"].clip(lower=0),
        ridges=_in_words(values["thin_low"], values["thin_high"]),
        support=support_text(values["outside"]),
    )
    rim = alt.Scale(domain=keys, range=[each.color for each in series])
    base = alt.Chart().encode(x=x, y=y)
    tooltip = [
        alt.Tooltip("label:N", title="run"),
        alt.Tooltip("text:N", title=around.title),
        alt.Tooltip("random:Q", title="random subspace", format=".2f"),
        alt.Tooltip("interval:N", title="95 % interval"),
        alt.Tooltip("heads:N", title="of 19 in 20 random heads"),
        alt.Tooltip("ridges:N", title="for ridges that translate as well"),
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
    heads = base.transform_filter("isValid(datum.band_low)").mark_bar(height={"band": 1})
    heads = heads.encode(
        x=alt.X("band_low:Q", title=None),
        x2=alt.X2("band_high:Q"),
        color=alt.ColorValue(RANDOM_COLOR),
        opacity=alt.value(0.3),
    )
    sure = base.transform_filter("isValid(datum.low)").encode(
        x=alt.X("low:Q", title=None), x2=alt.X2("high:Q")
    )
    thin = base.transform_filter("isValid(datum.thin_low)").encode(
        x=alt.X("thin_low:Q", title=None), x2=alt.X2("thin_high:Q")
    )
    behind = base.encode(x=alt.X("end:Q", title=None))
    number = behind.mark_text(align="left", dx=6, fontSize=12)
    # Behind the number.
    far = support_cross(behind.transform_filter("datum.support"), xOffset=52)
    return alt.LayerChart(
        data=drawn,
        layer=[
            *([heads] if values["band_low"].notna().any() else []),
            bar,
            *_on_both_backgrounds(thin if values["thin_low"].notna().any() else None, 0.75),
            *_on_both_backgrounds(sure, 1.5),
            tick.encode(x=alt.X("random:Q"), color=alt.ColorValue(RANDOM_COLOR)),
            number.encode(text="text:N", color=alt.ColorValue(RANDOM_COLOR)),
            far.encode(color=alt.ColorValue(RANDOM_COLOR)),
        ],
        title=chart_title(
            around.title, around.about, f"⚠ {around.caveat}" if around.caveat else ""
        ),
        height={"step": _STEP},
    )


def _on_both_backgrounds(whisker: alt.Chart | None, width: float) -> list[alt.Chart]:
    """A rule with a rim, seen on the bar and on both backgrounds; none for None."""
    if whisker is None:
        return []
    return [
        whisker.mark_rule(strokeWidth=stroke).encode(color=alt.ColorValue(color))
        for stroke, color in ((width + 2.5, "white"), (width, "black"))
    ]


def _in_words(low: pd.Series, high: pd.Series) -> list[str]:
    """Ranges for a tooltip; a dash where there is none."""
    return [
        f"{a:.3g} to {b:.3g}" if isfinite(a) else MISSING for a, b in zip(low, high, strict=True)
    ]


def _names(series: Sequence[SeriesStyle]) -> str:
    """An expression that gives a run's label for its id; labels may hold any signs."""
    names = ", ".join(f"{json.dumps(each.key)}: {json.dumps(each.label)}" for each in series)
    return f"({{{names}}})[datum.value]"
