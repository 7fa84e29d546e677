"""Places of the classes in a drawing: a cell for each cluster, and in it the cluster's tree."""

from __future__ import annotations

import math

import numpy as np

from sing_monitor.analyses.hierarchy.matrices import Floats, Integers

# Columns of cells for each row: screens are wider than high.
_WIDE = 1.6
# Part of a cell that stays free at each side.
_MARGIN = 0.15


def class_layout(weights: Floats, labels: Integers, edges: Integers) -> Floats:
    """Where to draw each class, (C, 2), from 0 to 1.

    Every cluster has a cell of a grid, beside those it resembles (classical scaling, then the
    assignment of least distance). In it the class with most edges stands in the middle and its
    tree around it, with room for each branch by its leaves, so that branches stay apart.

    Args:
        weights: scaled similarity of each pair, (C, C).
        labels: cluster of each class, 0 to K-1, (C,).
        edges: of the clusters' trees, (E, 2).
    """
    places = np.empty((len(labels), 2))
    cells = _cells(weights, labels)
    columns, rows = _grid(len(cells))
    neighbors: dict[int, list[int]] = {node: [] for node in range(len(labels))}
    for first, second in edges.tolist():
        neighbors[first].append(second)
        neighbors[second].append(first)
    for cluster, cell in enumerate(cells):
        members = np.flatnonzero(labels == cluster)
        inside = _filled(_around(members.tolist(), neighbors))
        corner = np.array([cell % columns, cell // columns])
        places[members] = corner + _MARGIN + (1 - 2 * _MARGIN) * inside
    return places / [columns, rows]


def _grid(cells: int) -> tuple[int, int]:
    """Columns and rows for so many cells."""
    columns = min(cells, math.ceil(math.sqrt(_WIDE * cells)))
    return columns, math.ceil(cells / columns)


def _cells(weights: Floats, labels: Integers) -> list[int]:
    """Cell of each of the K clusters: numbers in a grid, row by row."""
    from scipy.optimize import linear_sum_assignment

    members = np.eye(labels.max() + 1)[labels]
    clusters = members.shape[1]
    columns, rows = _grid(clusters)
    sizes = members.sum(axis=0)
    between = members.T @ weights @ members / np.outer(sizes, sizes)
    wanted = _two_directions(between)
    cells = np.arange(columns * rows)
    centers = np.stack([cells % columns / columns, cells // columns / rows], axis=1)
    distances = ((wanted[:, None] - centers) ** 2).sum(axis=2)
    return [int(cell) for cell in linear_sum_assignment(distances)[1]]


def _two_directions(similarity: Floats) -> Floats:
    """Ranks along the two directions in which similarities vary most, from 0 to 1, (K, 2)."""
    centering = np.eye(len(similarity)) - 1 / len(similarity)
    _, vectors = np.linalg.eigh(centering @ similarity @ centering)
    found = np.zeros((len(similarity), 2))
    for place, vector in enumerate(vectors.T[::-1][:2]):
        # A direction and its opposite are the same; drawings of two epochs should agree.
        sign = np.sign(vector[np.abs(vector).argmax()])
        found[:, place] = (sign * vector).argsort(kind="stable").argsort(kind="stable")
    return found / len(similarity)


def _around(members: list[int], neighbors: dict[int, list[int]]) -> Floats:
    """Trees of some classes, each class at a ring by its distance from the middle, (n, 2)."""
    left, order = set(members), []
    below: dict[int, list[int]] = {node: [] for node in members}
    tops: list[int] = []
    for top in sorted(members, key=lambda node: -len(neighbors[node])):
        if top not in left:
            continue
        left.remove(top)
        tops.append(top)
        queue = [top]
        for node in queue:
            below[node] = [each for each in neighbors[node] if each in left]
            left.difference_update(below[node])
            queue.extend(below[node])
        order.extend(queue)
    leaves = dict.fromkeys(members, 1)
    for node in reversed(order):
        leaves[node] = max(1, sum(leaves[each] for each in below[node]))
    # Of one tree the top stands in the middle; several stand around it.
    start = 0 if len(tops) == 1 else 1
    places: dict[int, tuple[float, float]] = {}
    sectors = _shared(tops, 0.0, 2 * math.pi, leaves)
    ring = start
    while sectors:
        following = []
        for node, low, high in sectors:
            angle = (low + high) / 2
            places[node] = (ring * math.cos(angle), ring * math.sin(angle))
            following.extend(_shared(below[node], low, high, leaves))
        sectors, ring = following, ring + 1
    return np.array([places[node] for node in members])


def _shared(
    nodes: list[int], low: float, high: float, leaves: dict[int, int]
) -> list[tuple[int, float, float]]:
    """Share out an angle among nodes by the number of their leaves."""
    total = sum(leaves[node] for node in nodes)
    shares, start = [], low
    for node in nodes:
        end = start + (high - low) * leaves[node] / total
        shares.append((node, start, end))
        start = end
    return shares


def _filled(places: Floats) -> Floats:
    """Moved and scaled to fill 0 to 1; a single place, or a line, stands in the middle."""
    low, high = places.min(axis=0), places.max(axis=0)
    spans = high - low
    scaled = (places - low) / np.where(spans > 1e-9, spans, 1.0)
    return np.where(spans > 1e-9, scaled, 0.5)
