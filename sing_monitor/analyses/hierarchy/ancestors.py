"""Lowest common ancestors of classes in a tree or a directed graph, with their depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import groupby

import numpy as np

from sing_monitor.analyses.hierarchy.matrices import Floats, Integers

# Above several roots, so that any two classes share an ancestor.
_ROOT = "(root)"


@dataclass(frozen=True, eq=False)
class CommonAncestors:
    """The lowest ancestor that two classes share, for every pair of C classes.

    Args:
        depth: of it, in nodes on the longest way from the root, which is 1, (C, C) int64.
        path_similarity: ``1 / (d + 1)``, d the edges on the shortest way between the classes by
            way of a common ancestor, (C, C) float64.
        node: which of ``names`` it is, (C, C) int64.
        names: of the nodes.
    """

    depth: Integers
    path_similarity: Floats
    node: Integers
    names: tuple[str, ...]


def common_ancestors(
    classes: Sequence[str],
    parents: Mapping[str, Sequence[str]],
    names: Mapping[str, str] | None = None,
) -> CommonAncestors:
    """Find the lowest common ancestor of every pair of classes.

    Of the common ancestors it is the one farthest from the root on its shortest way; of several
    such, one of the two classes, or else the first by name. So does NLTK's
    ``lowest_common_hypernyms(use_min_depth=True)``, and the paper takes the depth of the outcome on
    the longest way (Filus et al., arXiv 2504.09956).

    Args:
        classes: C nodes; a node may be an ancestor of another one.
        parents: of every node, by node; a node without parents is a root. Several roots stand
            under one more.
        names: of the nodes, by node, for the order among equals and for readers; None: the nodes
            themselves.

    Raises:
        ValueError: if there is no class, if a node has no entry, or is its own ancestor.

    Example::

        >>> found = common_ancestors(["cat", "dog", "car"], {
        ...     "cat": ["animal"], "dog": ["animal"], "car": [], "animal": []})
        >>> found.depth.tolist()
        [[3, 2, 1], [2, 3, 1], [1, 1, 2]]
    """
    if not classes:
        raise ValueError("there is no class to find ancestors of; give at least one.")
    above = {node: tuple(parents[node]) for node in _reached(classes, parents)}
    roots = [node for node, over in above.items() if not over]
    if len(roots) > 1:
        above |= dict.fromkeys(roots, (_ROOT,)) | {_ROOT: ()}
    try:
        order = tuple(TopologicalSorter(above).static_order())
    except CycleError as error:
        raise ValueError(
            f"a node is its own ancestor: {' > '.join(map(str, error.args[1]))}. Give a hierarchy "
            "without circles."
        ) from error
    longest: dict[str, int] = {}
    shortest: dict[str, int] = {}
    for node in order:
        over = above[node]
        longest[node] = 1 + max((longest[each] for each in over), default=0)
        shortest[node] = 1 + min((shortest[each] for each in over), default=0)
    called = {node: node if names is None else names.get(node, node) for node in order}
    below = _below(classes, above)
    numbers = {node: number for number, node in enumerate(order)}
    distance = np.full((len(classes), len(classes)), np.iinfo(np.int64).max // 2)
    node_of = np.zeros_like(distance)
    # The last to write is right: the farthest from the root, and of equals the first by name.
    by_name = sorted(below, key=lambda node: (called[node], node), reverse=True)
    for _, level in groupby(sorted(by_name, key=shortest.__getitem__), shortest.__getitem__):
        equals = list(level)
        for node in equals:
            members, ways = below[node]
            block = np.ix_(members, members)
            distance[block] = np.minimum(distance[block], ways[:, None] + ways)
            node_of[block] = numbers[node]
        # A class that is an ancestor of another one comes before its equals.
        for node in equals:
            members, ways = below[node]
            itself = members[ways == 0]
            node_of[np.ix_(itself, members)] = numbers[node]
            node_of[np.ix_(members, itself)] = numbers[node]
    depth = np.array([longest[node] for node in order])[node_of]
    return CommonAncestors(
        depth, 1 / (distance + 1), node_of, tuple(called[node] for node in order)
    )


def _reached(classes: Sequence[str], parents: Mapping[str, Sequence[str]]) -> dict[str, None]:
    """The classes and all that stands above them, in no particular order."""
    reached: dict[str, None] = {}
    left = list(classes)
    while left:
        node = left.pop()
        if node in reached:
            continue
        if node not in parents:
            raise ValueError(
                f"nothing is said of {node!r}; give its parents, none if it is a root."
            )
        reached[node] = None
        left.extend(parents[node])
    return reached


def _below(
    classes: Sequence[str], above: Mapping[str, Sequence[str]]
) -> dict[str, tuple[Integers, Integers]]:
    """By node the classes at and below it, with their distances in edges."""
    found: dict[str, tuple[list[int], list[int]]] = {}
    for number, name in enumerate(classes):
        ways, level = {name: 0}, [name]
        while level:
            level = [over for node in level for over in above[node] if over not in ways]
            ways |= dict.fromkeys(level, max(ways.values()) + 1)
        for node, way in ways.items():
            members, distances = found.setdefault(node, ([], []))
            members.append(number)
            distances.append(way)
    return {node: (np.array(members), np.array(ways)) for node, (members, ways) in found.items()}
