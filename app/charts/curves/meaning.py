"""Where the meaning lies: what the seen and the null part of the features say of the embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sing_monitor.app.charts.common import (
    PALETTE,
    PANEL_HEIGHT,
    RANDOM_COLOR,
    SHAPES,
    SeriesStyle,
    chart_title,
)
from sing_monitor.app.charts.curves.panel import Panel
from sing_monitor.app.charts.vega import Part, category, layer, layered, quantity

# The parts from bottom to top: column, name and color.
PARTS = (
    ("seen", "seen alone", PALETTE[0]),
    ("both", "both", PALETTE[2]),
    ("null", "null alone", PALETTE[1]),
    ("neither", "neither", RANDOM_COLOR),
)
# The legend stands below.
_HEIGHT = PANEL_HEIGHT + 40
_FAINT, _PAINTED = 0.3, 0.75
_LINES = ([1, 0], [6, 4], [2, 3], [9, 3, 2, 3])


def shares(history: pd.DataFrame) -> pd.DataFrame:
    """The four parts of the embeddings' variance at every validation.

    ``seen + both + null + neither = 1``. All are held out, so that a part may be slightly negative.

    Args:
        history: columns epoch, x, ``meaning/unique_seen``, ``meaning/shared``,
            ``meaning/unique_null`` and ``translator/r2``.

    Returns:
        Columns epoch, x, seen, both, null, neither and ``span``, which counts the validations
        before that have no split; no row for these.
    """
    found = pd.DataFrame(
        {
            "epoch": history["epoch"],
            "x": history["x"],
            "seen": history["meaning/unique_seen"],
            "both": history["meaning/shared"],
            "null": history["meaning/unique_null"],
            "neither": 1 - history["translator/r2"],
        }
    )
    return found.assign(span=found.isna().any(axis=1).cumsum()).dropna().reset_index(drop=True)


def stacked_parts(parts: pd.DataFrame) -> pd.DataFrame:
    """One row for each part and validation, with where it is drawn.

    What is below 0 is drawn as 0; ``value`` says the number itself.

    Args:
        parts: from `shares`.

    Returns:
        Columns epoch, x, span, part, value, low, high, the four numbers of the validation, and
        ``alone``: whether it has no neighbor to draw an area to.
    """
    together = parts["span"].map(parts["span"].value_counts())
    numbers = parts[[name for name, *_ in PARTS]].to_numpy()
    heights = numbers.clip(min=0)
    tops = heights.cumsum(axis=1)
    rows = pd.concat([parts.assign(alone=together == 1)] * len(PARTS), ignore_index=True)
    return rows.assign(
        part=np.repeat([label for _, label, _ in PARTS], len(parts)),
        value=numbers.ravel("F"),
        low=(tops - heights).ravel("F"),
        high=tops.ravel("F"),
    )


def meaning_stack(
    parts: pd.DataFrame, about: str, x_title: str, x_domain: tuple[float, float]
) -> Part:
    """The four parts on each other over the epochs; a bar where a validation stands alone.

    Args:
        parts: from `stacked_parts`.
        about: a line below the title.
        x_title: what the axis counts.
        x_domain: the same for all panels of the page.
    """
    top = max(1.0, float(parts["high"].max()))
    square = {"symbolType": "square", "symbolOpacity": _PAINTED}
    place = {
        "x": Panel("", "", "", "", x_title, x_domain).x(),
        "y": quantity(
            "low",
            title="share",
            scale={"domain": [0, top], "nice": False},
            axis={"format": ".1f", "tickCount": 5},
        ),
        "y2": {"field": "high"},
        "color": category(
            "part",
            scale={"domain": [part[1] for part in PARTS], "range": [part[2] for part in PARTS]},
            legend={"title": None, "orient": "bottom", "columns": 2, **square},
        ),
    }
    is_neither = "datum.part == 'neither'"
    painted = {"condition": {"test": is_neither, "value": _FAINT}, "value": _PAINTED}
    alone = [
        {"test": f"datum.alone && {is_neither}", "value": _FAINT},
        {"test": "datum.alone", "value": _PAINTED},
    ]
    tooltip = [
        quantity("epoch", format="d"),
        *(quantity(name, title=title, format=".3f") for name, title, _ in PARTS),
    ]
    # Thin bars also catch the pointer, at every validation.
    bars = {**place, "opacity": {"condition": alone, "value": 0.02}, "tooltip": tooltip}
    area = {**place, "detail": category("span"), "opacity": painted}
    return layered(
        parts,
        [layer("area", area, line=False), layer("bar", bars, size=9)],
        title=chart_title("Meaning of the images", "share of the embeddings' variance", about),
        height=_HEIGHT,
    )


def things_panel(
    values: pd.DataFrame, panel: Panel, run: SeriesStyle, things: Sequence[str]
) -> Part:
    """A line for the class and for each annotated attribute, all of one run, in its color.

    Args:
        values: columns thing, epoch, x and value.
        panel: what stands around them.
        run: whose.
        things: in the order of the legend.
    """
    place = {"x": panel.x(), "y": panel.y(), "color": {"value": run.color}}
    line = {**place, "strokeDash": _by_thing(things, _LINES)}
    tooltip = [
        category("thing", title="of"),
        quantity("epoch", format="d"),
        quantity("value", title=panel.title, format=panel.number_format),
    ]
    point = {**place, "shape": _by_thing(things, SHAPES), "tooltip": tooltip}
    known = "isValid(datum.value)"
    layers = [
        layer("line", line, known, strokeWidth=2),
        layer("point", point, known, filled=True, size=42, opacity=1),
    ]
    return layered(values, layers, title=panel.heading, height=_HEIGHT)


def _by_thing(things: Sequence[str], looks: Sequence[object]) -> Part:
    own = [looks[place % len(looks)] for place in range(len(things))]
    legend = {"title": None, "orient": "bottom", "symbolStrokeWidth": 2}
    return category("thing", scale={"domain": list(things), "range": own}, legend=legend)
