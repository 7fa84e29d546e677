"""Where the classes of a graph stand: near what they resemble, and no name on another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import networkx as nx
import numpy as np
from numpy.typing import NDArray

# In units of the picture's width: about 600 pixels, on which names are written.
_PER_SIGN, _NAME_HEIGHT = 0.0125, 0.075
_ROUNDS = 120


def positions(
    graph: nx.Graph, start: Mapping[str, tuple[float, float]], aspect: float
) -> dict[str, tuple[float, float]]:
    """Places in [0, 1] x [0, 1] by name; the same for the same graph.

    Kamada and Kawai's layout by the number of edges between two classes: those without a way to
    each other stand apart, and names that would lie on each other are moved.

    Args:
        graph: of names, at least one.
        start: where the layout begins, by name, so that epochs resemble each other.
        aspect: height of the picture over its width.
    """
    names = list(graph)
    if len(names) == 1:
        return {names[0]: (0.5, 0.5)}
    known = {name: start[name] for name in names if np.isfinite(start.get(name, np.nan)).all()}
    begin = known if len(known) == len(names) and len({*known.values()}) == len(names) else None
    placed = nx.kamada_kawai_layout(graph, dist=_distances(graph), pos=begin, weight=None)
    points = _fitted(np.array([placed[name] for name in names]))
    points = _apart(points, names, aspect)
    return {name: (float(x), float(y)) for name, (x, y) in zip(names, points, strict=True)}


def _distances(graph: nx.Graph) -> dict[str, dict[str, float]]:
    """Edges between any two names; as far as the longest way where there is none."""
    known = dict(nx.all_pairs_shortest_path_length(graph))
    longest = max(max(ways.values()) for ways in known.values())
    apart = max(2.0, 0.75 * longest)
    return {a: {b: float(known[a].get(b, apart)) for b in graph} for a in graph}


def _fitted(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The points turned so that they are widest from left to right, and stretched to [0, 1]."""
    centered = points - points.mean(axis=0)
    _, _, axes = np.linalg.svd(centered, full_matrices=False)
    # The sign of an axis is arbitrary; a fixed one keeps epochs alike.
    axes *= np.where(axes[np.arange(2), np.abs(axes).argmax(axis=1)] < 0, -1, 1)[:, None]
    turned = centered @ axes.T
    size = np.ptp(turned, axis=0)
    return (turned - turned.min(axis=0)) / np.where(size > 1e-9, size, 1) + 0.5 * (size <= 1e-9)


def _apart(points: NDArray[np.float64], names: Sequence[str], aspect: float) -> NDArray[np.float64]:
    """Names that overlap, moved up and down, or to the sides where that is shorter."""
    widths = np.array([max(3, len(name)) for name in names]) * _PER_SIGN
    near = np.stack(
        [(widths[:, None] + widths[None]) / 2, np.full((len(names),) * 2, _NAME_HEIGHT / aspect)],
        axis=-1,
    )
    order = np.sign(np.arange(len(names))[:, None] - np.arange(len(names))[None])
    for _ in range(_ROUNDS):
        gaps = points[:, None] - points[None]
        missing = np.clip(near - np.abs(gaps), 0, None)
        overlap = (missing > 0).all(axis=-1)
        np.fill_diagonal(overlap, val=False)
        if not overlap.any():
            break
        shorter = missing.argmin(axis=-1)
        for axis in (0, 1):
            moved = overlap & (shorter == axis)
            way = np.where(gaps[..., axis] == 0, order, np.sign(gaps[..., axis]))
            points[:, axis] += 0.3 * (moved * way * missing[..., axis]).sum(axis=1)
    low, high = np.minimum(points.min(axis=0), 0), np.maximum(points.max(axis=0), 1)
    return (points - low) / (high - low)
