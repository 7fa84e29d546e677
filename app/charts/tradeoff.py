"""The plane of Attribute Score and Image Score: every image, and the path of their mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from sing_monitor.app.charts.common import (
    RANDOM_COLOR,
    SeriesStyle,
    chart_title,
    color,
    dash,
    shape,
    support_cross,
)
from sing_monitor.app.wording.support_marks import support_text

MOST_POINTS = 2000
SHARE = 0.95

_PLANE_HEIGHT = 560
_CORNERS = 72
_SEED = 0


@dataclass(frozen=True)
class PlaneLabels:
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

    def _x(self, field: str = "attribute") -> alt.X:
        scale = alt.Scale(domain=list(self.attribute), nice=False)
        return alt.X(f"{field}:Q", title="AS in degrees (right: toward the class)", scale=scale)

    def _y(self, field: str = "image") -> alt.Y:
        scale = alt.Scale(domain=list(self.image), nice=False)
        return alt.Y(f"{field}:Q", title="IS in degrees (up: more meaning moved)", scale=scale)


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
    radii = np.sqrt(variances.clip(min=0)) * _radius(share)
    turn = np.linspace(0, 2 * np.pi, _CORNERS + 1)
    circle = np.stack([np.cos(turn), np.sin(turn)])
    corners = scores.mean(axis=0)[:, None] + axes @ (radii[:, None] * circle)
    return pd.DataFrame(
        {"attribute": corners[0], "image": corners[1], "order": np.arange(len(turn))}
    )


def _radius(share: float) -> float:
    """In standard deviations: the root of a quantile of chi-squared with 2 degrees of freedom.

    That is an exponential distribution, ``1 - exp(-q / 2)``; scipy's would cost 50 MB of memory.
    """
    return math.sqrt(-2 * math.log1p(-share))


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
    radius = _radius(SHARE)
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
    around: PlaneLabels,
    series: Sequence[SeriesStyle],
) -> alt.LayerChart:
    """A cloud of images with its ellipse for each run, and the path of the mean over epochs.

    Args:
        points: columns series, attribute, image, outside; drawn faintly, those out of support as
            crosses.
        ellipses: from `ellipse`, with the column series.
        path: columns series, label, epoch, order, attribute, image, is_chosen, outside, the share
            of the images out of support, and the intervals' ends attribute_low, attribute_high,
            image_low and image_high; NaN where unknown.
        around: what stands around them.
        series: the runs; colors and dashes follow it.
    """
    place: dict[str, Any] = {"x": around._x(), "y": around._y(), "color": color(series)}
    shown = _noted(path.dropna(subset=["attribute", "image"]))
    tooltip = [
        alt.Tooltip("label:N", title="run"),
        alt.Tooltip("epoch:Q", title="epoch", format="d"),
        alt.Tooltip("attribute:Q", title="mean AS", format=".2f"),
        alt.Tooltip("image:Q", title="mean IS", format=".2f"),
        alt.Tooltip("attribute_interval:N", title="95 % interval of AS"),
        alt.Tooltip("image_interval:N", title="95 % interval of IS"),
        alt.Tooltip("support:N", title="out of support"),
    ]
    cloud = alt.Chart(points).mark_point(filled=True, size=10, opacity=0.16, clip=True)
    far = alt.Chart(points).transform_filter("datum.outside")
    outline = alt.Chart(ellipses).mark_line(strokeWidth=2, clip=True)
    line = alt.Chart(shown).mark_line(strokeWidth=1.5)
    dots = alt.Chart(shown).mark_point(filled=True, size=24, opacity=1)
    chosen = alt.Chart(shown).transform_filter("datum.is_chosen")
    # A light rim keeps the mark apart from the cloud, on both backgrounds.
    mark = chosen.mark_point(filled=True, size=170, opacity=1, stroke="white", strokeWidth=2)
    zero = alt.Chart(pd.DataFrame({"zero": [0.0]})).mark_rule(strokeWidth=1, opacity=0.6)
    marked = alt.Chart(shown).transform_filter("datum.support")
    on_mark = place | {"color": alt.ColorValue("white")}
    order = alt.Order("order:Q")
    return alt.LayerChart(
        layer=[
            zero.encode(x=alt.X("zero:Q"), color=alt.ColorValue(RANDOM_COLOR)),
            cloud.transform_filter("!datum.outside").encode(**place),
            support_cross(far, size=16, width=0.9, opacity=0.6).encode(**place),
            outline.encode(**place, order=order, strokeDash=dash(series)),
            line.encode(**place, order=order, strokeDash=dash(series)),
            dots.encode(**place, shape=shape(series), tooltip=tooltip),
            *_whiskers(chosen, around, series),
            support_cross(marked.transform_filter("!datum.is_chosen")).encode(**place),
            mark.encode(**place, shape=shape(series), tooltip=tooltip),
            support_cross(marked.transform_filter("datum.is_chosen"), size=50).encode(**on_mark),
        ],
        title=chart_title(
            around.title, around.about, f"⚠ {around.caveat}" if around.caveat else ""
        ),
        height=_PLANE_HEIGHT,
    )


def _noted(path: pd.DataFrame) -> pd.DataFrame:
    """With what the tooltip says of the means, empty where it is unknown."""
    found = path.assign(support=support_text(path["outside"]))
    for name in ("attribute", "image"):
        low, high = (
            path[f"{name}_{end}"].map("{:.2f}".format).astype(str) for end in ("low", "high")
        )
        text = low + " to " + high
        found[f"{name}_interval"] = text.where(path[f"{name}_low"].notna(), "")
    return found


def _whiskers(
    chosen: alt.Chart, around: PlaneLabels, series: Sequence[SeriesStyle]
) -> list[alt.Chart]:
    """Bars through the chosen mean, which they are seen behind where the interval is wide."""
    flat: dict[str, Any] = {
        "x": around._x("attribute_low"),
        "x2": alt.X2("attribute_high:Q"),
        "y": around._y(),
    }
    steep: dict[str, Any] = {
        "y": around._y("image_low"),
        "y2": alt.Y2("image_high:Q"),
        "x": around._x(),
    }
    return [
        chosen.transform_filter(f"isValid(datum.{name}_low)")
        .mark_rule(strokeWidth=3, clip=True)
        .encode(**ends, color=color(series))
        for name, ends in (("attribute", flat), ("image", steep))
    ]
