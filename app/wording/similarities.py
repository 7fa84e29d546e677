"""What the two similarities of a pair of images say, in plain words."""

from __future__ import annotations

import math

# A likeness has clearly changed its rank among all pairs, and lies high among them.
_MOVED, _HIGH = 0.15, 0.75


def pair_reading(spatial: float, semantic: float, below: float, semantic_below: float) -> str:
    """One or two sentences about a pair, as Markdown.

    Args:
        spatial: cosine of the two maps, place by place.
        semantic: cosine under the best matching of places.
        below: share of all pairs whose spatial similarity is smaller.
        semantic_below: share of all pairs whose semantic similarity is smaller.

    Example::

        >>> print(pair_reading(0.21, 0.83, 0.1, 0.95)[-55:])
        95 %: the network sees the same parts, in other places.
    """
    if semantic_below - below > _MOVED:
        says = (
            "the network sees the same parts, in other places"
            if semantic_below > _HIGH
            else "part of what they share stands in other places"
        )
    elif below - semantic_below > _MOVED:
        says = "others gain more by matching; these two are alike in where things stand"
    elif semantic_below > _HIGH:
        says = "they are alike either way, so what they share stands in the same places"
    else:
        says = "matching adds no more than it does for other pairs"
    return (
        f"Place by place these two are **{spatial:.2f}** alike, more than {_percent(below)} of all "
        f"pairs. Let every place find its best partner, and it is **{semantic:.2f}**, more than "
        f"{_percent(semantic_below)}: {says}."
    )


def _percent(share: float) -> str:
    """Rounded down: no pair is more alike than all of them."""
    return f"{math.floor(100 * share + 1e-9)} %"
