"""What one image gains and loses with its null part: concepts, and logits that stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt
import pandas as pd

from sing_monitor.app.charts.classes import AWAY, TOWARD, height_of
from sing_monitor.app.charts.common import chart_title
from sing_monitor.app.wording.text import one_line


def concepts(
    gained: Sequence[tuple[str, float]], lost: Sequence[tuple[str, float]], about: str
) -> alt.Chart:
    """A bar for each concept: to the right and blue where the image comes nearer to it.

    Args:
        gained: concepts and AS in degrees, largest first.
        lost: the same, most negative first.
        about: a line below the title.
    """
    shown = [(one_line(name) or "(no name)", value) for name, value in (*gained, *reversed(lost))]
    rows = pd.DataFrame(shown, columns=["concept", "value"])
    x = alt.X(
        "value:Q",
        title="AS toward the concept (degrees)",
        axis=alt.Axis(tickCount=6),
        scale=alt.Scale(nice=6),
    )
    y = alt.Y(
        "concept:N",
        title=None,
        sort=rows["concept"].tolist(),
        axis=alt.Axis(labelLimit=180, grid=False, labelOverlap=False),
    )
    paint = alt.when(alt.datum.value > 0).then(alt.value(TOWARD)).otherwise(alt.value(AWAY))
    tooltip = [alt.Tooltip("concept:N"), alt.Tooltip("value:Q", title="AS", format="+.2f")]
    return (
        alt.Chart(
            rows, height=height_of(len(rows)), title=chart_title("Concepts gained and lost", about)
        )
        .mark_bar(height={"band": 0.7})
        .encode(x=x, y=y, color=paint, tooltip=tooltip)
    )


def logits(
    before: Sequence[float], after: Sequence[float], names: Mapping[int, str]
) -> pd.DataFrame:
    """A row for each class, the largest logit first.

    Args:
        before: C logits of the image.
        after: of its equivalent.
        names: class names by index.

    Returns:
        Columns class, before, after and difference.
    """
    rows = [
        (names.get(index, f"class {index}"), one, other, other - one)
        for index, (one, other) in enumerate(zip(before, after, strict=True))
    ]
    frame = pd.DataFrame(rows, columns=["class", "before", "after", "difference"])
    return frame.sort_values("before", ascending=False, kind="stable").reset_index(drop=True)
