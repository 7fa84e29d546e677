"""The plane of Attribute Score and Image Score, and the bars that sum it up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import altair as alt
import numpy as np
import pandas as pd
from scipy.stats import chi2

from sing_monitor.app.charts.common import (
    DASH,
    RANDOM_COLOUR,
    Series,
    colour,
    dash,
    shape,
    title,
)
from sing_monitor.app.metrics import MISSING

MOST_POINTS = 2000
SHARE = 0.95

_PLANE_HEIGHT = 560
_BAR_STEP = 26
_CORNERS = 72
_SEED = 0


@dataclass(frozen=True)
class Plane:
    """What the plane says around its points.

    Args:
        title: which scores.
        about: a line below it.
        attribute: the range of AS, the same for all epochs.
        image: the range of IS, likewise.
        caveat: why the runs do not compare; may be empty.
    """

    title: str
    about: str
    attribute: tuple[float, float]
    image: tuple[float, float]
    caveat: str = ""

    def _encoding(self) -> dict[str, alt.X | alt.Y]:
        x = alt.Scale(domain=list(self.attribute), nice=False)
        y = alt.Scale(domain=list(self.image), nice=False)
        toward = "AS in degrees (right: toward the class)"
        return {
            "x": alt.X("attribute:Q", title=toward, scale=x),
            "y": alt.Y("image:Q", title="IS in degrees (up: more meaning moved)", scale=y),
        }


def ellipse(attribute: pd.Series, image: pd.Series, share: float = SHARE) -> pd.DataFrame:
    """The ellipse that covers a share of the images, if they are normally distributed.

    All (AS, IS) with ``(p - mean)' C^-1 (p - mean) = q``, C the covariance and q the quantile of
    chi-squared with 2 degrees of freedom. It describes images, and not how well their mean is
    known.

    Args:
        attribute: AS of each image, in degrees.
        image: IS of each image, in degrees.
        share: of the images, between 0 and 1.

    Returns:
        Columns attribute, image, order; closed. Empty for fewer than 3 images with both scores.
    """
    scores = np.column_stack([attribute, image]).astype(np.float64)
    scores = scores[np.isfinite(scores).all(axis=1)]
    if len(scores) < 3:
        return pd.DataFrame({"attribute": [], "image": [], "order": []}, dtype=np.float64)
    variances, axes = np.linalg.eigh(np.cov(scores, rowvar=False))
    radii = np.sqrt(variances.clip(min=0) * chi2.ppf(share, df=2))
    turn = np.linspace(0, 2 * np.pi, _CORNERS + 1)
    circle = np.stack([np.cos(turn), np.sin(turn)])
    corners = scores.mean(axis=0)[:, None] + axes @ (radii[:, None] * circle)
    return pd.DataFrame(
        {"attribute": corners[0], "image": corners[1], "order": np.arange(len(turn))}
    )


def sample(images: pd.DataFrame, most: int = MOST_POINTS) -> pd.DataFrame:
    """At most so many images of each run, the same ones at every call; for drawing only."""
    drawn = images.groupby("series", sort=False).sample(frac=1, random_state=_SEED)
    place = drawn.groupby("series", sort=False).cumcount()
    return drawn[place < most].sort_index().reset_index(drop=True)


def ranges(
    path: pd.DataFrame, images: pd.DataFrame
) -> tuple[tuple[float, float], tuple[float, float]]:
    """The range of AS, with 0 in the middle, and of IS: room for the ellipses of all epochs.

    Args:
        path: columns attribute, image and their spreads attribute_std, image_std.
        images: columns attribute and image; whatever is drawn fits.
    """
    radius = np.sqrt(chi2.ppf(SHARE, df=2))
    ends = []
    for name in ("attribute", "image"):
        room = radius * path[f"{name}_std"].fillna(0)
        values = pd.concat([path[name] - room, path[name] + room, images[name]])
        known = values[np.isfinite(values.astype(np.float64))]
        ends.append((float(known.min()), float(known.max())) if len(known) else (0.0, 1.0))
    (left, right), (low, high) = ends
    widest = 1.05 * max(abs(left), abs(right), 1.0)
    return (-widest, widest), (min(low, 0.0), 1.05 * max(high, 1.0))


def plane(
    points: pd.DataFrame,
    ellipses: pd.DataFrame,
    path: pd.DataFrame,
    around: Plane,
    series: Sequence[Series],
) -> alt.LayerChart:
    """A cloud of images with its ellipse for each run, and the path of the mean over epochs.

    Args:
        points: columns series, attribute, image, outside; drawn faintly, and hollow out of support.
        ellipses: from `ellipse`, with the column series.
        path: columns series, label, epoch, order, attribute, image, is_chosen.
        around: what stands around them.
        series: the runs; colours and dashes follow it.
    """
    place = around._encoding() | {"color": colour(series)}
    shown = path.dropna(subset=["attribute", "image"])
    tooltip = [
        alt.Tooltip("label:N", title="run"),
        alt.Tooltip("epoch:Q", title="epoch", format="d"),
        alt.Tooltip("attribute:Q", title="mean AS", format=".2f"),
        alt.Tooltip("image:Q", title="mean IS", format=".2f"),
    ]
    cloud = alt.Chart(points).mark_point(filled=True, size=10, opacity=0.16, clip=True)
    hollow = alt.Chart(points).mark_point(size=12, strokeWidth=0.8, opacity=0.5, clip=True)
    outline = alt.Chart(ellipses).mark_line(strokeWidth=2, clip=True)
    line = alt.Chart(shown).mark_line(strokeWidth=1.5)
    dots = alt.Chart(shown).mark_point(filled=True, size=24, opacity=1)
    chosen = alt.Chart(shown).transform_filter("datum.is_chosen")
    # A light rim keeps the mark apart from the cloud, on both backgrounds.
    mark = chosen.mark_point(filled=True, size=170, opacity=1, stroke="white", strokeWidth=2)
    zero = alt.Chart(pd.DataFrame({"zero": [0.0]})).mark_rule(strokeWidth=1, opacity=0.6)
    order = alt.Order("order:Q")
    return alt.LayerChart(
        layer=[
            zero.encode(x=alt.X("zero:Q"), color=alt.ColorValue(RANDOM_COLOUR)),
            cloud.transform_filter("!datum.outside").encode(**place),
            hollow.transform_filter("datum.outside").encode(**place),
            outline.encode(**place, order=order, strokeDash=dash(series)),
            line.encode(**place, order=order, strokeDash=dash(series)),
            dots.encode(**place, shape=shape(series), tooltip=tooltip),
            mark.encode(**place, shape=shape(series), tooltip=tooltip),
        ],
        title=title(around.title, around.about, f"⚠ {around.caveat}" if around.caveat else ""),
        height=_PLANE_HEIGHT,
    )


@dataclass(frozen=True)
class Bars:
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


def bars(values: pd.DataFrame, around: Bars, series: Sequence[Series]) -> alt.LayerChart:
    """A bar for each run with its number; a grey tick where a random subspace would end.

    Args:
        values: columns series, label, value, random, text, low, high; random may be NaN, and so may
            low and high, the ends of the interval.
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
        # The number stands behind the bar and its whisker.
        end=values["high"].fillna(values["value"]),
        interval=[
            f"{low:.3g} to {high:.3g}" if isfinite(low) else MISSING
            for low, high in zip(values["low"], values["high"], strict=True)
        ],
    )
    rim = alt.Scale(domain=keys, range=[each.colour for each in series])
    base = alt.Chart().encode(x=x, y=y)
    tooltip = [
        alt.Tooltip("label:N", title="run"),
        alt.Tooltip("text:N", title=around.title),
        alt.Tooltip("random:Q", title="random subspace", format=".2f"),
        alt.Tooltip("interval:N", title="95 % interval"),
    ]
    bar = base.mark_bar(height={"band": 0.62}, strokeWidth=1.5, clip=True).encode(
        color=colour(series),
        stroke=alt.Stroke("series:N", scale=rim, legend=None),
        fillOpacity=alt.condition("datum.is_baseline", alt.value(0.3), alt.value(0.9)),
        strokeDash=alt.condition("datum.is_baseline", alt.value(DASH), alt.value([1, 0])),
        tooltip=tooltip,
    )
    tick = base.transform_filter("isValid(datum.random)").mark_tick(thickness=2, size=20, clip=True)
    sure = base.transform_filter("isValid(datum.low)")
    ends = {"x": alt.X("low:Q", title=None), "x2": alt.X2("high:Q")}
    number = base.encode(x=alt.X("end:Q", title=None)).mark_text(align="left", dx=6, fontSize=12)
    return alt.LayerChart(
        data=drawn,
        layer=[
            bar,
            # Seen on the bar and on both backgrounds.
            sure.mark_rule(strokeWidth=4).encode(**ends, color=alt.ColorValue("white")),
            sure.mark_rule(strokeWidth=1.5).encode(**ends, color=alt.ColorValue("black")),
            tick.encode(x=alt.X("random:Q"), color=alt.ColorValue(RANDOM_COLOUR)),
            number.encode(text="text:N", color=alt.ColorValue(RANDOM_COLOUR)),
        ],
        title=title(around.title, around.about, f"⚠ {around.caveat}" if around.caveat else ""),
        height={"step": _BAR_STEP},
    )


def _names(series: Sequence[Series]) -> str:
    """An expression that gives a run's label for its id; labels may hold any signs."""
    names = ", ".join(f"{_quoted(each.key)}: {_quoted(each.label)}" for each in series)
    return f"({{{names}}})[datum.value]"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", " ")
    return f"'{escaped}'"
