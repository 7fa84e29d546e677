"""Which classes a head holds alike and which it confuses, from two tables; pure functions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from math import isfinite

import networkx as nx
import pandas as pd

from sing_monitor.app.wording.metrics import MISSING
from sing_monitor.app.wording.text import one_line, short

EDGE_COLUMNS = (
    *("class_a", "class_b", "similarity", "confusion", "confusions", "depth", "ancestor"),
    *("in_weights", "in_errors"),
)
NODE_COLUMNS = ("class", "cluster", "error", "images", "x", "y")
EXPLAINED, UNEXPLAINED, LATENT = "explained", "unexplained error", "latent"
# Of the pairs with the most confusions, so many are counted in the first sentence.
MOST_CONFUSED = 10
_CENTRAL = 3


def read_edges(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``class_edges`` with names that fit a line, and ``kind``.

    Returns:
        The table with kind: explained (in both forests), unexplained error (in that of the errors
        alone), latent (in that of the weights alone) or "" (in neither: near or confused, but each
        class has a nearer one).
    """
    in_weights, in_errors = (table[name].astype(bool) for name in ("in_weights", "in_errors"))
    kind = pd.Series("", table.index).mask(in_weights, LATENT).mask(in_errors, UNEXPLAINED)
    names = {name: table[name].map(_name) for name in ("class_a", "class_b")}
    ancestor = table["ancestor"].map(lambda name: one_line(str(name or "")))
    return table.assign(
        **names, ancestor=ancestor, kind=kind.mask(in_weights & in_errors, EXPLAINED)
    )


def read_nodes(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``class_graph`` with names that fit a line, each once."""
    error = table["error"].where(table["error"].between(0, 1))
    named = table.assign(**{"class": table["class"].map(_name)}, error=error)
    return named.drop_duplicates("class")


def drawn(edges: pd.DataFrame) -> pd.DataFrame:
    """The edges of the two forests, from `read_edges`."""
    return edges[edges["kind"] != ""]


def graph_of(edges: pd.DataFrame, nodes: Iterable[str] = ()) -> nx.Graph:
    """A graph of class names; ``weight`` of an edge is its similarity."""
    graph = nx.Graph()
    graph.add_nodes_from(nodes)
    columns = edges[["class_a", "class_b", "similarity"]]
    graph.add_weighted_edges_from(columns.itertuples(index=False, name=None))
    return graph


def clusters(nodes: pd.DataFrame, edges: pd.DataFrame) -> pd.DataFrame:
    """A row for each cluster of the weights, those with the most errors first.

    Args:
        nodes: from `read_nodes`.
        edges: from `read_edges`.

    Returns:
        Columns cluster, name (its most central classes and how many more), members (names, the
        most central first), classes (their number), wrong (images taken for another class) and
        similarity (mean over its edges; NaN for a single class).
    """
    forest = graph_of(edges[edges["in_weights"].astype(bool)], nodes["class"])
    rows = []
    for number, group in nodes.groupby("cluster", sort=False, dropna=False):
        members = most_central(forest, group["class"].tolist())
        weights = [each for *_, each in forest.subgraph(members).edges(data="weight")]
        rows.append(
            {
                "cluster": number,
                "name": _cluster_name(members),
                "members": members,
                "classes": len(members),
                "wrong": (group["error"] * group["images"]).sum(),
                "similarity": pd.Series(weights, dtype=float).mean(),
            }
        )
    names = ("cluster", "name", "members", "classes", "wrong", "similarity")
    found = pd.DataFrame(rows, columns=list(names))
    return found.sort_values("wrong", ascending=False, kind="stable")


def most_central(forest: nx.Graph, members: Sequence[str]) -> list[str]:
    """The members, those with the most neighbors first; of equals, those with the nearest."""
    inside = forest.subgraph(members)
    degree, strength = dict(inside.degree()), dict(inside.degree(weight="weight"))
    return sorted(members, key=lambda name: (-degree[name], -strength[name]))


def around(edges: pd.DataFrame, name: str, most: int) -> list[str]:
    """A class, its neighbors in either forest and theirs; the nearest first, at most so many."""
    graph = graph_of(drawn(edges), [name])
    found = [name]
    for each in (name, *_nearest(graph, name)):
        found += [other for other in (each, *_nearest(graph, each)) if other not in found]
    return found[:most]


def confused_with(edges: pd.DataFrame, members: Collection[str], most: int) -> list[str]:
    """Other classes that these are confused with, by the forest of the errors; at most so many."""
    forest = edges[edges["in_errors"].astype(bool)]
    a, b = forest["class_a"].isin(members), forest["class_b"].isin(members)
    across = most_confused(forest[a != b])
    others = across["class_a"].where(across["class_b"].isin(members), across["class_b"])
    return others.drop_duplicates().head(most).tolist()


def closest(edges: pd.DataFrame) -> pd.DataFrame:
    """The pairs of the largest similarity first."""
    return edges.dropna(subset="similarity").sort_values(
        "similarity", ascending=False, kind="stable"
    )


def most_confused(edges: pd.DataFrame) -> pd.DataFrame:
    """The pairs with the largest share of confusions first; none that was never confused."""
    return edges[edges["confusion"] > 0].sort_values(
        ["confusion", "confusions"], ascending=False, kind="stable"
    )


def among(edges: pd.DataFrame, names: Collection[str]) -> pd.DataFrame:
    """The edges whose two classes are both among the names."""
    return edges[edges["class_a"].isin(names) & edges["class_b"].isin(names)]


def _nearest(graph: nx.Graph, name: str) -> list[str]:
    return sorted(graph[name], key=lambda other: -graph[name][other]["weight"])


def _cluster_name(members: Sequence[str]) -> str:
    shown = ", ".join(short(name, 24) for name in members[:_CENTRAL])
    more = len(members) - _CENTRAL
    return f"{shown} + {more}" if more > 0 else shown


def _name(name: object) -> str:
    return one_line(str(name)) or "(no name)"


def shown_share(share: float) -> str:
    """A share in percent; a dash where there is none.

    Example::

        >>> shown_share(0.123), shown_share(0.004), shown_share(0.0)
        ('12 %', '0.4 %', '0 %')
    """
    if not isfinite(share):
        return MISSING
    digits = 1 if 0 < share < 0.01 else 0
    return f"{100 * share:.{digits}f} %"
