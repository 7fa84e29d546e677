"""Scores by class: their spread at an epoch, their way through training, and two runs compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import altair as alt
import pandas as pd
import torch

from sing_monitor.app.charts.common import (
    PALETTE,
    RANDOM_COLOR,
    SeriesStyle,
    chart_title,
    line_title,
    support_cross,
)
from sing_monitor.app.wording.support_marks import support_text
from sing_monitor.app.wording.text import one_line
from sing_monitor.scores.class_leaks import leaks

MOST = 30
AWAY, TOWARD = PALETTE[1], PALETTE[0]
_ROW = 22
# What the tooltip says of rows from `with_support`.
SUPPORT = (alt.Tooltip("support:N", title="out of support"),)
_CROSS = alt.ColorValue(RANDOM_COLOR)
# Streamlit counts title and axis as part of the height.
_AROUND = 105


def named(frame: pd.DataFrame) -> pd.DataFrame:
    """With the column ``name``: the class's name, and its index where names repeat.

    Args:
        frame: with ``class_index`` and ``class_name``, perhaps many rows a class.
    """
    names = _names(tuple(frame["class_index"]), tuple(map(str, frame["class_name"])))
    return frame.assign(name=pd.Series(names, frame.index, dtype="str"))


# The classes of a run are called the same at every epoch.
@lru_cache(maxsize=32)
def _names(indices: tuple[int, ...], names: tuple[str, ...]) -> tuple[str, ...]:
    lines = [one_line(name) or "(no name)" for name in names]
    called: dict[str, set[int]] = {}
    for line, index in zip(lines, indices, strict=True):
        called.setdefault(line, set()).add(index)
    return tuple(
        f"{line} ({index})" if len(called[line]) > 1 else line
        for line, index in zip(lines, indices, strict=True)
    )


def matching(names: Sequence[str], words: str) -> list[str]:
    """The names that hold every one of the words, in their order."""
    wanted = words.casefold().split()
    return [name for name in names if all(word in name.casefold() for word in wanted)]


def spread(images: pd.DataFrame, classes: pd.DataFrame, column: str) -> pd.DataFrame:
    """One row for each class, the most negative mean first, classes without images last.

    Args:
        images: of one validation, with ``label`` and the column.
        classes: of the same validation, from `named`; perhaps with ``outside``.
        column: the score.

    Returns:
        Columns class_index, name, n, accuracy, mean, low and high (5 and 95 %), the quartiles q1,
        median and q3, and ``outside``, the share of images out of support, if the classes tell it.
    """
    scores = images.groupby("label")[column]
    parts = {"low": 0.05, "q1": 0.25, "median": 0.5, "q3": 0.75, "high": 0.95}
    quantiles = pd.DataFrame({name: scores.quantile(share) for name, share in parts.items()})
    about = ["class_index", "name", "n", "accuracy", *(["outside"] if "outside" in classes else [])]
    known = classes[about].merge(
        quantiles.assign(mean=scores.mean()), left_on="class_index", right_index=True, how="left"
    )
    return known.sort_values("mean", kind="stable").reset_index(drop=True)


def leaking(classes: pd.DataFrame) -> pd.Series:
    """Which rows of a table of classes leak, as the alert and the metric count them."""
    columns = ("attribute_score_centered", "attribute_q", "attribute_deviation")
    numbers = (torch.tensor(classes[each].to_numpy(dtype=float)) for each in columns)
    return pd.Series(leaks(*numbers).numpy(), classes.index)


HIDDEN_COLUMNS = ("zero_shot", "zero_shot_seen", "hidden", "hidden_q")


def hidden_first(rows: pd.DataFrame, classes: pd.DataFrame) -> pd.DataFrame:
    """Rows with what is known of hidden classes; these first, the one that lost most on top.

    Args:
        rows: one for each class, with ``class_index``, in their order.
        classes: of the same validation. Those of earlier versions have not all of
            `HIDDEN_COLUMNS`; then nothing changes.
    """
    if not set(HIDDEN_COLUMNS) <= set(classes.columns):
        return rows
    known = classes.set_index("class_index")[list(HIDDEN_COLUMNS)]
    found = rows.join(known, on="class_index")
    is_hidden = found["hidden"].eq(True)
    lost = (found["zero_shot"] - found["zero_shot_seen"]).where(is_hidden, -1.0)
    found = found.assign(hidden=is_hidden).iloc[(-lost).argsort(kind="stable")]
    return found.reset_index(drop=True)


def distribution(rows: pd.DataFrame, what: str, series: SeriesStyle) -> alt.LayerChart:
    """A box for each class: the middle half of its images, on a line from 5 to 95 %.

    Args:
        rows: from `spread`, in the order in which they are drawn.
        what: the score, in words.
        series: the run.
    """
    y = names_axis("name", rows["name"].tolist())
    base = alt.Chart().encode(y=y)
    paint = alt.ColorValue(series.color)
    tooltip = [
        alt.Tooltip("name:N", title="class"),
        alt.Tooltip("n:Q", title="images"),
        *(alt.Tooltip(f"{each}:Q", format=".2f") for each in ("mean", "median", "low", "high")),
        *SUPPORT,
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
    # Behind the line: on the box it would hardly be seen.
    cross = support_cross(known.transform_filter("datum.support"), size=60, xOffset=10)
    return alt.LayerChart(
        data=with_support(rows),
        layer=[_zero(), line, box, mean, cross.encode(x=alt.X("high:Q"), color=_CROSS)],
        height=height_of(rows["name"].nunique()),
        title=chart_title(
            f"{what} by class",
            "tick: mean · box: middle half · line: 5 to 95 % of the images",
        ),
    )


def paired(
    both: pd.DataFrame, names: Sequence[str], what: str, pair: Sequence[SeriesStyle], caveat: str
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
    for field in ("one", "other"):
        drawn = drawn.assign(**{f"{field}_support": support_text(drawn[f"{field}_outside"])})
    y = names_axis("name", names)
    tooltip = [
        alt.Tooltip("name:N", title="class"),
        alt.Tooltip("one:Q", title=line_title(one.label), format=".2f"),
        alt.Tooltip("other:Q", title=line_title(other.label), format=".2f"),
        alt.Tooltip("difference:Q", format="+.2f"),
        alt.Tooltip("one_support:N", title=f"{one.label}: out of support"),
        alt.Tooltip("other_support:N", title=f"{other.label}: out of support"),
    ]
    base = alt.Chart()
    line = base.transform_filter("isValid(datum.one) && isValid(datum.other)").mark_rule(
        strokeWidth=2, opacity=0.5
    )
    x = alt.X("one:Q", title=f"mean {what} (degrees)")
    layers = [
        _zero(),
        line.encode(y=y, x=x, x2="other:Q", color=alt.ColorValue(RANDOM_COLOR)),
    ]
    for field, each in (("one", one), ("other", other)):
        points = base.mark_point(
            size=70, opacity=1, strokeWidth=2, filled=not each.is_baseline, shape=each.shape
        )
        place: dict[str, Any] = {
            "y": y,
            "x": alt.X(f"{field}:Q"),
            "color": alt.ColorValue(each.color),
        }
        known = points.transform_filter(f"isValid(datum.{field})")
        far = base.transform_filter(f"datum.{field}_support")
        layers += [
            known.encode(**place, tooltip=tooltip),
            support_cross(far, size=190).encode(**place),
        ]
    hollow = "hollow: baseline" if one.is_baseline or other.is_baseline else ""
    return alt.LayerChart(
        data=drawn,
        layer=layers,
        height=height_of(len(names)),
        title=chart_title(f"Mean {what}, two runs", hollow, f"⚠ {caveat}" if caveat else ""),
    )


def side_by_side(one: pd.DataFrame, other: pd.DataFrame, key: str, column: str) -> pd.DataFrame:
    """What two tables say of the same classes.

    Args:
        one: a table with a row for each value of the key; perhaps with ``outside``.
        other: the other run's, or another epoch's.
        key: by which rows belong together.
        column: what is compared.

    Returns:
        Columns key, one, other, difference (one less other), one_outside and other_outside, for
        what either table has.
    """
    sides = []
    for name, table in (("one", one), ("other", other)):
        columns = {column: name, "outside": f"{name}_outside"}
        sides.append(table.reindex(columns=[key, *columns]).rename(columns=columns))
    both = sides[0].merge(sides[1], on=key, how="outer")
    return both.assign(difference=both["one"] - both["other"])


def stacked(tables: Mapping[int, pd.DataFrame]) -> pd.DataFrame:
    """The tables of all epochs under each other, with the column ``epoch``."""
    parts = [table.assign(epoch=epoch) for epoch, table in sorted(tables.items())]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"epoch": []})


def with_support(rows: pd.DataFrame) -> pd.DataFrame:
    """With ``support``: what the tooltip says, empty where nothing is marked."""
    return rows.assign(support=support_text(rows["outside"]) if "outside" in rows else "")


def names_axis(field: str, names: Sequence[str]) -> alt.Y:
    """An axis of names from top to bottom, every one of them written out."""
    return alt.Y(
        f"{field}:N",
        title=None,
        sort=list(names),
        scale=alt.Scale(domain=list(names)),
        axis=alt.Axis(labelLimit=160, grid=False, labelOverlap=False),
    )


def _zero() -> alt.Chart:
    rule = alt.Chart(pd.DataFrame({"zero": [0.0]})).mark_rule(strokeWidth=1, opacity=0.6)
    return rule.encode(x=alt.X("zero:Q"), color=alt.ColorValue(RANDOM_COLOR))


def height_of(rows: int) -> int:
    """The height of a chart with so many rows, title and axis included."""
    return max(rows, 3) * _ROW + _AROUND
