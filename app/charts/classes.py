"""Scores by class: their spread at an epoch, their way through training, and two runs compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import pandas as pd
import torch

from sing_monitor.app.charts.common import (
    PALETTE,
    RANDOM_COLOR,
    SeriesStyle,
    chart_title,
    cross_look,
    line_title,
)
from sing_monitor.app.charts.vega import Part, category, layer, layered, quantity
from sing_monitor.app.wording.support_marks import support_text
from sing_monitor.app.wording.text import one_line
from sing_monitor.scores.class_leaks import leaks

MOST = 30
AWAY, TOWARD = PALETTE[1], PALETTE[0]
_ROW = 22
# What the tooltip says of rows from `with_support`.
SUPPORT = (category("support", title="out of support"),)
_CROSS = {"value": RANDOM_COLOR}
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
    # Without images there is no column either.
    quantiles = scores.quantile(list(parts.values())).unstack().reindex(columns=parts.values())
    quantiles = quantiles.set_axis(list(parts), axis="columns")
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


def distribution(rows: pd.DataFrame, what: str, series: SeriesStyle) -> Part:
    """A box for each class: the middle half of its images, on a line from 5 to 95 %.

    Args:
        rows: from `spread`, in the order in which they are drawn.
        what: the score, in words.
        series: the run.
    """
    numbers = (quantity(each, format=".2f") for each in ("mean", "median", "low", "high"))
    tooltip = [category("name", title="class"), quantity("n", title="images"), *numbers, *SUPPORT]
    place = {"y": names_axis("name", rows["name"].tolist()), "color": {"value": series.color}}
    line = {**place, "x": quantity("low", title=f"{what} (degrees)"), "x2": {"field": "high"}}
    box = {**place, "x": quantity("q1"), "x2": {"field": "q3"}, "tooltip": tooltip}
    mean = {**place, "x": quantity("mean"), "tooltip": tooltip}
    # Behind the line: on the box it would hardly be seen.
    far = {**place, "x": quantity("high"), "color": _CROSS}
    known = "isValid(datum.mean)"
    layers = [
        _zero(),
        layer("rule", line, known, strokeWidth=1.5),
        layer("bar", box, known, height={"band": 0.6}, opacity=0.45),
        layer("tick", mean, known, thickness=3, height={"band": 0.8}),
        layer("point", far, f"{known} && datum.support", **cross_look(60), xOffset=10),
    ]
    about = "tick: mean · box: middle half · line: 5 to 95 % of the images"
    return layered(
        with_support(rows),
        layers,
        title=chart_title(f"{what} by class", about),
        height=height_of(rows["name"].nunique()),
    )


def paired(
    both: pd.DataFrame, names: Sequence[str], what: str, pair: Sequence[SeriesStyle], caveat: str
) -> Part:
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
        category("name", title="class"),
        quantity("one", title=line_title(one.label), format=".2f"),
        quantity("other", title=line_title(other.label), format=".2f"),
        quantity("difference", format="+.2f"),
        category("one_support", title=f"{one.label}: out of support"),
        category("other_support", title=f"{other.label}: out of support"),
    ]
    x = quantity("one", title=f"mean {what} (degrees)")
    line = {"y": y, "x": x, "x2": {"field": "other"}, "color": {"value": RANDOM_COLOR}}
    is_pair = "isValid(datum.one) && isValid(datum.other)"
    layers = [_zero(), layer("rule", line, is_pair, strokeWidth=2, opacity=0.5)]
    for field, each in (("one", one), ("other", other)):
        look = {"size": 70, "opacity": 1, "strokeWidth": 2, "shape": each.shape}
        place: Part = {"y": y, "x": quantity(field), "color": {"value": each.color}}
        point, known = {**place, "tooltip": tooltip}, f"isValid(datum.{field})"
        layers += [
            layer("point", point, known, **look, filled=not each.is_baseline),
            layer("point", place, f"datum.{field}_support", **cross_look(190)),
        ]
    hollow = "hollow: baseline" if one.is_baseline or other.is_baseline else ""
    lines = (hollow, f"⚠ {caveat}" if caveat else "")
    title = chart_title(f"Mean {what}, two runs", *lines)
    return layered(drawn, layers, title=title, height=height_of(len(names)))


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


def names_axis(field: str, names: Sequence[str]) -> Part:
    """An axis of names from top to bottom, every one of them written out."""
    return category(
        field,
        title=None,
        sort=list(names),
        scale={"domain": list(names)},
        axis={"labelLimit": 160, "grid": False, "labelOverlap": False},
    )


def _zero() -> Part:
    place = {"x": quantity("zero"), "color": {"value": RANDOM_COLOR}}
    rule = layer("rule", place, strokeWidth=1, opacity=0.6)
    return {"data": pd.DataFrame({"zero": [0.0]}), **rule}


def height_of(rows: int) -> int:
    """The height of a chart with so many rows, title and axis included."""
    return max(rows, 3) * _ROW + _AROUND
