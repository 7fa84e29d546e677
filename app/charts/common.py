"""What all charts share: colours, the dashed baseline, titles, and the words for those who listen.

Colours stand out on white and on the dark background (contrast at least 3) and differ for the three
kinds of colour-blind eyes.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt

from sing_monitor.app.text import count, listed

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
# Grey enough to stand back, and legible as text on both backgrounds.
RANDOM_COLOUR = "#757b85"
DASH = [6, 4]
LINE_WIDTH = 2.0
PANEL_HEIGHT = 270


@dataclass(frozen=True)
class Series:
    """One line of a chart and its entry in the legend.

    Args:
        key: the value of the data's column ``series``.
        label: for people.
        colour: hexadecimal.
        is_baseline: drawn dashed.
    """

    key: str
    label: str
    colour: str
    is_baseline: bool = False


def colour(series: Sequence[Series]) -> alt.Color:
    """Colour by the column ``series``; without a legend, which the page shows once."""
    scale = alt.Scale(domain=[each.key for each in series], range=[each.colour for each in series])
    return alt.Color("series:N", scale=scale, legend=None)


def dash(series: Sequence[Series]) -> alt.StrokeDash:
    """Dashes for the baseline, by the column ``series``."""
    scale = alt.Scale(
        domain=[each.key for each in series],
        range=[DASH if each.is_baseline else [1, 0] for each in series],
    )
    return alt.StrokeDash("series:N", scale=scale, legend=None)


def title(text: str, *lines: str) -> alt.TitleParams:
    """A title at the left with smaller lines below; empty lines are left out."""
    below = [line for line in lines if line]
    return alt.TitleParams(
        text,
        subtitle=below or alt.Undefined,
        anchor="start",
        frame="bounds",
        fontSize=14,
        fontWeight=600,
        subtitleFontSize=12,
        # Streamlit's theme leaves it black, also on the dark background.
        subtitleColor=RANDOM_COLOUR,
        offset=8,
    )


def alt_text(what: str, series: Sequence[Series]) -> str:
    """The accessible text of a chart: what it shows, and of which runs."""
    names = [f"{each.label} (baseline)" if each.is_baseline else each.label for each in series]
    shown = listed(names) if len(names) <= 4 else f"{', '.join(names[:4])} and others"
    return f"{what}; {count(len(series), 'run')}: {shown}."


def swatch(
    colour: str, is_baseline: bool = False, *, is_thin: bool = False, height: int = 12
) -> str:
    """A short stroke as it looks in the charts, as a data URI for Markdown and tables.

    Args:
        colour: hexadecimal.
        is_baseline: dashed.
        is_thin: as the random subspace is drawn.
        height: of the picture; tables scale it to the height of their rows.
    """
    dashes = ' stroke-dasharray="6 3"' if is_baseline else ""
    middle = height / 2
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="28" height="{height}">'
        f'<line x1="2" y1="{middle}" x2="26" y2="{middle}" stroke="{colour}"'
        f' stroke-width="{1.5 if is_thin else 3}"{dashes}/></svg>'
    )
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
