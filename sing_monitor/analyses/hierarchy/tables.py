"""Tables of the hierarchy: pairs of classes that are alike or confused, and the class graph."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sing_monitor.analyses.hierarchy.matrices import Floats, Integers
from sing_monitor.findings import ColumnSpec, TableSpec

if TYPE_CHECKING:
    from pandas import DataFrame

# The closest, and the most confused, pairs that are listed beside the edges.
LISTED = 100

CLASS_EDGES = TableSpec(
    "class_edges",
    "Edges between classes",
    "A pair of classes that an edge of the weights or of the errors joins, or that is among the "
    "100 closest or most confused.",
    (
        ColumnSpec("class_a", "", "Name of one class, that with the smaller index."),
        ColumnSpec("class_b", "", "Name of the other class."),
        ColumnSpec("similarity", "cosine", "Cosine of the two centered class templates."),
        ColumnSpec(
            "confusion",
            "share",
            "Share of the images of either class that are taken for the other, the mean of both.",
        ),
        ColumnSpec("confusions", "count", "Images of either class that are taken for the other."),
        ColumnSpec("depth", "1", "Depth of the lowest common ancestor; the root is 1."),
        ColumnSpec("ancestor", "", "Name of the lowest common ancestor; empty: no reference."),
        ColumnSpec(
            "cluster", "", "Cluster of both classes; -1: they are in two, or there are none."
        ),
        ColumnSpec("in_tree", "", "Whether it is an edge of the one tree of the weights."),
        ColumnSpec("in_weights", "", "Whether it is an edge of the weights' clusters."),
        ColumnSpec("in_errors", "", "Whether it is an edge of the errors' clusters."),
        ColumnSpec("images_a", "", "Images of class a nearest to class b, nearest first."),
        ColumnSpec("images_b", "", "Images of class b nearest to class a, nearest first."),
    ),
)
CLASS_GRAPH = TableSpec(
    "class_graph",
    "Class graph",
    "A class, with its cluster and where to draw it.",
    (
        ColumnSpec("class", "", "Name of the class."),
        ColumnSpec("cluster", "", "Cluster of the weights; -1: there are none."),
        ColumnSpec("error", "share", "Share of its images that are misclassified."),
        ColumnSpec("images", "count", "Images of the class in the probe."),
        ColumnSpec("x", "1", "Place in a drawing, 0 (left) to 1."),
        ColumnSpec("y", "1", "Place in a drawing, 0 to 1."),
    ),
    is_followed=True,
)


@dataclass(frozen=True)
class Edges:
    """Pairs of classes (a, b), a < b, as numbers ``a C + b``.

    Args:
        classes: C.
        codes: sorted and distinct, (P,).
    """

    classes: int
    codes: Integers

    @classmethod
    def of(cls, classes: int, pairs: Iterable[Integers]) -> Edges:
        """Those of several lists of pairs, each (E, 2), together."""
        codes = [each[:, 0] * classes + each[:, 1] for each in pairs]
        return cls(classes, np.unique(np.concatenate(codes)))

    @property
    def pairs(self) -> Integers:
        """The pairs, (P, 2)."""
        return np.stack([self.codes // self.classes, self.codes % self.classes], axis=1)

    def are_among(self, pairs: Integers) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Whether each of them is one of some pairs, (P,)."""
        found: np.ndarray[tuple[int], np.dtype[np.bool_]] = np.isin(
            self.codes, pairs[:, 0] * self.classes + pairs[:, 1]
        )
        return found


def largest(values: Floats, above: float = -np.inf) -> Integers:
    """The pairs with the 100 largest values above a bound, largest first, (P, 2).

    Args:
        values: of each pair, (C, C); NaN: not known.
        above: a value that does not count any more.
    """
    first, second = np.triu_indices(len(values), 1)
    found = values[first, second]
    counts = np.flatnonzero(found > above)
    if len(counts) > LISTED:
        # Whatever equals the last one stays, for the order among equals to be that of the classes.
        last = np.partition(found[counts], -LISTED)[-LISTED]
        counts = counts[found[counts] >= last]
    order = counts[np.argsort(-found[counts], kind="stable")][:LISTED]
    return np.stack([first[order], second[order]], axis=1)


def graph_table(
    class_names: tuple[str, ...], labels: Integers, counts: Integers, errors: Floats, places: Floats
) -> DataFrame:
    """The table ``class_graph``."""
    from pandas import DataFrame

    return DataFrame(
        {
            "class": list(class_names),
            "cluster": labels,
            "error": errors,
            "images": counts.sum(axis=1),
            "x": places[:, 0],
            "y": places[:, 1],
        }
    )
