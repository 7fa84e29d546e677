"""Scores by class: their spread at an epoch, their way through training, and two runs compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt
import numpy as np
import pandas as pd
import torch

from sing_monitor.app.charts.common import PALETTE, RANDOM_COLOUR, Series, title
from sing_monitor.app.text import one_line
from sing_monitor.leaks import leaks

MOST = 30
AWAY, TOWARD = PALETTE[1], PALETTE[0]
_NEUTRAL = "#e4e7ec"
_ROW = 22
# Streamlit counts title and axis as part of the height.
_AROUND = 105


def named(frame: pd.DataFrame) -> pd.DataFrame:
    """With the column ``name``: the class's name, and its index where names repeat.

    Args:
        frame: with ``class_index`` and ``class_name``, perhaps many rows a class.
    """
    names = frame["class_name"].map(lambda name: one_line(str(name)) or "(no name)")
    repeats = frame.assign(name=names).groupby("name")["class_index"].transform("nunique") > 1
    return frame.assign(
        name=names.where(~repeats, names + " (" + frame["class_index"].map(str) + ")")
    )


def matching(names: Sequence[str], words: str) -> list[str]:
    """The names that hold every one of the words, in their order."""
    wanted = words.casefold().split()
    return [name for name in names if all(word in name.casefold() for word in wanted)]


def spread(images: pd.DataFrame, classes: pd.DataFrame, column: str) -> pd.DataFrame:
    """One row for each class, the most negative mean first, classes without images last.

    Args:
        images: of one validation, with ``label`` and the column.
        classes: of the same validation, from `named`.
        column: the score.

    Returns:
        Columns class_index, name, n, accuracy, mean, low and high (5 and 95 %), and the quartiles
        q1, median and q3.
    """
    scores = images.groupby("label")[column]
    parts = {"low": 0.05, "q1": 0.25, "median": 0.5, "q3": 0.75, "high": 0.95}
    quantiles = pd.DataFrame({name: scores.quantile(share) for name, share in parts.items()})
    known = classes[["class_index", "name", "n", "accuracy"]].merge(
        quantiles.assign(mean=scores.mean()), left_on="class_index", right_index=True, how="left"
    )
    return known.sort_values("mean", kind="stable").reset_index(drop=True)


def leaking(classes: pd.DataFrame) -> pd.Series:
    """Which rows of a table of classes leak, as the alert and the metric count them."""
    columns = ("attribute_score_centered", "attribute_q", "attribute_deviation")
    numbers = (torch.tensor(classes[each].to_numpy(dtype=float)) for each in columns)
    return pd.Series(leaks(*numbers).numpy(), classes.index)


def distribution(rows: pd.DataFrame, what: str, series: Series) -> alt.LayerChart:
    """A box for each class: the middle half of its images, on a line from 5 to 95 %.

    Args:
        rows: from `spread`, in the order in which they are drawn.
        what: the score, in words.
        series: the run.
    """
    y = _names("name", rows["name"].tolist())
    base = alt.Chart().encode(y=y)
    paint = alt.ColorValue(series.colour)
    tooltip = [
        alt.Tooltip("name:N", title="class"),
        alt.Tooltip("n:Q", title="images"),
        *(alt.Tooltip(f"{each}:Q", format=".2f") for each in ("mean", "median", "low", "high")),
    ]
    known = base.transform_filter("isValid(datum.mean)")
    line = known.mark_rule(strokeWidth=1.5).encode(
        x=alt.X("low:Q", title=f"{what} (degrees)"), x2="high:Q", color=paint
    )
    box = known.mark_bar(height={"band": 0.6}, opacity=0.45).encode(
        x=alt.X("q1:Q"), x2="q3:Q", color=paint, tooltip=tooltip
    )
    mean = known.mark_tick(thickness=3, height={"band": 0.8}).encode(
        x=alt.X("mean:Q"), color=paint, tooltip=tooltip
    )
    return alt.LayerChart(
        data=rows,
        layer=[_zero(), line, box, mean],
        height=height_of(rows["name"].nunique()),
        title=title(
            f"{what} by class",
            "tick: mean · box: middle half · line: 5 to 95 % of the images",
        ),
    )


def heat_map(
    rows: pd.DataFrame, names: Sequence[str], what: str, *lines: str, kind: str = "class"
) -> alt.Chart:
    """A cell for each name and epoch; orange below zero, blue above, a gap where nothing is known.

    Args:
        rows: columns name, epoch, value.
        names: from top to bottom.
        what: the value, in words.
        lines: below the title.
        kind: what the names are.
    """
    drawn = rows[rows["name"].isin(names)]
    values = drawn["value"].to_numpy(dtype=float)
    furthest = float(np.abs(values[np.isfinite(values)]).max(initial=0.0)) or 1.0
    scale = alt.Scale(
        domain=[-furthest, 0, furthest], range=[AWAY, _NEUTRAL, TOWARD], interpolate="lab"
    )
    epochs = sorted(drawn["epoch"].unique().tolist())
    return (
        alt.Chart(
            drawn.dropna(subset="value"),
            height=height_of(len(names)),
            title=title(f"{what}: {kind} by epoch", *lines),
        )
        .mark_rect()
        .encode(
            x=alt.X(
                "epoch:O",
                title="epoch",
                scale=alt.Scale(domain=epochs),
                axis=alt.Axis(labelAngle=0, labelOverlap=True, grid=False),
            ),
            y=_names("name", names),
            color=alt.Color(
                "value:Q",
                scale=scale,
                legend=alt.Legend(title="degrees", gradientLength=120, format=".3~g"),
            ),
            tooltip=[
                alt.Tooltip("name:N", title=kind),
                alt.Tooltip("epoch:O"),
                alt.Tooltip("value:Q", title=what, format=".2f"),
            ],
        )
    )


def paired(
    both: pd.DataFrame, names: Sequence[str], what: str, pair: Sequence[Series], caveat: str
) -> alt.LayerChart:
    """Two points for each class, one a run, and the line between; the baseline's is hollow.

    Args:
        both: from `side_by_side`.
        names: of the classes, from top to bottom.
        what: the score, in words.
        pair: the two runs.
        caveat: why they do not compare; may be empty.
    """
    one, other = pair
    drawn = both[both["name"].isin(names)]
    y = _names("name", names)
    tooltip = [
        alt.Tooltip("name:N", title="class"),
        alt.Tooltip("one:Q", title=one.label, format=".2f"),
        alt.Tooltip("other:Q", title=other.label, format=".2f"),
        alt.Tooltip("difference:Q", format="+.2f"),
    ]
    base = alt.Chart()
    line = base.transform_filter("isValid(datum.one) && isValid(datum.other)").mark_rule(
        strokeWidth=2, opacity=0.5
    )
    x = alt.X("one:Q", title=f"mean {what} (degrees)")
    layers = [
        _zero(),
        line.encode(y=y, x=x, x2="other:Q", color=alt.ColorValue(RANDOM_COLOUR)),
    ]
    for field, each in (("one", one), ("other", other)):
        points = base.mark_point(
            size=70, opacity=1, strokeWidth=2, filled=not each.is_baseline, shape=each.shape
        )
        layers.append(
            points.transform_filter(f"isValid(datum.{field})").encode(
                y=y, x=alt.X(f"{field}:Q"), color=alt.ColorValue(each.colour), tooltip=tooltip
            )
        )
    hollow = "hollow: baseline" if one.is_baseline or other.is_baseline else ""
    return alt.LayerChart(
        data=drawn,
        layer=layers,
        height=height_of(len(names)),
        title=title(f"Mean {what}, two runs", hollow, f"⚠ {caveat}" if caveat else ""),
    )


def side_by_side(one: pd.DataFrame, other: pd.DataFrame, key: str, column: str) -> pd.DataFrame:
    """Columns key, one, other and difference (one less other), for what either run has.

    Args:
        one: a table with a row for each value of the key.
        other: the other run's, or another epoch's.
        key: by which rows belong together.
        column: what is compared.
    """
    both = one[[key, column]].rename(columns={column: "one"})
    both = both.merge(other[[key, column]].rename(columns={column: "other"}), on=key, how="outer")
    return both.assign(difference=both["one"] - both["other"])


def stacked(tables: Mapping[int, pd.DataFrame]) -> pd.DataFrame:
    """The tables of all epochs under each other, with the column ``epoch``."""
    parts = [table.assign(epoch=epoch) for epoch, table in sorted(tables.items())]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"epoch": []})


def _names(field: str, names: Sequence[str]) -> alt.Y:
    return alt.Y(
        f"{field}:N",
        title=None,
        sort=list(names),
        scale=alt.Scale(domain=list(names)),
        axis=alt.Axis(labelLimit=160, grid=False, labelOverlap=False),
    )


def _zero() -> alt.Chart:
    rule = alt.Chart(pd.DataFrame({"zero": [0.0]})).mark_rule(strokeWidth=1, opacity=0.6)
    return rule.encode(x=alt.X("zero:Q"), color=alt.ColorValue(RANDOM_COLOUR))


def height_of(rows: int) -> int:
    """The height of a chart with so many rows, title and axis included."""
    return max(rows, 3) * _ROW + _AROUND
