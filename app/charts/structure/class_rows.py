"""Many classes as trees of names, one below the other, each with what it is confused with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import altair as alt
import networkx as nx
import pandas as pd

from sing_monitor.app.charts.classes import AWAY
from sing_monitor.app.charts.common import RANDOM_COLOR, TEXT
from sing_monitor.app.charts.structure.edges import (
    kind_width,
    node_tooltip,
    similarity_color,
    tooltip,
)
from sing_monitor.app.charts.structure.relations import (
    UNEXPLAINED,
    drawn,
    graph_of,
    shown_share,
)
from sing_monitor.app.wording.metrics import MISSING
from sing_monitor.app.wording.text import short

# Pixels.
_ROW, _INDENT, _DEEPEST, _LEFT, _GAP = 19, 15, 75, 12, 1
SIZES = (30, 150)
# Of a column's width: what the names may take, and what is beside them.
_NAMES, _PARTNERS = f"width * 0.6 - {_DEEPEST + 2 * _LEFT}", "width * 0.4 - 4"


@dataclass(frozen=True)
class Column:
    """Some clusters that stand below each other.

    Args:
        nodes: a row for each class: class, x (pixels), row, error, images, wrong, label, partner
            (what it is confused with most) and unexplained (whether similarity says nothing of it).
        edges: a row for each edge of the trees: both classes, their places, and what is known.
    """

    nodes: pd.DataFrame
    edges: pd.DataFrame


def columns(
    clusters: pd.DataFrame, nodes: pd.DataFrame, edges: pd.DataFrame, most: int
) -> list[Column]:
    """The clusters in columns of about one height, in their order.

    Args:
        clusters: from `relations.clusters`.
        nodes: from `relations.read_nodes`.
        edges: from `relations.read_edges`.
        most: so many columns.
    """
    heights = clusters["classes"] + _GAP
    ends = heights.cumsum()
    # The column in which the middle of a cluster lies.
    place = ((ends - heights / 2) / (ends.iloc[-1] / most)).astype(int)
    groups = [group["members"].tolist() for _, group in clusters.groupby(place.to_numpy())]
    partners = _partners(edges)
    return [_column(members, nodes, edges, partners) for members in groups]


def class_rows(column: Column, largest_error: float) -> alt.LayerChart:
    """Trees of names; at the right of each what the class is most confused with.

    Args:
        column: from `columns`.
        largest_error: of all classes; the largest circle.
    """
    rows = int(column.nodes["row"].max()) + 1
    # Pixels, whatever the width.
    x = alt.X("x:Q", axis=None, scale=None)
    scale = alt.Scale(domain=[rows - 0.4, -0.6], nice=False)
    y, beside = (alt.Y(f"{each}:Q", axis=None, scale=scale) for each in ("row", "parent_row"))
    paint = {"color": similarity_color(), "strokeWidth": kind_width(), "tooltip": tooltip()}
    lines = alt.Chart(column.edges).mark_rule(strokeCap="round", opacity=1)
    base = alt.Chart(column.nodes)
    size = alt.Size(
        "error:Q", scale=alt.Scale(domain=[0, largest_error or 1], range=list(SIZES)), legend=None
    )
    known = base.transform_filter("isValid(datum.error)").mark_point(
        filled=True, opacity=1, color=RANDOM_COLOR
    )
    unknown = base.transform_filter("!isValid(datum.error)").mark_point(
        filled=False, opacity=1, color=RANDOM_COLOR, size=SIZES[0]
    )
    names = base.mark_text(color=TEXT, align="left", dx=11, fontSize=12, limit=alt.expr(_NAMES))
    partner = base.mark_text(align="right", fontSize=11, dx=-2, limit=alt.expr(_PARTNERS))
    colored = alt.condition("datum.unexplained", alt.value(AWAY), alt.value(RANDOM_COLOR))
    layers = [
        lines.encode(x=x, x2="parent_x:Q", y=y, **paint),
        lines.encode(x=alt.X("parent_x:Q", axis=None, scale=None), y=beside, y2="row:Q", **paint),
        known.encode(x=x, y=y, size=size, tooltip=node_tooltip()),
        unknown.encode(x=x, y=y, tooltip=node_tooltip()),
        names.encode(x=x, y=y, text="label:N"),
        partner.encode(x=alt.value("width"), y=y, text="partner:N", color=colored),
    ]
    return alt.LayerChart(layer=layers, height=rows * _ROW + 10)


def _column(
    members: Sequence[Sequence[str]],
    nodes: pd.DataFrame,
    edges: pd.DataFrame,
    partners: Mapping[str, tuple[str, bool]],
) -> Column:
    forest = graph_of(edges[edges["in_weights"].astype(bool)], nodes["class"])
    parents: dict[str, str] = {}
    places: dict[str, tuple[float, int]] = {}
    row = 0
    for names in members:
        depths = _tree(forest, names, parents)
        deepest = max(depths.values())
        step = min(_INDENT, _DEEPEST / max(1, deepest))
        for name, depth in depths.items():
            places[name] = (_LEFT + step * depth, row)
            row += 1
        row += _GAP
    about = nodes.set_index("class").loc[list(places)].reset_index()
    about = about[["class", "error", "images"]].assign(
        x=about["class"].map(lambda name: places[name][0]),
        row=about["class"].map(lambda name: places[name][1]),
        label=about["class"].map(lambda name: short(name, 30)),
        wrong=about["error"].map(shown_share),
        partner=about["class"].map(lambda name: partners.get(name, ("", False))[0]),
        unexplained=about["class"].map(lambda name: partners.get(name, ("", False))[1]),
    )
    return Column(about, _tree_edges(edges, parents, places))


def _tree(forest: nx.Graph, names: Sequence[str], parents: dict[str, str]) -> dict[str, int]:
    """Depth by name, from top to bottom: from the first name down, the most alike first."""
    inside = forest.subgraph(names)
    depths: dict[str, int] = {}
    for root in names:
        # A cluster whose edges are missing may be several trees.
        waiting = [] if root in depths else [(root, 0)]
        while waiting:
            name, depth = waiting.pop()
            depths[name] = depth
            weights = {other: inside[name][other]["weight"] for other in inside[name]}
            below = sorted(set(weights) - set(depths), key=lambda other: (weights[other], other))
            parents.update(dict.fromkeys(below, name))
            waiting += [(other, depth + 1) for other in below]
    return depths


def _tree_edges(
    edges: pd.DataFrame, parents: Mapping[str, str], places: Mapping[str, tuple[float, int]]
) -> pd.DataFrame:
    known = {
        frozenset((row["class_a"], row["class_b"])): row
        for row in edges[edges["in_weights"].astype(bool)].to_dict("records")
    }
    rows = []
    for name, parent in parents.items():
        edge = known[frozenset((name, parent))]
        rows.append(
            {
                **{key: edge[key] for key in ("class_a", "class_b", "kind", "similarity")},
                "confused": shown_share(edge["confusion"]),
                "common": edge["ancestor"] or MISSING,
                "x": places[name][0],
                "row": places[name][1],
                "parent_x": places[parent][0],
                "parent_row": places[parent][1],
            }
        )
    names = ("class_a", "class_b", "kind", "similarity", "confused", "common")
    return pd.DataFrame(rows, columns=[*names, "x", "row", "parent_x", "parent_row"])


def _partners(edges: pd.DataFrame) -> dict[str, tuple[str, bool]]:
    """What each class is confused with most, of the forest of the errors; and if unexplained."""
    found: dict[str, tuple[str, bool]] = {}
    confused = drawn(edges)
    confused = confused[confused["in_errors"].astype(bool)]
    for row in confused.sort_values("confusion", ascending=False).to_dict("records"):
        for one, other in (("class_a", "class_b"), ("class_b", "class_a")):
            said = f"{shown_share(row['confusion'])} {short(row[other], 24)}"
            found.setdefault(row[one], (said, row["kind"] == UNEXPLAINED))
    return found
