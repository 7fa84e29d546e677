"""How the edges of a class graph look, on whatever chart: one scale of colors, three kinds."""

from __future__ import annotations

from typing import Any

import altair as alt

from sing_monitor.app.charts.classes import AWAY, TOWARD
from sing_monitor.app.charts.common import PALETTE, RANDOM_COLOR, picture
from sing_monitor.app.charts.structure.relations import EXPLAINED, LATENT, UNEXPLAINED

# The same for every cluster, epoch and run, so that a color always means the same.
DOMAIN = (-1.0, 0.0, 0.5, 1.0)
_NEUTRAL = "#a9aeb6"
COLORS = (AWAY, _NEUTRAL, TOWARD, PALETTE[3])
_WIDTHS = {EXPLAINED: 5.0, UNEXPLAINED: 2.5, LATENT: 1.5}
_DASHES = {EXPLAINED: [1, 0], UNEXPLAINED: [5, 4], LATENT: [1, 0]}
KINDS = {
    EXPLAINED: "**explained**: alike, and confused",
    UNEXPLAINED: "**unexplained error**: confused, though the head does not hold them alike",
    LATENT: "**latent**: alike, and not confused",
}


def similarity_color() -> alt.Color:
    """Orange below 0, blue at 0.5, violet above; without a legend, which the page shows once."""
    scale = alt.Scale(domain=list(DOMAIN), range=list(COLORS), interpolate="lab", clamp=True)
    return alt.Color("similarity:Q", scale=scale, legend=None)


def kind_width() -> alt.StrokeWidth:
    """Thick where similarity explains errors."""
    scale = alt.Scale(domain=list(_WIDTHS), range=list(_WIDTHS.values()))
    return alt.StrokeWidth("kind:O", scale=scale, legend=None)


def kind_dash() -> alt.StrokeDash:
    """Dashed where errors have no similarity behind them."""
    scale = alt.Scale(domain=list(_DASHES), range=list(_DASHES.values()))
    return alt.StrokeDash("kind:N", scale=scale, legend=None)


def tooltip() -> list[alt.Tooltip]:
    """What is known of a pair of classes."""
    return [
        alt.Tooltip("class_a:N", title="class"),
        alt.Tooltip("class_b:N", title="and"),
        alt.Tooltip("kind:N", title="the pair is"),
        alt.Tooltip("similarity:Q", title="similarity of templates", format="+.2f"),
        alt.Tooltip("confused:N", title="taken for each other"),
        alt.Tooltip("common:N", title="common ancestor"),
    ]


def node_tooltip() -> list[alt.Tooltip]:
    """What is known of a class."""
    return [
        alt.Tooltip("class:N"),
        alt.Tooltip("wrong:N", title="of its images wrong"),
        alt.Tooltip("images:Q", title="images", format=",d"),
    ]


def kind_swatch(kind: str) -> str:
    """A stroke of a kind as a picture for the legend."""
    dashes = " ".join(map(str, _DASHES[kind]))
    line = f'<line x1="1" y1="6" x2="27" y2="6" stroke="{RANDOM_COLOR}"'
    return picture(28, 12, f'{line} stroke-width="{_WIDTHS[kind]}" stroke-dasharray="{dashes}"/>')


def scale_swatch() -> str:
    """The scale of similarity as a picture for the legend."""
    stops: Any = zip((0, 50, 75, 100), COLORS, strict=True)
    inside = "".join(f'<stop offset="{at}%" stop-color="{color}"/>' for at, color in stops)
    gradient = f'<linearGradient id="s">{inside}</linearGradient>'
    return picture(90, 12, f'{gradient}<rect width="90" height="12" fill="url(#s)"/>')
