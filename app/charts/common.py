"""What all charts share: colors, the dashed baseline, titles, and the words for those who listen.

Colors stand out on white and on the dark background (contrast at least 3) and differ for the three
kinds of color-blind eyes.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import altair as alt

from sing_monitor.app.charts.vega import Part, category
from sing_monitor.app.wording.text import count, listed

PALETTE = (
    "#0078b4",
    "#d25a00",
    "#00a5a5",
    "#a578f0",
    "#a53c4b",
    "#c38769",
    "#c300f0",
    "#875a87",
)
# Gray enough to stand back, and legible as text on both backgrounds.
RANDOM_COLOR = "#757b85"
# The page's own, dark or light: text marks know nothing of Streamlit's theme.
TEXT = "currentColor"
DASH = [6, 4]
# Where picked runs share a color, the second and later ones look different in these.
DASHES = ([1, 0], [2, 3], [9, 3, 2, 3])
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross")
_MARKS = {
    "square": "M-4-4h8v8h-8z",
    "triangle-up": "M0-5L5 4H-5z",
    "diamond": "M0-6L5 0L0 6L-5 0z",
    "cross": "M-5-2h3v-3h4v3h3v4h-3v3h-4v-3h-3z",
}
# Out of support: a diagonal cross, in points of a chart and in the legend.
_OUTSIDE = "M-1-1L1 1M1-1L-1 1"
# Thinner and shorter than any dash of a run.
RANDOM_DASH = [1, 2]
LINE_WIDTH = 2.0
PANEL_HEIGHT = 270


@dataclass(frozen=True)
class SeriesStyle:
    """One line of a chart and its entry in the legend.

    Args:
        key: the value of the data's column ``series``.
        label: for people.
        color: hexadecimal.
        is_baseline: drawn dashed.
        variant: 0, or how many others in the chart that have its color come before it.
    """

    key: str
    label: str
    color: str
    is_baseline: bool = False
    variant: int = 0

    @property
    def dashes(self) -> list[int]:
        """Of its lines: strokes and gaps in pixels."""
        return DASH if self.is_baseline else DASHES[self.variant % len(DASHES)]

    @property
    def shape(self) -> str:
        """Of its points, by Vega's name."""
        return SHAPES[self.variant % len(SHAPES)]


def color(series: Sequence[SeriesStyle]) -> Part:
    """Color by the column ``series``; without a legend, which the page shows once."""
    return _by_series(series, [each.color for each in series])


def dash(series: Sequence[SeriesStyle]) -> Part:
    """Dashes for the baseline and for colors that repeat, by the column ``series``."""
    return _by_series(series, [each.dashes for each in series])


def shape(series: Sequence[SeriesStyle]) -> Part:
    """Circles, and other shapes where colors repeat, by the column ``series``."""
    return _by_series(series, [each.shape for each in series])


def _by_series(series: Sequence[SeriesStyle], looks: list[Any]) -> Part:
    scale = {"domain": [each.key for each in series], "range": looks}
    return category("series", scale=scale, legend=None)


def chart_title(text: str, *lines: str) -> Part:
    """A title at the left with smaller lines below; empty lines are left out."""
    below = [line for line in lines if line]
    return {
        "text": text,
        **({"subtitle": below} if below else {}),
        "anchor": "start",
        "frame": "bounds",
        "fontSize": 14,
        "fontWeight": 600,
        "subtitleFontSize": 12,
        # Streamlit's theme leaves it black, also on the dark background.
        "subtitleColor": RANDOM_COLOR,
        "offset": 8,
    }


def line_title(name: str) -> str:
    """What a line of a tooltip is called, where a store chooses the name.

    Vega draws the line ``image`` as the picture at its value, and ``title`` as a heading.

    Example::

        >>> line_title("image"), line_title("val_acc")
        ('image:', 'val_acc')
    """
    return f"{name}:" if name in ("image", "title") else name


def alt_text(what: str, series: Sequence[SeriesStyle]) -> str:
    """The accessible text of a chart: what it shows, and of which runs."""
    names = [f"{each.label} (baseline)" if each.is_baseline else each.label for each in series]
    shown = listed(names) if len(names) <= 4 else f"{', '.join(names[:4])} and others"
    return f"{what}; {count(len(series), 'run')}: {shown}."


# A page names each run many times over.
@lru_cache(maxsize=512)
def swatch(series: SeriesStyle, height: int = 12) -> str:
    """A short stroke as it looks in the charts, as a data URI for Markdown and tables.

    Args:
        series: whose.
        height: of the picture; tables scale it to the height of their rows.
    """
    path = _MARKS.get(series.shape, "")
    mark = f'<path transform="translate(14 {height / 2})" fill="{series.color}" d="{path}"/>'
    return _stroke(series.color, 3, series.dashes, height, mark if path else "")


def random_swatch() -> str:
    """The same for the random subspace, which is dotted in the color of its run."""
    return _stroke(RANDOM_COLOR, 1.5, RANDOM_DASH, 12)


def cross_look(size: int = 110, width: float = 1.6) -> Part:
    """How a mark ``point`` looks that says of a score: it is out of support.

    Args:
        size: in square pixels; larger than the point, which it would not stand out from.
        width: of the strokes.
    """
    look = {"shape": _OUTSIDE, "filled": False, "opacity": 1, "clip": True}
    return {**look, "size": size, "strokeWidth": width}


def support_cross(base: alt.Chart, size: int = 110, width: float = 1.6, **more: Any) -> alt.Chart:
    """A diagonal cross on each point of the chart: its score is out of support.

    Args:
        base: holds those points alone.
        size: see `cross_look`.
        width: see there.
        more: properties of the mark.
    """
    return base.mark_point(**{**cross_look(size, width), **more})


def cross_swatch() -> str:
    """The cross as a picture for the legend."""
    path = f'<path transform="translate(6 6) scale(4)" stroke-width="0.4" d="{_OUTSIDE}"/>'
    return picture(12, 12, f'<g stroke="{RANDOM_COLOR}" fill="none">{path}</g>')


def _stroke(color: str, width: float, dashes: Sequence[int], height: int, mark: str = "") -> str:
    pattern = " ".join(map(str, dashes))
    line = (
        f'<line x1="2" y1="{height / 2}" x2="26" y2="{height / 2}" stroke="{color}"'
        f' stroke-width="{width}" stroke-dasharray="{pattern}"/>'
    )
    return picture(28, height, line + mark)


def picture(width: int, height: int, content: str) -> str:
    """SVG as a data URI, for legends in Markdown.

    Args:
        width: in pixels.
        height: in pixels.
        content: elements of SVG.
    """
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">{content}</svg>'
    )
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
