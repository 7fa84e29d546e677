"""The rank of the features over the depth of a network, at several epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt
import numpy as np
import pandas as pd

from sing_monitor.app.charts.common import LINE_WIDTH, RANDOM_COLOR, chart_title
from sing_monitor.app.wording.text import one_line, short

COLUMNS = ("layer", "depth", "channels", "samples", "rank", "rank_share", "pca_95", "pca_95_share")
# More lines than this are a gray area.
MOST_EPOCHS = 12
_HEIGHT = 300
_FAINTEST, _STRONGEST = 0.16, 0.6
_LONGEST = 26
# Room above the highest point.
_ABOVE = 1.12


def spread(epochs: Sequence[int], chosen: int) -> list[int]:
    """At most 12 of the epochs, evenly spaced, the first, the last and the chosen one among them.

    Args:
        epochs: sorted.
        chosen: one of them.

    Example::

        >>> spread(range(100), 40)
        [0, 10, 20, 30, 40, 50, 59, 69, 79, 89, 99]
    """
    last = len(epochs) - 1
    steps = MOST_EPOCHS - 2
    if last < MOST_EPOCHS:
        return list(epochs)
    return sorted({epochs[round(each * last / steps)] for each in range(steps + 1)} | {chosen})


def depth_rows(tables: Mapping[int, pd.DataFrame]) -> pd.DataFrame:
    """The tables of a run as the chart draws them.

    Args:
        tables: ``layers`` by epoch, at least one.

    Returns:
        The columns of the tables, with ``epoch``, ``name`` (short, different for each layer),
        ``place`` (from the first stage to the last) and ``most`` (the largest possible rank).
    """
    rows = pd.concat([table.assign(epoch=epoch) for epoch, table in tables.items()])
    fullest = max(tables.values(), key=len).sort_values("depth")["layer"].tolist()
    order = list(dict.fromkeys([*fullest, *rows["layer"].tolist()]))
    names = dict(zip(order, _short_names(order), strict=True))
    return rows.assign(
        rank=rows["rank"].where(np.isfinite(rows["rank"])),
        name=rows["layer"].map(names),
        place=rows["layer"].map(order.index),
        most=rows[["channels", "samples"]].min(axis=1),
    ).reset_index(drop=True)


def rank_over_depth(
    rows: pd.DataFrame, epoch: int, color: str, top: float, title: str, about: str
) -> alt.LayerChart:
    """Effective rank of each stage: a strong line for one epoch, fainter ones for the others.

    Args:
        rows: from `depth_rows`.
        epoch: of the strong line.
        color: of the run.
        top: the largest rank on the axis.
        title: of the chart.
        about: a line below.
    """
    names = rows.sort_values("place")["name"].drop_duplicates().tolist()
    known = rows.dropna(subset="rank").assign(is_chosen=rows["epoch"] == epoch)
    x = alt.X(
        "name:N",
        sort=names,
        scale=alt.Scale(domain=names),
        title="stage, from the input to the head",
        axis=alt.Axis(labelAngle=-35, labelLimit=150, grid=True, gridOpacity=0.4),
    )
    y = alt.Y(
        "rank:Q",
        title="effective rank",
        scale=alt.Scale(domain=[0, _ABOVE * top], nice=False),
        axis=alt.Axis(tickCount=5, format=".6~g"),
    )
    first, last = int(rows["epoch"].min()), int(rows["epoch"].max())
    shade = alt.Opacity(
        "epoch:Q",
        scale=alt.Scale(domain=[first, max(last, first + 1)], range=[_FAINTEST, _STRONGEST]),
        legend=None,
    )
    tooltip = [
        alt.Tooltip("layer:N", title="stage"),
        alt.Tooltip("epoch:Q", title="epoch", format="d"),
        alt.Tooltip("rank:Q", title="effective rank", format=".1f"),
        alt.Tooltip("most:Q", title="largest possible", format="d"),
        alt.Tooltip("rank_share:Q", title="share of it", format=".0%"),
        alt.Tooltip("pca_95:Q", title="95 % of the variance", format="d"),
        alt.Tooltip("channels:Q", title="channels", format="d"),
        alt.Tooltip("samples:Q", title="images", format="d"),
    ]
    paint = alt.ColorValue(color)
    others = alt.Chart().transform_filter("!datum.is_chosen")
    chosen = alt.Chart().transform_filter("datum.is_chosen")
    shaded = {"x": x, "y": y, "color": paint, "detail": alt.Detail("epoch:N"), "opacity": shade}
    strong = {"x": x, "y": y, "color": paint}
    limit = chosen.mark_tick(thickness=2, clip=True, color=RANDOM_COLOR, orient="horizontal")
    return alt.LayerChart(
        data=known,
        layer=[
            limit.encode(x=x, y=alt.Y("most:Q"), tooltip=tooltip),
            others.mark_line(strokeWidth=LINE_WIDTH).encode(**shaded),
            # A line ends where a stage is missing; a lone stage is a point.
            others.mark_point(filled=True, size=16).encode(**shaded, tooltip=tooltip),
            chosen.mark_line(strokeWidth=LINE_WIDTH + 1).encode(**strong),
            chosen.mark_point(filled=True, size=60, opacity=1).encode(**strong, tooltip=tooltip),
        ],
        title=chart_title(title, about),
        height=_HEIGHT,
    )


def _short_names(layers: Sequence[str]) -> list[str]:
    """Names without what all begin with, in one line and not too long; each different.

    Example::

        >>> _short_names(["net.stem", "net.body.1"]), _short_names(["net.0", "net.1"])
        (['stem', 'body.1'], ['net.0', 'net.1'])
    """
    parts = [one_line(layer).split(".") for layer in layers]
    shared = 0
    while all(len(each) > shared + 1 and each[shared] == parts[0][shared] for each in parts):
        shared += 1
    while shared and any(each[shared].isdecimal() for each in parts):
        shared -= 1
    names = [short(".".join(each[shared:]), _LONGEST) for each in parts]
    return [
        name if names.count(name) == 1 else f"{name} ({place})"
        for place, name in enumerate(names, start=1)
    ]
