"""Two images with lines between their parts: the same places, or those that match best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt
import numpy as np
import pandas as pd

from sing_monitor.app.charts.common import PALETTE, RANDOM_COLOR, chart_title

# Pixels; both pictures and the gap fit a window of 800 pixels beside the sidebar.
SIDE, _GAP = 176, 80
_THIN, _THICK = 1.5, 6.0


@dataclass(frozen=True)
class Places:
    """Matched places of two images, the strongest match first.

    Args:
        a: positions in the first image, row-major.
        b: of their partners in the second.
        strengths: share of the pair's inner product, of each match.
        grid: height and width of the first image's map, then of the second's.
    """

    a: Sequence[int]
    b: Sequence[int]
    strengths: Sequence[float]
    grid: tuple[tuple[int, int], tuple[int, int]]

    @classmethod
    def of(
        cls, a: object, b: object, strengths: object, grid: tuple[tuple[int, int], tuple[int, int]]
    ) -> Places:
        """From the cells of a table; places that are in no map are left out."""
        lists = [
            list(each) if isinstance(each, (list, np.ndarray)) else [] for each in (a, b, strengths)
        ]
        sizes = [height * width for height, width in grid]
        kept = [
            (int(one), int(other), float(strength))
            for one, other, strength in zip(*lists, strict=False)
            if all(isinstance(each, (int, float, np.number)) for each in (one, other, strength))
            and 0 <= one < sizes[0]
            and 0 <= other < sizes[1]
        ]
        first, second, shares = ([each[at] for each in kept] for at in range(3))
        return cls(tuple(map(int, first)), tuple(map(int, second)), tuple(shares), grid)

    def lines(self, *, same_place: bool) -> pd.DataFrame:
        """A row for each match: number, strength, and the middles of both places in pixels.

        Args:
            same_place: to the place at the same position, in place of the partner.
        """
        rows = []
        for number, (a, b, strength) in enumerate(
            zip(self.a, self.b, self.strengths, strict=True), start=1
        ):
            x, y = _middle(a, self.grid[0])
            x2, y2 = _middle(a if same_place else b, self.grid[1])
            right = SIDE + _GAP + x2
            rows.append((str(number), number, float(strength), x, y, right, y2))
        return pd.DataFrame(rows, columns=["label", "number", "strength", "x", "y", "x2", "y2"])


def matched(
    places: Places, pictures: tuple[str, str], title: str, about: str, same_place: bool
) -> alt.LayerChart:
    """Both pictures and the lines between their places.

    Args:
        places: that match best.
        pictures: data URIs of both; empty where none is stored.
        title: with the similarity of the two.
        about: a line below.
        same_place: draw to the same place, gray, in place of the best partner.
    """
    lines = places.lines(same_place=same_place)
    width = 2 * SIDE + _GAP
    shown = pd.DataFrame({"url": list(pictures), "left": [0, SIDE + _GAP], "right": [SIDE, width]})
    x, y = alt.X("x:Q", axis=None, scale=None), alt.Y("y:Q", axis=None, scale=None)
    frame = {"x": alt.X("left:Q", axis=None, scale=None), "x2": "right:Q"}
    frame |= {"y": alt.value(0), "y2": alt.value(SIDE)}
    base = alt.Chart(shown)
    colors = alt.Scale(domain=list(range(1, len(PALETTE) + 1)), range=list(PALETTE))
    paint = (
        alt.ColorValue(RANDOM_COLOR)
        if same_place
        else alt.Color("number:O", scale=colors, legend=None)
    )
    most = float(lines["strength"].max()) if len(lines) else 1.0
    range_ = [_THIN, _THIN] if same_place else [_THIN, _THICK]
    thick = alt.StrokeWidth(
        "strength:Q", scale=alt.Scale(domain=[0, most or 1], range=range_), legend=None
    )
    tooltip = [
        alt.Tooltip("number:O", title="match"),
        alt.Tooltip("strength:Q", title="share of the likeness", format=".1%"),
    ]
    strokes = alt.Chart(lines).mark_rule(strokeCap="round", opacity=0.9)
    layers: list[alt.Chart] = [
        base.mark_rect(color=RANDOM_COLOR, opacity=0.25).encode(**frame),
        base.transform_filter("datum.url").mark_image(aspect=False).encode(**frame, url="url:N"),
        strokes.encode(
            x=x, y=y, x2="x2:Q", y2="y2:Q", color=paint, strokeWidth=thick, tooltip=tooltip
        ),
    ]
    for end in ("", "2"):
        here = {
            "x": alt.X(f"x{end}:Q", axis=None, scale=None),
            "y": alt.Y(f"y{end}:Q", axis=None, scale=None),
        }
        dots = alt.Chart(lines).mark_point(
            filled=True, size=210, opacity=1, stroke="white", strokeWidth=1
        )
        layers.append(dots.encode(**here, color=paint, tooltip=tooltip))
        numbers = alt.Chart(lines).mark_text(fontSize=10, fontWeight=700, color="white")
        layers.append(numbers.encode(**here, text="label:N"))
    return alt.LayerChart(
        layer=layers,
        width=width,
        height=SIDE,
        title=chart_title(title, about),
        # The title comes on top: the pictures keep their sides.
        autosize=alt.AutoSizeParams(type="pad"),
    )


def _middle(position: int, grid: tuple[int, int]) -> tuple[float, float]:
    """The middle of a place of a map (h, w) in pixels of the picture."""
    height, width = grid
    row, column = divmod(int(position), width)
    return (column + 0.5) * SIDE / width, (row + 0.5) * SIDE / height
