"""How alike any two images are: a square of cells, ordered by class."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from sing_monitor.app.charts.classes import AWAY
from sing_monitor.app.charts.common import RANDOM_COLOR, chart_title
from sing_monitor.app.wording.text import one_line, short

# Of the selection of a cell, and of its fields.
PAIR = "pair"
KINDS = ("spatial", "semantic")
# With title and legend; the matrix is about square where two stand beside each other.
_HEIGHT = 470
# Pixels between two names at the left; room for them, for each sign, in parts of the matrix.
_NAME_HEIGHT, _PER_SIGN, _LONGEST = 13, 0.021, 16


def in_order(images: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """The images ordered by class, as rows and columns of both matrices.

    Args:
        images: ``similarity_images``.
        classes: names of the classes in their order; those that are missing follow.

    Returns:
        The rows of one class after the other; class and prediction fit a line; ``place`` counts
        from 0, and ``name`` is different for each image: its class, and which image of it.
    """
    names = {name: images[name].map(_name) for name in ("class", "prediction")}
    rows = images.assign(**names).drop_duplicates("image")
    order = {name: place for place, name in enumerate(dict.fromkeys([*classes, *rows["class"]]))}
    rows = rows.assign(order=rows["class"].map(order)).sort_values(["order", "image"])
    number = rows.groupby("order").cumcount() + 1
    name = rows["class"].map(lambda each: short(each, 40)) + ", image " + number.map(str)
    # Cut in the middle, names of two classes may be one.
    repeats = name.groupby(name).cumcount()
    name = name.where(repeats == 0, name + " (" + repeats.map(str) + ")")
    return rows.assign(name=name, place=range(len(rows))).reset_index(drop=True)


def cells(pairs: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """A row for each cell off the diagonal, of both triangles.

    Args:
        pairs: ``similarity``.
        images: from `in_order`.

    Returns:
        Columns image_a, image_b, row, column, first and second (names of both), spatial, semantic.
    """
    known = pairs[["image_a", "image_b", *KINDS]]
    known = known[known["image_a"].isin(images["image"]) & known["image_b"].isin(images["image"])]
    turned = known.rename(columns={"image_a": "image_b", "image_b": "image_a"})
    both = pd.concat([known, turned], ignore_index=True)
    place, name = (images.set_index("image")[each] for each in ("place", "name"))
    a, b = both["image_a"], both["image_b"]
    return both.assign(row=a.map(place), column=b.map(place), first=a.map(name), second=b.map(name))


def blocks(images: pd.DataFrame) -> pd.DataFrame:
    """A row for each class: class, start and end of its rows, middle, and whether it is named.

    Where names would lie on each other, some are left out.
    """
    found = images.groupby("class", sort=False)["place"].agg(start="min", end="max").reset_index()
    found["end"] += 1
    found["middle"] = (found["start"] + found["end"]) / 2
    pixels, last, named = found["middle"] * 0.75 * _HEIGHT / max(1, len(images)), -_NAME_HEIGHT, []
    for at in pixels:
        named.append(bool(at - last >= _NAME_HEIGHT))
        last = at if named[-1] else last
    return found.assign(label=found["class"].map(lambda name: short(name, _LONGEST)), named=named)


def domain_of(pairs: pd.DataFrame, kinds: Sequence[str] = KINDS) -> tuple[float, float]:
    """The smallest and the largest value of the matrices, the diagonal left out."""
    values = pairs[list(kinds)]
    low, high = float(values.min().min()), float(values.max().max())
    return (low, high) if low < high else (low - 0.5, low + 0.5)


def matrix(
    kind: str,
    rows: pd.DataFrame,
    classes: pd.DataFrame,
    domain: tuple[float, float],
    picked: Sequence[int],
    title: str,
    about: str,
) -> alt.LayerChart:
    """One matrix; a cell can be pressed, and the picked pair is marked.

    Args:
        kind: spatial or semantic.
        rows: from `cells`.
        classes: from `blocks`.
        domain: from `domain_of`.
        picked: places of the two images; may be empty.
        title: of the matrix.
        about: a line below.
    """
    size = int(classes["end"].max())
    longest = int(classes["label"].map(len).max())
    margin = 0.03 + _PER_SIGN * longest
    x_scale = alt.Scale(domain=[-margin * size, size], nice=False, zero=False)
    y_scale = alt.Scale(domain=[size, 0], nice=False, zero=False)
    color = alt.Color(
        f"{kind}:Q",
        scale=alt.Scale(domain=list(domain), scheme="viridis"),
        legend=alt.Legend(
            title="cosine",
            orient="bottom",
            direction="horizontal",
            gradientLength=180,
            format=".2~f",
        ),
    )
    x, y = alt.X("column:Q", axis=None, scale=x_scale), alt.Y("row:Q", axis=None, scale=y_scale)
    tooltip = [
        alt.Tooltip("first:N", title="one"),
        alt.Tooltip("second:N", title="and"),
        alt.Tooltip("spatial:Q", title="place by place", format=".2f"),
        alt.Tooltip("semantic:Q", title="part by part", format=".2f"),
    ]
    press = alt.selection_point(
        name=PAIR, fields=["image_a", "image_b"], on="click", clear=False, empty=False
    )
    squares = (
        alt.Chart(rows.assign(right=rows["column"] + 1, below=rows["row"] + 1))
        .mark_rect(cursor="pointer")
        .encode(x=x, x2="right:Q", y=y, y2="below:Q", color=color, tooltip=tooltip)
        .add_params(press)
        .properties(name=f"{kind} cells")
    )
    room = f"width * {margin / (1 + margin):.3f} - 6"
    named = classes.assign(zero=0, size=size)
    # Lines around single images would hide what they are to part.
    is_apart = (named["start"] > 0) & (2 * len(named) <= size)
    lines = alt.Chart(named[is_apart]).mark_rule(strokeWidth=1, color="white", opacity=0.55)
    zero_x, zero_y = (
        kind_of("zero:Q", axis=None, scale=scale)
        for kind_of, scale in ((alt.X, x_scale), (alt.Y, y_scale))
    )
    layers: list[alt.Chart] = [
        squares,
        lines.encode(x=alt.X("start:Q", axis=None, scale=x_scale), y=zero_y, y2="size:Q"),
        lines.encode(y=alt.Y("start:Q", axis=None, scale=y_scale), x=zero_x, x2="size:Q"),
        alt.Chart(named[named["named"]])
        .mark_text(
            align="right",
            dx=-5,
            fontSize=11,
            color=RANDOM_COLOR,
            fontWeight=600,
            limit=alt.expr(room),
        )
        .encode(x=zero_x, y=alt.Y("middle:Q", axis=None, scale=y_scale), text="label:N"),
    ]
    layers += _marked(picked, size, x_scale, y_scale)
    return alt.LayerChart(layer=layers, title=chart_title(title, about), height=_HEIGHT)


def _marked(
    picked: Sequence[int], size: int, x_scale: alt.Scale, y_scale: alt.Scale
) -> list[alt.Chart]:
    """The two cells of the picked pair, and lines that lead to the first of them."""
    if len(picked) != 2:
        return []
    (a, b), room = picked, 0.012 * size
    places = pd.DataFrame({"column": [b, a], "row": [a, b]})
    places = places.assign(
        **{
            "left": places["column"] - room,
            "right": places["column"] + 1 + room,
            "top": places["row"] - room,
            "below": places["row"] + 1 + room,
        }
    )
    frame = {
        "x": alt.X("left:Q", axis=None, scale=x_scale),
        "x2": "right:Q",
        "y": alt.Y("top:Q", axis=None, scale=y_scale),
        "y2": "below:Q",
    }
    base = alt.Chart(places)
    return [
        base.mark_rect(fillOpacity=0, stroke="white", strokeWidth=4).encode(**frame),
        base.mark_rect(fillOpacity=0, stroke=AWAY, strokeWidth=2).encode(**frame),
    ]


def _name(name: object) -> str:
    return one_line(str(name)) or "(no name)"
